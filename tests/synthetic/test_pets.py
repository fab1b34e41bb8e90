"""Drawn pets have Pawpularity 2021's files, scores as skewed as the real ones, and eyes that show them."""

import hashlib

import cv2
import pandas as pd
import pytest
from scipy.stats import spearmanr

from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError
from imettk.recipes import load_recipe
from imettk.synthetic.pets import MARKS, make_pets

FORM = load_recipe("pawpularity2021").table


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folder, training and test table, and scores of the test images."""
    top = tmp_path_factory.mktemp("pets")
    make_pets(top / "data", top / "answers.csv")
    table = read_table(FORM, top / "data")
    return top / "data", table, read_test_table(FORM, top / "data", table), pd.read_csv(top / "answers.csv")


def test_files_and_counts(made):
    folder, table, test, answers = made
    assert sorted(path.name for path in folder.iterdir()) == [
        "sample_submission.csv", "test", "test.csv", "train", "train.csv",
    ]  # fmt: skip
    train, tests, sample = (pd.read_csv(folder / f"{name}.csv") for name in ("train", "test", "sample_submission"))
    assert list(train) == ["Id", *MARKS, "Pawpularity"] and list(tests) == ["Id", *MARKS]
    assert list(sample) == list(answers) == ["Id", "Pawpularity"] and train[list(MARKS)].isin([0, 1]).all(axis=None)
    assert test.ids.tolist() == answers["Id"].tolist() and table.remarks == () == test.remarks
    scores = table.targets[:, 0]
    assert 1 <= scores.min() < 15 and 70 < scores.max() <= 100 and 34 < scores.mean() < 42
    shapes = {cv2.imread(path).shape[:2] for path in table.paths[:40]}
    assert {height > width for height, width in shapes} == {True, False}


def test_a_score_is_in_the_eyes(made):
    _, table, _, _ = made
    yellow = []
    for path in table.paths:
        blue, green, red = cv2.split(cv2.imread(path).astype(int))
        shape = blue.shape
        centre = (slice(shape[0] // 4, 3 * shape[0] // 4), slice(shape[1] // 4, 3 * shape[1] // 4))
        yellow.append(((red > 190) & (green > 190) & (blue < 170))[centre].sum())
    assert spearmanr(yellow, table.targets[:, 0]).statistic > 0.7


def test_the_seed_decides_the_content(tmp_path):
    def digest(name, seed):
        make_pets(tmp_path / name / "data", tmp_path / name / "a.csv", num_train=8, num_test=4, seed=seed)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return hashlib.sha256(b"".join(str(p.name).encode() + p.read_bytes() for p in files)).digest()

    assert digest("one", 1) == digest("again", 1) != digest("other", 2)
    with pytest.raises(DataError, match="exists already"):
        make_pets(tmp_path / "one", tmp_path / "answers.csv")
