"""Competitions whose images lie in few files: HDF5 of JPEG bytes, tables of pixels in csv, parquet and JSON."""

import cv2
import h5py
import numpy as np
import pandas as pd
import pytest
from packed import KINDS, SHAPE, TEST, TRAIN, make_data, make_hdf5, pictures
from sklearn.metrics import roc_auc_score
from tiny import refused, run

from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    Recipe,
    RuleConfig,
    ScoreConfig,
    SessionConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
    to_json,
)
from imettk.data.cache import ImageCache
from imettk.data.dataset import ImageDataset, load_batches
from imettk.data.sampling import sequential_requests
from imettk.data.source import ImageSource, make_reader
from imettk.data.table import read_table

pytestmark = pytest.mark.usefixtures("no_charts_here")


def recipe_of(kind, **images):
    _, table, beside = KINDS[kind]
    table = {"task": "multiclass", "label_column": "label", "image_suffix": "", **table}
    if table.get("id_column") == "row":
        table["sample_id_column"] = "id"
    return Recipe(
        table=TableFormat(**table),
        folds=FoldConfig(num_folds=2),
        images=ImageFormat(**{"image_size": (32, 32), "channels": 1, **beside, **images}),
        model=ModelConfig(backbone="timm:test_resnet"),
        train=TrainConfig(loss="cross_entropy"),
        stages=(StageConfig(num_epochs=6, batch_size=8, lr=(3e-3,)),),
        rule=RuleConfig(kind="probability", positive="1"),
        score=ScoreConfig(metric="roc_auc"),
        session=SessionConfig(num_workers=0, tensorboard=False),
    )


@pytest.fixture(scope="module", params=list(KINDS))
def played(request, tmp_path_factory):
    """A competition after all commands: its kind, its folder and its run."""
    top = tmp_path_factory.mktemp(request.param)
    data = make_data(top / "data", request.param)
    (top / "recipe.json").write_text(to_json(recipe_of(request.param)))
    common = ["--data", data, "--run-dir", top / "run"]
    run("prepare", top / "recipe.json", *common)
    run("train", *common, "--fold", 0)
    run("validate", *common, "--fold", 0)
    run("infer", *common, "--fold", 0)
    return request.param, data, top / "run"


def test_the_whole_way(played):
    kind, data, run_dir = played
    label = KINDS[kind][1].get("label_column", "label")
    answers, truth = pd.read_csv(run_dir / "submission.csv"), pd.read_csv(data.parent / "data-answers.csv")
    assert answers["id"].tolist() == truth["id"].tolist()
    assert roc_auc_score(truth[label], answers[label]) > 0.9
    assert not (run_dir / "bad_images.csv").exists()


def test_the_cache_has_the_bits_of_the_file(played):
    kind, data, run_dir = played
    recipe = recipe_of(kind)
    table = read_table(recipe.table, data)
    source, cache = ImageSource(table, make_reader(recipe)), ImageCache(run_dir / "cache")
    images, _ = pictures(TRAIN, 0)
    for row in range(TRAIN):
        assert np.array_equal(source.read(row), cache.read(row))
    whole = make_reader(recipe).read_whole(table.paths[7])[:, :, 0]
    if kind in ("csv", "parquet"):
        assert np.array_equal(whole, images[7].reshape(whole.shape)) and whole.shape != (kind == "csv" and SHAPE)
    if kind == "hdf5":
        assert np.array_equal(whole, cv2.imdecode(cv2.imencode(".jpg", images[7])[1], cv2.IMREAD_GRAYSCALE))
    if kind == "json":
        expected = np.rint((images[7] / 4 - 40.5 + 50) * 255 / 75)
        assert np.abs(whole.astype(float) - expected).max() <= 1


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_read_what_this_process_reads(played, num_workers):
    kind, data, _ = played
    recipe = recipe_of(kind)
    table = read_table(recipe.table, data)
    source = ImageSource(table, make_reader(recipe))
    expected = np.stack([source.read(row) for row in range(TRAIN)])  # here, so that it is open when workers are forked
    rows = np.random.default_rng(0).permutation(TRAIN)
    dataset = ImageDataset(source, table.targets, image_size=(32, 32))
    batches = list(load_batches(dataset, sequential_requests(rows, 7), num_workers=num_workers, pin=False))
    assert np.array_equal(np.concatenate([batch.images.numpy() for batch in batches]), expected[rows])


def test_a_hidden_test_set_is_another_file_of_the_same_name(played, tmp_path, capsys):
    kind, _, run_dir = played
    hidden = make_data(tmp_path / "hidden", kind, seed=4, test=TEST + 5)
    capsys.readouterr()
    run("infer", "--data", hidden, "--run-dir", tmp_path / "run", "--inputs", run_dir, "--fold", 0)
    label = KINDS[kind][1].get("label_column", "label")
    answers, truth = pd.read_csv(tmp_path / "run" / "submission.csv"), pd.read_csv(tmp_path / "hidden-answers.csv")
    assert len(answers) == TEST + 5 and roc_auc_score(truth[label], answers[label]) > 0.9


def test_an_image_in_it_is_answered_by_itself(played, capsys):
    kind, data, run_dir = played
    if kind != "hdf5":
        return
    capsys.readouterr()
    run("infer", "--run-dir", run_dir, "--images", data / "test-image.hdf5" / "ISIC_12001")
    share = pd.read_csv(run_dir / "submission.csv").set_index("id")["label"]["ISIC_12001"]
    assert f"ISIC_12001: {int(share > 0.5)} ({max(share, 1 - share):.2f})" in capsys.readouterr().out
    line = refused(capsys, "infer", "--run-dir", run_dir, "--images", data / "test-image.hdf5" / "none")
    assert "1 image (none) cannot be read" in line


def test_duplicates_are_found_in_it(played, tmp_path):
    kind, _, _ = played
    folder, (make, _, _) = tmp_path / "twins", KINDS[kind]
    make_data(folder, kind)
    images, labels = pictures(TRAIN, 0)
    images[20] = images[4]
    make(folder, "train", images, labels)
    (tmp_path / "recipe.json").write_text(to_json(recipe_of(kind)))
    run("duplicates", tmp_path / "recipe.json", "--data", folder, "--run-dir", tmp_path / "run", "--action", "group")
    pairs = pd.read_csv(tmp_path / "run" / "duplicates.csv", dtype=str)
    taken = pairs[pairs["same"] == "True"]
    table = read_table(recipe_of(kind).table, folder)
    assert taken[["id_a", "id_b"]].to_numpy().tolist() == [[table.ids[4], table.ids[20]]]


def test_preflight_plays_it_in_miniature(played, tmp_path, capsys):
    kind, data, _ = played
    (tmp_path / "recipe.json").write_text(to_json(recipe_of(kind)))
    run("preflight", tmp_path / "recipe.json", "--data", data, "--run-dir", tmp_path / "run")
    assert "everything works" in capsys.readouterr().out


def test_a_container_that_has_changed_since_is_read_again(tmp_path, capsys):
    data = make_data(tmp_path / "data", "hdf5")
    (tmp_path / "recipe.json").write_text(to_json(recipe_of("hdf5")))
    common = ["--data", data, "--run-dir", tmp_path / "run"]
    run("prepare", tmp_path / "recipe.json", *common)
    recipe = recipe_of("hdf5")
    table = read_table(recipe.table, data)
    before = ImageSource(table, make_reader(recipe)).read(3)
    make_hdf5(tmp_path, "train", 255 - pictures(TRAIN, 0)[0], np.arange(TRAIN) % 2)
    (tmp_path / "train-image.hdf5").replace(data / "train-image.hdf5")
    capsys.readouterr()
    run("train", *common, "--fold", 0)
    assert "changed" in capsys.readouterr().out
    assert not np.array_equal(ImageSource(table, make_reader(recipe)).read(3), before)


def test_images_that_are_missing_or_damaged_are_named(tmp_path, capsys):
    data = make_data(tmp_path / "data", "hdf5")
    (tmp_path / "recipe.json").write_text(to_json(recipe_of("hdf5", on_bad_image="skip")))
    with h5py.File(data / "train-image.hdf5", "a") as file:
        del file["ISIC_40003"]
        del file["ISIC_40005"]
        file["ISIC_40005"] = np.void(b"\xff\xd8 cut")
    common = ["--data", data, "--run-dir", tmp_path / "run"]
    line = refused(capsys, "prepare", tmp_path / "recipe.json", *common)
    assert "1 row (ISIC_40003) without an image in" in line and "it holds 39 images (ISIC_40000, " in line
    run("prepare", tmp_path / "recipe.json", *common, "--table.on-missing-image", "drop")
    bad = pd.read_csv(tmp_path / "run" / "bad_images.csv")
    assert bad["id"].tolist() == ["ISIC_40005"] and "train-image.hdf5/ISIC_40005 (" in bad["fault"][0]


def test_floats_without_white_are_one_clear_line(tmp_path, capsys):
    data = make_data(tmp_path / "data", "json")
    (tmp_path / "recipe.json").write_text(to_json(recipe_of("json", white=None)))
    line = refused(capsys, "prepare", tmp_path / "recipe.json", "--data", data, "--run-dir", tmp_path / "run")
    assert "its values are float64, so its white value is unknown: set `images.white`" in line


def test_rows_of_parquet_without_a_cache_are_said_to_be_slow(tmp_path, capsys):
    data = make_data(tmp_path / "data", "parquet")
    (tmp_path / "recipe.json").write_text(to_json(recipe_of("parquet")))
    common = ["--data", data, "--run-dir", tmp_path / "run"]
    run("prepare", tmp_path / "recipe.json", *common, "--cache.kind", "none")
    printed = capsys.readouterr().out
    line = "train_image_data_0.parquet: reading its rows in random order is slow: use --cache.kind pixels or jpeg"
    assert printed.count(line) == 1


def test_black_and_white_may_be_percentiles_of_what_it_holds(tmp_path, capsys):
    data = make_data(tmp_path / "data", "json")
    (tmp_path / "recipe.json").write_text(to_json(recipe_of("json", white="1%..99%")))
    run("prepare", tmp_path / "recipe.json", "--data", data, "--run-dir", tmp_path / "run")
    images, _ = pictures(TRAIN, 0)
    bands = np.stack([images / 4 - 40.5, images / 5 - 45.5])
    black, white = (float(np.percentile(bands, share)) for share in (1, 99))
    cached = ImageCache(tmp_path / "run" / "cache").read(7)
    expected = cv2.resize(((bands[0, 7] - black) / (white - black) * 255).clip(0, 255), (32, 32))
    assert np.abs(cached[:, :, 0] - expected).max() < 6
