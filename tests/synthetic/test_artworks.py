"""The made artworks: iMet's files, a long tail, and labels that can be learned from the pixels."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from imettk.config import TableFormat
from imettk.data.table import read_answers, read_table, read_test_table
from imettk.errors import DataError
from imettk.synthetic.artworks import CULTURES, LABEL_NAMES, RARE_ROWS, make_artworks

FORMAT = TableFormat(labels_csv="labels.csv")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folder, and the training and test tables of the default competition."""
    folder = tmp_path_factory.mktemp("artworks")
    make_artworks(folder / "data", folder / "answers" / "test.csv")
    train = read_table(FORMAT, folder / "data")
    return folder, train, read_test_table(FORMAT, folder / "data", train)


def read_images(table):
    images = []
    for path in table.paths:
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("PNG", "RGB")
            images.append(np.asarray(image))
    return images


def test_files_are_a_whole_competition(made):
    folder, train, test = made
    assert (len(train), len(test), train.labels) == (240, 80, tuple(map(str, range(24))))
    assert train.remarks == test.remarks == ()
    columns = {
        csv: pd.read_csv(folder / csv, dtype=str, nrows=0).columns.tolist()
        for csv in ("data/train.csv", "data/labels.csv", "data/sample_submission.csv", "answers/test.csv")
    }
    rows = ["id", "attribute_ids"]
    assert list(columns.values()) == [rows, ["attribute_id", "attribute_name"], rows, rows]
    assert set(train.label_groups) == {"culture", "tag"}
    ids = [*train.ids, *test.ids]
    assert len(set(ids)) == 320 and all(len(name) == 16 and int(name, 16) >= 0 for name in ids)
    read_answers(FORMAT, folder / "answers" / "test.csv", train.labels, test.ids)  # refuses unknown labels


def test_every_image_has_a_culture_and_rare_labels_are_rare(made):
    folder, train, test = made
    answers = read_answers(FORMAT, folder / "answers" / "test.csv", train.labels, test.ids)
    for targets in (train.targets, answers):
        cultures, tags = targets[:, : len(CULTURES)].sum(1), targets[:, len(CULTURES) :].sum(1)
        assert set(cultures) == {1, 2} and set(tags) == set(range(6))
    rows = train.targets.sum(0)
    assert {label: rows[label] for label in RARE_ROWS} == RARE_ROWS and sorted(RARE_ROWS.values()) == [1, 2]
    assert np.delete(rows, list(RARE_ROWS)).min() >= 5 < 100 <= rows.max()
    assert answers[:, list(RARE_ROWS)].sum(0).tolist() == [1, 1]


def test_sizes_and_shapes_vary(made):
    images = [image for table in made[1:] for image in read_images(table)]
    height, width = np.array([image.shape[:2] for image in images]).T
    assert np.maximum(height, width).max() <= 160 and np.maximum(height, width).min() >= 64
    aspect = width / height
    assert (aspect < 0.25).sum() == (aspect > 5).sum() == 16
    assert ((aspect > 0.49) & (aspect < 2.05)).mean() == pytest.approx(0.9)
    assert np.log2(aspect).std() > 0.5


def test_labels_can_be_learned(made):
    folder, train, test = made
    answers = read_answers(FORMAT, folder / "answers" / "test.csv", train.labels, test.ids)

    def features(table):
        rows = []
        for image in read_images(table):
            coarse = (image // 52).astype(int) @ [25, 5, 1]  # 5 levels a channel
            rows.append(np.bincount(coarse.ravel(), minlength=125) / coarse.size)
        return np.array(rows)

    forest = RandomForestClassifier(80, min_samples_leaf=2, random_state=0).fit(features(train), train.targets)
    predicted = np.stack([probs[:, -1] for probs in forest.predict_proba(features(test))], 1)
    frequent = np.flatnonzero(train.targets.sum(0) >= 20)
    scores = {LABEL_NAMES[label]: roc_auc_score(answers[:, label], predicted[:, label]) for label in frequent}
    assert {name.split("::")[0] for name in scores} == {"culture", "tag"} and len(scores) >= 10
    assert np.mean(list(scores.values())) > 0.8, scores


def test_the_seed_decides_the_content(tmp_path):
    def digest(name, seed):
        make_artworks(tmp_path / name, tmp_path / name / "answers.csv", num_train=24, num_test=6, seed=seed)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        assert len(files) == 34
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).digest()

    assert digest("one", 1) == digest("again", 1) != digest("other", 2)


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="exists already; give another folder"):
        make_artworks(tmp_path / "data", tmp_path / "answers.csv")
    assert list(tmp_path.rglob("*")) == [tmp_path / "data"]
