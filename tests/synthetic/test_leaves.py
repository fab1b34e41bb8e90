"""The made leaves: Plant Pathology 2020's files, its shares of classes, and spots that tell them apart."""

import hashlib

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from imettk.data.table import read_answers, read_table, read_test_table
from imettk.errors import DataError
from imettk.recipes import load_recipe
from imettk.synthetic.leaves import SHARES, make_leaves

FORM = load_recipe("plant2020").table


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folder, training and test table, and targets of the test images."""
    top = tmp_path_factory.mktemp("leaves")
    make_leaves(top / "data", top / "answers.csv", num_train=182)
    table = read_table(FORM, top / "data")
    test = read_test_table(FORM, top / "data", table)
    return top / "data", table, test, read_answers(FORM, top / "answers.csv", table.labels, test.ids)


def test_files_and_counts(made):
    folder, table, test, answers = made
    assert sorted(path.name for path in folder.iterdir()) == [
        "images", "sample_submission.csv", "test.csv", "train.csv",
    ]  # fmt: skip
    train, sample = (pd.read_csv(folder / f"{name}.csv") for name in ("train", "sample_submission"))
    assert list(train.columns) == list(sample.columns) == ["image_id", *SHARES]
    assert (train[list(SHARES)].sum(axis=1) == 1).all() and (sample[list(SHARES)] == 0.25).all().all()
    assert [*table.ids[:2], *test.ids[:2]] == ["Train_0", "Train_1", "Test_0", "Test_1"]
    assert table.labels == tuple(SHARES) and table.remarks == () == test.remarks
    counts = np.bincount(table.targets, minlength=4)
    assert abs(counts - np.array(list(SHARES.values())) / 10).max() <= 1  # 1,821 rows are the real ones
    assert set(answers.tolist()) == {0, 1, 2, 3}


def test_diseases_differ_in_colour(made):
    _, table, test, answers = made

    def looks(some):
        images = np.array([cv2.imread(path) for path in some.paths], np.int32) // 64
        bins = (images * [16, 4, 1]).sum(-1).reshape(len(images), -1)
        return np.stack([np.bincount(row, minlength=64) for row in bins]) / bins.shape[1]

    model = LogisticRegression(C=100, max_iter=2000).fit(looks(table), table.targets)
    assert roc_auc_score(np.eye(4)[answers], model.predict_proba(looks(test)), average="macro") > 0.9


def test_the_seed_decides_the_content(tmp_path):
    def digest(name, seed):
        make_leaves(tmp_path / name / "data", tmp_path / name / "a.csv", num_train=8, num_test=4, seed=seed)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return hashlib.sha256(b"".join(str(p.name).encode() + p.read_bytes() for p in files)).digest()

    assert digest("one", 1) == digest("again", 1) != digest("other", 2)
    with pytest.raises(DataError, match="exists already"):
        make_leaves(tmp_path / "one", tmp_path / "answers.csv")
