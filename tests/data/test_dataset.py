"""Batches hold the right samples, whatever the number of workers."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from imettk.data.augment import Augmentation
from imettk.data.dataset import Batch, ImageDataset, load_batches
from imettk.data.reader import ImageReader
from imettk.data.samplers import Sampler
from imettk.data.sampling import BatchRequest, sequential_requests, train_requests
from imettk.data.source import ImageSource
from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError
from imettk.recipes.digits import digits


@pytest.fixture(scope="module")
def table(digits_data):
    return read_table(digits().table, digits_data / "data")


def dataset_of(table, size=(32, 32), channels=1, **options):
    source = ImageSource(table, ImageReader(size=size, channels=channels))
    return ImageDataset(source, table.targets, image_size=size, **options)


def load(table, *, num_workers=0, augmentation=None, first_step=0):
    dataset = dataset_of(table, augmentation=augmentation)
    requests = train_requests(
        Sampler(rows=np.arange(10, 60), seed=3).order,
        samples_per_epoch=50,
        first_epoch=1,
        batch_size=12,
        accumulate=2,
        first_step=first_step,
        last_step=6,
    )
    return list(load_batches(dataset, requests, num_workers=num_workers, pin=False))


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for ours_item, theirs_item in zip(ours, theirs, strict=True):
        for ours_part, theirs_part in zip(ours_item, theirs_item, strict=True):
            if not torch.is_tensor(ours_part):
                assert ours_part == theirs_part
                continue
            assert ours_part.dtype == theirs_part.dtype and torch.equal(ours_part, theirs_part)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_freed_memory_goes_to_the_system_before_a_fork_alone(table, monkeypatch, num_workers):
    events = []
    fork = _MultiProcessingDataLoaderIter.__init__
    monkeypatch.setattr("imettk.data.dataset.release_freed_memory", lambda: events.append("released"))
    monkeypatch.setattr(
        _MultiProcessingDataLoaderIter, "__init__", lambda *a, **b: (events.append("forks"), fork(*a, **b))[1]
    )
    load(table, num_workers=num_workers)
    assert events == ["released", "forks"] * num_workers


class WithMetadata(ImageDataset):
    """Batches with two numbers beside each image."""

    def __getitem__(self, request):
        batch = super().__getitem__(request)
        return batch._replace(metadata=torch.stack([batch.rows, batch.rows**2], 1).float())


@pytest.mark.parametrize("num_workers", [0, 2])
def test_what_stands_beside_images_comes_with_them(table, num_workers):
    source = ImageSource(table, ImageReader(size=(32, 32), channels=1))
    dataset = WithMetadata(source, table.targets, image_size=(32, 32))
    rows = np.arange(40)[::-1]
    batches = list(load_batches(dataset, sequential_requests(rows, 12), num_workers=num_workers, pin=False))
    found = torch.cat([batch.beside["metadata"] for batch in batches])
    assert found.dtype == torch.float32 and found.tolist() == [[row, row**2] for row in rows.tolist()]
    assert dataset_of(table)[next(sequential_requests(rows, 12))].beside == {}


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_change_nothing(table, num_workers):
    augmentation = Augmentation("affine", seed=5, size=(32, 32), channels=1)
    alone = load(table, augmentation=augmentation)
    assert len(alone) == 12
    assert_same(load(table, augmentation=augmentation, num_workers=num_workers), alone)
    assert_same(load(table, augmentation=augmentation, num_workers=num_workers, first_step=4), alone[8:])


def test_images_targets_and_positions_belong_together(table):
    dataset = dataset_of(table)
    assert len(dataset) == 72
    requests = list(sequential_requests(np.arange(71, 40, -1), 8))
    batches = list(load_batches(dataset, iter(requests), num_workers=0, pin=False))
    rows = [row for request in requests for row in request.rows]
    assert torch.cat([batch.positions for batch in batches]).tolist() == list(range(31))
    for row, image, target in zip(
        rows,
        torch.cat([batch.images for batch in batches]),
        torch.cat([batch.targets for batch in batches]),
        strict=True,
    ):
        with Image.open(table.paths[row]) as file:
            np.testing.assert_array_equal(image[:, :, 0], np.asarray(file))
        assert target.tolist() == table.targets[row].tolist()
    assert torch.cat([batch.rows for batch in batches]).tolist() == rows
    assert all(batch.weights is None for batch in batches)
    assert batches[0].images.dtype == torch.uint8 and batches[0].targets.dtype == torch.uint8


def test_augmentation_gets_epoch_and_position(table):
    augmentation = Augmentation("affine", seed=5, size=(32, 32), channels=1)
    plain, augmented = load(table), load(table, augmentation=augmentation)
    epochs = [1] * 8 + [2] * 4  # 50 samples make 4 steps of 2 micro-batches
    for epoch, before, after in zip(epochs, plain, augmented, strict=True):
        assert torch.equal(before.targets, after.targets)
        for position, source, image in zip(before.positions, before.images, after.images, strict=True):
            expected = augmentation(source.numpy(), epoch=epoch, position=int(position))
            np.testing.assert_array_equal(image, expected)


def test_a_test_set_has_no_targets(table, digits_data):
    test = read_test_table(digits().table, digits_data / "data", table)
    dataset = dataset_of(test, (16, 24), 3)
    (batch,) = load_batches(dataset, sequential_requests(np.arange(24), 24), num_workers=0, pin=False)
    assert batch.targets is None
    assert batch.images.shape == (24, 16, 24, 3)


def test_rows_behind_the_table_are_its_images_mirrored(table):
    rows, count = np.array([3, 40]), len(table)
    plain = dataset_of(table)[BatchRequest(0, np.arange(2), rows)]
    targets = np.concatenate([table.targets, 1 - table.targets])
    source = ImageSource(table, ImageReader(size=(32, 32), channels=1))
    dataset = ImageDataset(source, targets, image_size=(32, 32), mirrors=True)
    assert len(dataset) == 2 * count
    mirrored = dataset[BatchRequest(0, np.arange(2), rows + count)]
    assert torch.equal(mirrored.images, plain.images.flip(2)) and not torch.equal(mirrored.images, plain.images)
    assert torch.equal(mirrored.targets, 1 - plain.targets)


def broken_table(own_data, *rows):
    table = read_table(digits().table, own_data)
    for row in rows:
        Path(table.paths[row]).write_bytes(b"no image")
    return table


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_bad_image_is_skipped_without_weight_and_told_once(own_data, capsys, num_workers):
    table = broken_table(own_data, 12, 40)
    dataset = dataset_of(table, skip_bad=True)
    batches = list(load_batches(dataset, sequential_requests(np.arange(8, 56), 8), num_workers=num_workers, pin=False))
    batches += load_batches(dataset, sequential_requests(np.arange(8, 16), 8), num_workers=0, pin=False)
    whole = dataset_of(read_table(digits().table, own_data))
    for batch in batches:
        bad = np.isin(batch.rows, [12, 40])
        assert [row for row, _ in batch.faults] == batch.rows[bad].tolist()
        if not bad.any():
            assert batch.weights is None
            continue
        assert batch.weights.tolist() == (1.0 - bad).tolist()
        assert (batch.images[bad] == 0).all()
        others = batch.rows.numpy()[~bad]
        (same,) = load_batches(whole, sequential_requests(others, 8), num_workers=0, pin=False)
        assert torch.equal(batch.images[~bad], same.images) and torch.equal(batch.targets[~bad], same.targets)
    assert list(dataset.faults) == [12, 40]
    assert capsys.readouterr().out.count("warning: skipped") == 2


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_bad_image_is_an_error_that_names_it_unless_it_is_skipped(own_data, num_workers):
    dataset = dataset_of(broken_table(own_data, 12))
    with pytest.raises(DataError, match=r"s00012\.png"):
        list(load_batches(dataset, sequential_requests(np.arange(24), 8), num_workers=num_workers, pin=False))


def test_images_are_loaded_larger_and_resized_for_a_stage_that_wants_less(table):
    """No augmentation; the expectation is Pillow's mean of 2 x 2 pixels."""
    dataset = ImageDataset(
        ImageSource(table, ImageReader(size=(32, 32), channels=1)), table.targets, image_size=(16, 16)
    )  # fmt: skip
    (batch,) = load_batches(dataset, sequential_requests(np.arange(3), 3), num_workers=0, pin=False)
    for row in range(3):
        with Image.open(table.paths[row]) as file:
            theirs = np.asarray(file.resize((16, 16), Image.Resampling.BOX), np.int64)
        assert np.abs(batch.images[row, :, :, 0].numpy() - theirs).max() <= 1


class Slow(ImageDataset):
    """Dataset with some slow batches, so that processes overtake each other."""

    def __getitem__(self, request):
        if request.positions[0] % 3 == 0:
            time.sleep(0.01)
        return super().__getitem__(request)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")
@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_a_batch_that_is_kept_is_never_written_over(table, num_workers):
    """Loader processes reuse their memory; batches of several sizes are all kept to the end."""
    sizes = np.random.default_rng(0).integers(1, 9, 90)
    ends = np.cumsum(sizes)
    requests = [
        BatchRequest(0, np.arange(end - size, end), np.arange(end - size, end) % 72)
        for end, size in zip(ends, sizes, strict=True)
    ]
    source = ImageSource(table, ImageReader(size=(32, 32), channels=1))
    dataset = Slow(source, table.targets, image_size=(32, 32), augmentation=None)
    kept = []
    for number, batch in enumerate(load_batches(dataset, iter(requests), num_workers=num_workers, pin=False)):
        kept.append(batch)
        if number % 20 == 0:
            time.sleep(0.05)  # the processes run as far ahead as they may
    alone = load_batches(dataset, iter(requests), num_workers=0, pin=False)
    assert_same(kept, list(alone))


def test_the_centre_is_cut_out_where_images_have_a_scale_of_their_own(table):
    source = ImageSource(table, ImageReader(size=(32, 32), channels=1))
    dataset = ImageDataset(source, None, image_size=(16, 20), centre_crop=True)
    (batch,) = load_batches(dataset, sequential_requests(np.arange(3), 3), num_workers=0, pin=False)
    for row in range(3):
        with Image.open(table.paths[row]) as file:
            np.testing.assert_array_equal(batch.images[row, :, :, 0], np.asarray(file)[8:24, 6:26])


@pytest.fixture
def watchful(monkeypatch) -> None:
    """Check loader processes every 50 ms, instead of every 5 s, while no batch comes."""
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.05,))


def test_a_killed_loader_process_is_replaced_and_no_batch_is_lost(watchful, capsys):
    class Slow(torch.utils.data.Dataset):
        def __getitem__(self, request) -> Batch:
            rows = torch.from_numpy(request.rows)
            if 7 in request.rows and not os.path.exists(marker):
                with open(marker, "w"):
                    pass
                os.kill(os.getpid(), signal.SIGKILL)
            return Batch(torch.zeros(len(rows), 1), None, None, rows, rows)

    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        marker = f"{folder}/died"
        requests = sequential_requests(torch.arange(40).numpy(), 4)
        batches = list(load_batches(Slow(), requests, num_workers=2, pin=False))
    assert torch.cat([batch.rows for batch in batches]).tolist() == list(range(40))
    assert "a loader process died" in capsys.readouterr().out


def test_a_loader_process_that_always_dies_is_an_error(watchful):
    class Deadly(torch.utils.data.Dataset):
        def __getitem__(self, request) -> Batch:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RuntimeError, match="DataLoader worker"):
        list(load_batches(Deadly(), sequential_requests(torch.arange(4).numpy(), 2), num_workers=1, pin=False))


ORPHAN = """
import os, sys
from imettk.data.dataset import _die_with
trainer, signalled = os.getpid(), sys.argv[1] == "signalled"
if os.fork() == 0:
    if not signalled:  # killed before the loader has begun to watch it
        while os.getppid() == trainer:
            pass
    _die_with(trainer, signalled=signalled)
    os.write(1, b"ready")
while True:
    os.read(0, 1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux' prctl")
@pytest.mark.parametrize("moment", ["before", "signalled"])
def test_no_loader_outlives_a_trainer_that_was_killed(moment):
    """Kill it while a loader starts, before or after `prctl`; `read` returns when nobody holds the pipe any more."""
    command = [sys.executable, "-c", ORPHAN, moment]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as trainer:
        assert trainer.stdin is not None and trainer.stdout is not None
        if moment == "signalled":
            assert os.read(trainer.stdout.fileno(), 5) == b"ready"
        trainer.send_signal(signal.SIGKILL)
        readable, _, _ = select.select([trainer.stdout], [], [], 300)
        assert readable and os.read(trainer.stdout.fileno(), 5) == b"", "a loader is still there"
