"""The demo's competition: right labels, files that fit, no scan on both sides."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError
from imettk.recipes.digits import digits
from imettk.synthetic.digits import FACTS, LABEL_NAMES, DigitsSize, _deal_scans, make_digits, sheet_labels

SMALL = DigitsSize(train_sheets=26, test_sheets=9, num_groups=4, sheet_pixels=32)


@pytest.mark.parametrize(
    ("shown", "facts"),
    [
        ([4], {"has an even digit", "is a single digit"}),
        ([7, 7], {"has an odd digit", "has a digit above 6"}),
        ([0, 1, 6], {"has an even digit", "has an odd digit", "has three or more digits"}),
        ([9, 3, 9, 3], {"has an odd digit", "has a digit above 6", "has three or more digits"}),
    ],
)
def test_labels_match_the_sheet(shown, facts):
    assert {LABEL_NAMES[label] for label in sheet_labels(shown)} == {f"digit::{digit}" for digit in shown} | {
        f"fact::{fact}" for fact in facts
    }
    assert facts <= set(FACTS)


def test_scans_are_dealt_once_evenly_and_are_those_of_scikit_learn():
    hands = _deal_scans(np.random.default_rng(0), SMALL)
    assert len(hands) == 5
    dealt = sorted(scan.tobytes() + bytes([digit]) for hand in hands for scan, digit in hand)
    scans = load_digits()
    everything = (
        (image / 16 * 255).astype(np.uint8).tobytes() + bytes([digit])
        for image, digit in zip(scans.images, scans.target, strict=True)
    )
    assert dealt == sorted(everything)  # all 1,797, so none stands in two hands
    counts = np.array([np.bincount([digit for _, digit in hand], minlength=10) for hand in hands])
    np.testing.assert_allclose(counts[0] / counts.sum(0), 0.3, atol=0.01)
    assert (counts[1:].max(0) - counts[1:].min(0)).max() <= 1


def test_files_are_a_whole_competition(tmp_path):
    make_digits(tmp_path / "data", tmp_path / "made" / "answers.csv", size=SMALL)
    recipe = digits()
    table = read_table(recipe.table, tmp_path / "data")
    test = read_test_table(recipe.table, tmp_path / "data", table)
    assert (len(table), len(test), len(table.labels)) == (26, 9, 15)
    assert table.remarks == test.remarks == ()
    assert set(table.label_groups) == {"digit", "fact"}
    assert set(table.groups) == {"g00", "g01", "g02", "g03"}
    answers = pd.read_csv(tmp_path / "made" / "answers.csv", dtype=str)
    assert answers.columns.tolist() == ["id", "attribute_ids", "group"]
    assert answers["id"].tolist() == test.ids.tolist()
    for path in (*table.paths, *test.paths):
        with Image.open(path) as image:
            assert (image.size, image.mode) == ((32, 32), "L")
            assert np.asarray(image).max() > 100  # a digit is there


def test_every_sheet_has_as_many_digits_as_lit_quarters(tmp_path):
    make_digits(tmp_path / "data", tmp_path / "answers.csv", size=SMALL)
    for row in pd.read_csv(tmp_path / "data" / "train.csv", dtype=str).itertuples():
        with Image.open(tmp_path / "data" / "train" / f"{row.id}.png") as image:
            quarters = np.asarray(image).reshape(2, 16, 2, 16).max((1, 3))
        lit, labels = (quarters > 100).sum(), row.attribute_ids.split()
        assert ("13" in labels, "14" in labels) == (lit == 1, lit >= 3)


def test_the_seed_decides_the_content(tmp_path):
    def digest(name, seed):
        make_digits(tmp_path / name, tmp_path / f"{name}.csv", seed=seed, size=SMALL)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).digest()

    assert digest("one", 1) == digest("again", 1) != digest("other", 2)


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="exists already; give another folder"):
        make_digits(tmp_path / "data", tmp_path / "answers.csv", size=SMALL)
    assert list(tmp_path.rglob("*")) == [tmp_path / "data"]
