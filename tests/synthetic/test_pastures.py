"""The made pastures: CSIRO 2025's files, weights that add up, and colours that tell them."""

import hashlib

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from imettk.data.table import read_answers, read_table, read_test_table
from imettk.errors import DataError
from imettk.recipes import load_recipe
from imettk.synthetic.pastures import TARGETS, make_pastures

FORM = load_recipe("csiro2025").table


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folder, training and test table, and targets of the test images."""
    top = tmp_path_factory.mktemp("pastures")
    make_pastures(top / "data", top / "answers.csv", num_train=100, num_test=30)
    table = read_table(FORM, top / "data")
    test = read_test_table(FORM, top / "data", table)
    return top / "data", table, test, read_answers(FORM, top / "answers.csv", table.labels, test.ids)


def test_files_are_those_of_the_competition(made):
    folder, table, test, answers = made
    assert sorted(path.name for path in folder.iterdir()) == [
        "sample_submission.csv", "test", "test.csv", "train", "train.csv",
    ]  # fmt: skip
    train = pd.read_csv(folder / "train.csv")
    assert list(train.columns) == [
        "sample_id", "image_path", "Sampling_Date", "State", "Species", "Pre_GSHH_NDVI", "Height_Ave_cm",
        "target_name", "target",
    ]  # fmt: skip
    assert (train["sample_id"] == train["image_path"].str[6:-4] + "__" + train["target_name"]).all()
    assert len(train) == 500 and len(table) == 100 and len(test) == 30 and table.labels == TARGETS == FORM.label_columns
    clover, dead, green, total, gdm = np.concatenate([table.targets, answers]).T
    np.testing.assert_allclose(gdm, clover + green, atol=2e-4)
    np.testing.assert_allclose(total, clover + green + dead, atol=2e-4)
    assert table.remarks == () == test.remarks and len(np.unique(table.groups)) == 25


def test_grams_show_in_colours(made):
    _, table, test, answers = made

    def looks(some):
        images = np.array([cv2.imread(path) for path in some.paths], np.int32) // 32
        bins = (images * [64, 8, 1]).sum(-1).reshape(len(images), -1)
        return np.stack([np.bincount(row, minlength=512) for row in bins]) / bins.shape[1]

    model = Ridge(1e-4).fit(looks(table), table.targets)
    assert r2_score(answers, model.predict(looks(test))) > 0.6


def test_the_seed_decides_the_content(tmp_path):
    def digest(name, seed):
        make_pastures(tmp_path / name / "data", tmp_path / name / "a.csv", num_train=4, num_test=2, seed=seed)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return hashlib.sha256(b"".join(str(p.name).encode() + p.read_bytes() for p in files)).digest()

    assert digest("one", 1) == digest("again", 1) != digest("other", 2)
    with pytest.raises(DataError, match="exists already"):
        make_pastures(tmp_path / "one", tmp_path / "answers.csv")
