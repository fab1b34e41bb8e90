"""Predictions are the network's, whatever the batch size, and their files hold them exactly."""

import numpy as np
import pytest
import safetensors.torch
import torch

from imettk.data.dataset import Batch, ImageDataset
from imettk.data.reader import ImageReader
from imettk.data.sampling import sequential_requests
from imettk.data.source import ImageSource
from imettk.data.table import read_table
from imettk.errors import MismatchError
from imettk.inference.predictor import Predictions, load_predictions, predict_outputs, save_predictions
from imettk.inference.tta import apply_view, crop
from imettk.models.heads import Outputs
from imettk.models.network import Network
from imettk.recipes.digits import digits

VIEWS = ("plain", "hflip", "zoom_out")
SAMPLES = 7


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Network(backbone="timm:test_resnet", num_classes=15, mean=(0.2,), std=(0.3,), dropout=0.5)


@pytest.fixture(scope="module")
def dataset(digits_data):
    table = read_table(digits().table, digits_data / "data")
    source = ImageSource(table, ImageReader(size=(32, 32), channels=1))
    return ImageDataset(source, table.targets, image_size=(32, 32))


def predict(network, dataset, *, batch_size, views=VIEWS, dtype=torch.float32):
    requests = sequential_requests(np.arange(SAMPLES), batch_size)
    return predict_outputs(
        network, (dataset[request] for request in requests), views=views, device=torch.device("cpu"), dtype=dtype,
        num_samples=SAMPLES,
    ).logits  # fmt: skip


def test_logits_are_those_of_each_view_one_by_one(network, dataset):
    network.train()  # as training leaves it; dropout would change every number
    logits = predict(network, dataset, batch_size=4)
    assert logits.shape == (3, SAMPLES, 15) and logits.dtype == torch.float32
    assert not network.training
    (request,) = sequential_requests(np.arange(SAMPLES), SAMPLES)
    images = dataset[request].images
    with torch.no_grad():
        for view, ours in zip(VIEWS, logits, strict=True):
            expected = torch.cat([network(apply_view(image[None], view)).logits for image in images])
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_batch_size_does_not_matter(network, dataset, batch_size):
    expected = predict(network, dataset, batch_size=SAMPLES)
    torch.testing.assert_close(predict(network, dataset, batch_size=batch_size), expected, rtol=1e-4, atol=1e-5)


def test_half_precision_is_near_and_comes_back_as_float32(network, dataset):
    exact, near = (predict(network, dataset, batch_size=SAMPLES, dtype=one) for one in (torch.float32, torch.bfloat16))
    assert near.dtype == torch.float32
    assert 0 < (exact - near).abs().max() < 0.05 * exact.abs().max()


def test_what_stands_beside_images_reaches_the_network_in_every_view(network):
    class Adds(torch.nn.Module):
        def forward(self, images, metadata):
            return Outputs(network(images).logits + metadata[:, :1])

    images = torch.randint(0, 256, (5, 32, 32, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rows, metadata = torch.arange(5), torch.arange(10.0).view(5, 2)

    def predict_all(net, **more):
        batches = [
            Batch(images[part], None, None, rows[part], rows[part], **{name: all_[part] for name, all_ in more.items()})
            for part in (slice(0, 3), slice(3, 5))
        ]
        return predict_outputs(
            net, batches, views=("plain", "hflip"), device=torch.device("cpu"), dtype=torch.float32, num_samples=5
        ).logits

    adds = predict_all(Adds(), metadata=metadata) - predict_all(network)
    torch.testing.assert_close(adds, metadata[None, :, :1].expand(2, 5, 15), rtol=0, atol=1e-4)


def test_weights_learn_nothing_and_no_gradient_is_kept(network):
    images = torch.zeros(2, 32, 32, 1, dtype=torch.uint8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    logits = predict_outputs(
        network, [Batch(images, None, None, torch.arange(2), torch.arange(2))], views=("plain",),
        device=torch.device("cpu"), dtype=torch.float32, num_samples=2,
    ).logits  # fmt: skip
    assert not logits.requires_grad
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def some_predictions():
    probs = np.random.default_rng(0).random((2, 3, 4), np.float32)
    return Predictions(np.array(["007", "Ölbild 東京", "a/b,c"]), probs, {"fold": 1, "views": ["plain", "hflip"]})


def test_the_file_holds_everything_exactly(tmp_path):
    path, predictions = tmp_path / "oof.safetensors", some_predictions()
    save_predictions(path, predictions)
    again = load_predictions(path)
    assert again.ids.tolist() == predictions.ids.tolist()
    assert again.values == predictions.values
    np.testing.assert_array_equal(again.probs, predictions.probs)
    assert again.targets is None
    np.testing.assert_allclose(again.merged, (predictions.probs[0] + predictions.probs[1]) / 2, rtol=1e-6)


@pytest.mark.parametrize(
    "targets", [np.array([2, 0, 3]), np.eye(3, 4, dtype=np.uint8), np.eye(4, dtype=np.uint8)[:, 1:].T]
)
def test_targets_come_back_as_they_were(tmp_path, targets):
    some = some_predictions()
    save_predictions(tmp_path / "oof.safetensors", Predictions(some.ids, some.probs, some.values, targets))
    again = load_predictions(tmp_path / "oof.safetensors").targets
    assert again.dtype == targets.dtype
    np.testing.assert_array_equal(again, targets)


def test_views_are_merged_as_the_file_says(tmp_path):
    some = some_predictions()
    for merge, expected in {"mean": (some.probs[0] + some.probs[1]) / 2, "max": np.maximum(*some.probs)}.items():
        save_predictions(tmp_path / merge, Predictions(some.ids, some.probs, {"merge": merge}))
        again = load_predictions(tmp_path / merge).merged
        assert again.shape == (3, 4) and again.dtype == np.float32
        np.testing.assert_allclose(again, expected, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_crops_and_the_centre_are_cut_out_of_larger_images(network, batch_size):
    images = torch.randint(0, 256, (SAMPLES, 40, 48, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rows, views = torch.arange(SAMPLES) * 11, ("crop0", "hflip", "crop3")
    batches = [
        Batch(images[first:last], None, None, rows[first:last], rows[first:last])
        for first, last in ((start, start + batch_size) for start in range(0, SAMPLES, batch_size))
    ]
    logits = predict_outputs(
        network, batches, views=views, device=torch.device("cpu"), dtype=torch.float32, num_samples=SAMPLES,
        size=(32, 32),
    ).logits  # fmt: skip
    centre = images[:, 4:36, 8:40].flip(2)
    seen = [crop(images, "crop0", size=(32, 32), rows=rows), centre, crop(images, "crop3", size=(32, 32), rows=rows)]
    with torch.no_grad():
        for ours, part in zip(logits, seen, strict=True):
            torch.testing.assert_close(ours, network(part).logits, rtol=1e-4, atol=1e-5)


def test_probabilities_that_lie_apart_in_memory_are_kept(tmp_path):
    predictions = some_predictions()
    turned = Predictions(predictions.ids, predictions.probs.transpose(0, 2, 1)[:, :3], {})
    save_predictions(tmp_path / "oof.safetensors", turned)
    np.testing.assert_array_equal(load_predictions(tmp_path / "oof.safetensors").probs, turned.probs)


def test_any_safetensors_reader_can_read_it(tmp_path):
    save_predictions(tmp_path / "oof.safetensors", some_predictions())
    tensors = safetensors.torch.load_file(tmp_path / "oof.safetensors")
    assert bytes(tensors["ids"].tolist()).decode() == "007\nÖlbild 東京\na/b,c"
    np.testing.assert_array_equal(tensors["probs"].numpy(), some_predictions().probs)


@pytest.mark.parametrize("fault", ["other tensors", "no header", "truncated", "not safetensors", "ids of another"])
def test_a_foreign_file_is_refused(tmp_path, fault):
    path = tmp_path / "oof.safetensors"
    save_predictions(path, some_predictions())
    tensors = safetensors.torch.load_file(path)
    if fault == "other tensors":
        safetensors.torch.save_file({"weight": torch.ones(2)}, path, {"imettk": "{}"})
    elif fault == "no header":
        safetensors.torch.save_file(tensors, path)
    elif fault == "truncated":
        path.write_bytes(path.read_bytes()[:-9])
    elif fault == "not safetensors":
        path.write_bytes(b"PK\x03\x04 a zip?")
    else:
        tensors["probs"] = tensors["probs"][:, :2].contiguous()
        safetensors.torch.save_file(tensors, path, {"imettk": "{}"})
    message = "3 ids do not fit" if fault == "ids of another" else "is not a prediction file of imettk"
    with pytest.raises(MismatchError, match=message):
        load_predictions(path)
