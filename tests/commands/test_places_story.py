"""Images that lie below their folder, and test sets without a sample submission, from `new` to a submission."""

import hashlib
import re
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from tiny import run

from imettk.data.table import read_table, read_test_table
from imettk.recipes import load_recipe

pytestmark = pytest.mark.usefixtures("no_charts_here")

SMALL = ["--images.image-size", 32, 32, "--stages.0.num-epochs", 4, "--stages.0.batch-size", 8, "--folds.num-folds", 2]
NUM, NUM_TEST = 36, 6


def picture(path, kind, rng):
    pixels = rng.integers(0, 60, (40, 40, 3), dtype=np.uint8)
    pixels[:, :, kind % 3] += 150
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix.lower(), pixels)[1].tobytes())


def write(folder, train_place, test_place, *, head="id,kind", rows=None, **tables):
    """A folder in which image i of each part lies where its function says, its colour being its class."""
    rng = np.random.default_rng(0)
    for place, num in ((train_place, NUM), (test_place, NUM_TEST)):
        for number in range(num):
            if place is not None:
                picture(folder / place(number), number, rng)
    rows = rows or (lambda number: f"{Path(train_place(number)).stem},{'abc'[number % 3]}")
    (folder / "train.csv").write_text("\n".join([head, *map(rows, range(NUM))]) + "\n")
    for name, lines in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder


def hexes(number):
    return hashlib.md5(str(number).encode()).hexdigest()[:16]


def by_letters(part, first=0):
    """Folders of the first three letters of a name."""
    return lambda number: f"{part}/{'/'.join(hexes(first + number)[:3])}/{hexes(first + number)}.jpg"


@pytest.fixture
def entered(tmp_path, monkeypatch, capsys):
    """Write a recipe for what lies in `data`, and prepare it: what `new` and `prepare` say, and the recipe."""
    monkeypatch.chdir(tmp_path)

    def enter(*words):
        run("new", "mine", "--data", "data", *words)
        said = capsys.readouterr().out
        run("prepare", "mine.py", "--data", "data", "--run-dir", "run", *SMALL)
        return said, capsys.readouterr().out, load_recipe("mine.py")

    return enter


@pytest.mark.parametrize("with_table", [False, True])
def test_nested_images_without_a_sample_go_the_whole_way(tmp_path, entered, capsys, with_table):
    """As Google Landmark's; the submission has the rows of test.csv, else of the folder."""
    names = [hexes(number + 99) for number in range(NUM_TEST)]
    tables = {"test": ["id,taken", *(f"{name},1" for name in names)]} if with_table else {}
    write(tmp_path / "data", by_letters("train"), by_letters("test", 99), **tables)
    said, told, recipe = entered()
    assert "train/, which holds 36 images in" in said and "folders: each is found by its name" in said
    assert re.search(r"test rows .*`infer` writes the columns id, kind", said)
    assert "36 images found by name in folders below data/train" in told
    assert f"sample_submission.csv is missing: the test set has the {NUM_TEST} rows" in told
    assert recipe.table.test_csv == ("test.csv" if with_table else None)
    common = ["--data", "data", "--run-dir", "run", *SMALL]
    run("train", "mine.py", *common)
    run("validate", "mine.py", *common)
    run("infer", "mine.py", *common)
    made = pd.read_csv("run/submission.csv")
    assert list(made.columns) == ["id", "kind"]
    assert made["id"].tolist() == (names if with_table else sorted(names))
    right = dict(zip(names, "abcabc", strict=True))
    assert sum(made["kind"] == made["id"].map(right)) >= NUM_TEST - 1


def test_a_column_that_names_folders_is_a_pattern(tmp_path, entered):
    """As Hotel-ID's: chains of training images alone."""
    sample = ["image,hotel_id", *(f"q{number}.jpg,h1" for number in range(NUM_TEST))]
    write(
        tmp_path / "data",
        lambda number: f"train_images/{number % 5}/{hexes(number)}.jpg",
        lambda number: f"test_images/q{number}.jpg",
        head="image,chain,hotel_id",
        rows=lambda number: f"{hexes(number)}.jpg,{number % 5},h{number % 3}",
        sample_submission=sample,
    )
    said, told, recipe = entered()
    assert recipe.table.image_path == "{chain}/{image}" and recipe.table.image_suffix == ""
    assert re.search(r"path +\{chain\}/\{image\}: these columns name the folders in train_images/", said)
    assert "found by name" not in told and "without an image" not in told
    table = read_table(recipe.table, tmp_path / "data")
    assert table.paths[7] == str(tmp_path / f"data/train_images/2/{hexes(7)}.jpg")
    assert len(read_test_table(recipe.table, tmp_path / "data", table)) == NUM_TEST


def test_folders_that_are_labels_too_are_no_pattern(tmp_path, entered):
    """By which no test image would be found."""
    write(
        tmp_path / "data",
        lambda number: f"train/{'abc'[number % 3]}/{hexes(number)}.jpg",
        lambda number: f"test/unknown/{hexes(99 + number)}.jpg",
        sample_submission=["id,kind", *(f"{hexes(99 + number)},a" for number in range(NUM_TEST))],
    )
    _, told, recipe = entered()
    assert recipe.table.image_path is None and not recipe.table.train_folders
    assert "36 images found by name" in told and "6 images found by name" in told


@pytest.mark.parametrize(
    "way", ["/kaggle/input/comp/train/", "C:\\data\\train\\", "../input/comp/train/", "./train/", "train/"]
)
def test_paths_of_another_machine_are_read(tmp_path, entered, way):
    write(
        tmp_path / "data",
        lambda number: f"train/{hexes(number)}.jpg",
        None,
        head="path,kind",
        rows=lambda number: f"{way}{hexes(number)}.jpg,{'abc'[number % 3]}",
    )
    _, told, recipe = entered()
    assert ("36 paths of another machine or folder matched by the end" in told) == ("train/" not in (way, way[2:]))
    assert len(read_table(recipe.table, tmp_path / "data")) == NUM


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_mixed_endings_and_unicode_forms_are_found_below(tmp_path, entered, form):
    """The other form stands in the table."""
    other = {"NFC": "NFD", "NFD": "NFC"}[form]

    def place(number):
        ending = (".jpg", ".JPG", ".jpeg", ".png")[number % 4]
        return f"train/{number % 5}/" + unicodedata.normalize(form, f"café {number}*") + ending

    def row(number):
        return unicodedata.normalize(other, f"café {number}*") + f",{'abc'[number % 3]}"

    write(tmp_path / "data", place, None, rows=row)
    _, told, recipe = entered()
    assert "36 images found by name" in told
    assert len({path for path in read_table(recipe.table, tmp_path / "data").paths if Path(path).is_file()}) == NUM


def test_patients_have_their_folders_as_before(tmp_path, entered):
    """As RSNA's: a column names the folders, a table lists the test images, and breasts are answered."""

    def patient(number):
        return 100 + number // 4 + 50 * (number >= NUM)

    def breast(number):
        return f"{patient(number)}_{'LR'[number // 2 % 2]}"

    def row(number):
        return f"{patient(number)},{1000 + number},{breast(number)[-1]}"

    tests = range(NUM, NUM + 4)
    write(
        tmp_path / "data",
        lambda number: f"train_images/{patient(number)}/{1000 + number}.png",
        lambda number: f"test_images/{patient(NUM + number)}/{1000 + NUM + number}.png",
        head="patient_id,image_id,laterality,cancer",
        rows=lambda number: f"{row(number)},{number // 2 % 3 % 2}",
        test=["patient_id,image_id,laterality,prediction_id", *(f"{row(number)},{breast(number)}" for number in tests)],
        sample_submission=["prediction_id,cancer", *dict.fromkeys(f"{breast(number)},0" for number in tests)],
    )
    _, told, recipe = entered()
    form = recipe.table
    assert (form.image_path, form.test_csv, form.id_column) == ("{patient_id}/{image_id}", "test.csv", "image_id")
    assert form.unit_columns == ("patient_id", "laterality") and "18 units of 2 images" in told
    assert "found by name" not in told
