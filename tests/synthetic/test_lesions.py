"""Drawn moles have SIIM-ISIC 2020's files, few melanomas, and distinguishable diagnoses."""

import hashlib

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError
from imettk.recipes import load_recipe
from imettk.synthetic.lesions import LESIONS, POSITIVE, make_lesions

FORM = load_recipe("melanoma2020").table


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folder, training and test table, and diagnoses of the test images."""
    top = tmp_path_factory.mktemp("lesions")
    make_lesions(top / "data", top / "answers.csv")
    table = read_table(FORM, top / "data")
    return top / "data", table, read_test_table(FORM, top / "data", table), pd.read_csv(top / "answers.csv")


def test_files_and_counts(made):
    folder, table, test, answers = made
    assert sorted(path.name for path in folder.iterdir()) == [
        "isic2019", "isic2019.csv", "jpeg", "sample_submission.csv", "test.csv", "train.csv",
    ]  # fmt: skip
    train, sample = (pd.read_csv(folder / f"{name}.csv") for name in ("train", "sample_submission"))
    assert ((train["diagnosis"] == POSITIVE) == train["target"]).all() and train["target"].mean() < 0.15
    assert sample.columns.tolist() == ["image_name", "target"] and (sample["target"] == 0).all()
    assert test.ids.tolist() == answers["image_name"].tolist() and table.remarks == () == test.remarks
    assert table.labels == tuple(sorted(LESIONS)) and (table.sources == 1).sum() == 80
    assert train["patient_id"].nunique() < len(train) / 2
    for source, column in enumerate(("share", "share_before")):
        counts = np.bincount(table.targets[table.sources == source], minlength=len(LESIONS))
        for name, count in zip(table.labels, counts, strict=True):
            assert count >= 3 if getattr(LESIONS[name], column) > 0 else count == 0


def test_melanomas_differ_in_colour(made):
    _, table, test, answers = made

    def looks(some):
        images = [cv2.resize(cv2.imread(path), (16, 16), interpolation=cv2.INTER_AREA) for path in some.paths]
        return np.sort(np.array(images, np.float32).reshape(len(images), -1, 3), axis=1)[:, ::16].reshape(
            len(images), -1
        )

    positive = table.targets == table.labels.index(POSITIVE)
    model = LogisticRegression(C=1e-4, max_iter=2000).fit(looks(table), positive)
    assert roc_auc_score(answers["diagnosis"] == POSITIVE, model.predict_proba(looks(test))[:, 1]) > 0.9


def test_the_seed_decides_the_content(tmp_path):
    def digest(name, seed):
        make_lesions(
            tmp_path / name / "data", tmp_path / name / "a.csv", num_train=8, num_external=4, num_test=4, seed=seed
        )
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return hashlib.sha256(b"".join(str(p.name).encode() + p.read_bytes() for p in files)).digest()

    assert digest("one", 1) == digest("again", 1) != digest("other", 2)
    with pytest.raises(DataError, match="exists already"):
        make_lesions(tmp_path / "one", tmp_path / "answers.csv")
