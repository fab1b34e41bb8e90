"""Drawn retinas have APTOS 2019's files, grades in its shares, and bleedings that show them."""

import hashlib

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError
from imettk.recipes import load_recipe
from imettk.synthetic.retinas import SHARES, make_retinas

FORM = load_recipe("aptos2019").table


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folder, training and test table, and grades of the test images."""
    top = tmp_path_factory.mktemp("retinas")
    make_retinas(top / "data", top / "answers.csv")
    table = read_table(FORM, top / "data")
    return top / "data", table, read_test_table(FORM, top / "data", table), pd.read_csv(top / "answers.csv")


def test_files_and_counts(made):
    folder, table, test, answers = made
    assert sorted(path.name for path in folder.iterdir()) == [
        "drd2015", "drd2015.csv", "sample_submission.csv", "test.csv", "test_images", "train.csv", "train_images",
    ]  # fmt: skip
    train, sample = (pd.read_csv(folder / f"{name}.csv") for name in ("train", "sample_submission"))
    assert list(train) == list(sample) == list(answers) == ["id_code", "diagnosis"]
    assert (sample["diagnosis"] == 0).all() and sample["id_code"].tolist() == answers["id_code"].tolist()
    assert test.ids.tolist() == answers["id_code"].tolist() and table.remarks == () == test.remarks
    assert (table.sources == 1).sum() == 80 and set(train["diagnosis"]) == set(range(5))
    assert train["diagnosis"].value_counts(normalize=True).sort_index().to_numpy() == pytest.approx(SHARES, abs=0.03)


def test_a_grade_is_in_how_much_bleeds(made):
    _, table, _, _ = made
    dark = [np.mean(cv2.imread(path)[:, :, 2] < 130) for path in table.paths[table.sources == 0]]
    assert spearmanr(dark, table.targets[table.sources == 0, 0]).statistic > 0.8


def test_the_seed_decides_the_content(tmp_path):
    def digest(name, seed):
        folder = tmp_path / name
        make_retinas(folder / "data", folder / "a.csv", num_train=8, num_external=4, num_test=4, seed=seed)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return hashlib.sha256(b"".join(str(p.name).encode() + p.read_bytes() for p in files)).digest()

    assert digest("one", 1) == digest("again", 1) != digest("other", 2)
    with pytest.raises(DataError, match="exists already"):
        make_retinas(tmp_path / "one", tmp_path / "answers.csv")
