"""The made cells: HPA's files, a long tail, near-duplicates, and labels that can be learned from the pixels."""

import hashlib
import re

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from imettk.errors import DataError
from imettk.synthetic.cells import COLOURS, PATTERNS, make_cells

RARE = [8, 9, 10, 15, 20, 27]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return table, targets uint8 (N, 28) and images uint8 (N, 96, 96, 4) of the default competition by part."""
    folder = tmp_path_factory.mktemp("cells")
    make_cells(folder / "data", folder / "answers" / "test.csv")
    parts = {}
    for name, csv in (("train", "data/train.csv"), ("external", "data/external.csv"), ("test", "answers/test.csv")):
        table = pd.read_csv(folder / csv, dtype=str)
        targets = np.zeros((len(table), 28), np.uint8)
        for row, labels in enumerate(table["Target"]):
            targets[row, [int(label) for label in labels.split()]] = 1
        parts[name] = (table, targets, np.stack([read_image(folder / "data" / name, id_) for id_ in table["Id"]]))
    sample = pd.read_csv(folder / "data" / "sample_submission.csv", dtype=str)
    assert sample.columns.tolist() == ["Id", "Predicted"]
    assert sample["Id"].tolist() == parts["test"][0]["Id"].tolist()
    assert len(list((folder / "data").rglob("*.png"))) == 4 * 320
    return parts


def read_image(folder, name):
    planes = []
    for colour in COLOURS:
        with Image.open(folder / f"{name}_{colour}.png") as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (96, 96))
            planes.append(np.asarray(image))
    return np.stack(planes, 2)


def test_tables_and_labels_are_those_of_hpa(made):
    assert [len(made[name][0]) for name in ("train", "external", "test")] == [200, 60, 60]
    for table, targets, _ in made.values():
        assert table.columns.tolist() == ["Id", "Target"]
        assert {1, 2} <= set(targets.sum(1)) <= {1, 2, 3}
    ids = pd.concat([table["Id"] for table, _, _ in made.values()])
    assert ids.is_unique
    assert ids.str.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").sum() == 260


def test_classes_have_a_long_tail_without_a_gap(made):
    rows = made["train"][1].sum(0)
    assert len(PATTERNS) == len(set(pattern[1:] for pattern in PATTERNS)) == 28
    assert rows.min() == 1 and rows[RARE].max() <= 4
    assert set(np.argsort(rows)[-2:]) == {0, 25} and rows[[0, 25]].min() >= 40


def test_images_of_one_antibody_share_their_labels(made):
    table, _, _ = made["external"]
    assert all(re.fullmatch(r"ENSG\d{11}_\d+_\d+_[A-H]\d{1,2}_\d", name) for name in table["Id"])
    by_antibody = table["Target"].groupby(table["Id"].str.split("_").str[1])
    assert by_antibody.size().tolist() == [4] * 15
    assert (by_antibody.nunique() == 1).all()


def test_only_near_duplicates_are_alike(made):
    def thumbs(name):
        small = np.stack([cv2.GaussianBlur(image, (0, 0), 3) for image in made[name][2]])
        flat = small.reshape(len(small), -1).astype(np.float32)
        flat -= flat.mean(1, keepdims=True)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    train = thumbs("train")
    found = {}
    for name in ("external", "test"):
        likeness = thumbs(name) @ train.T
        rows, originals = np.nonzero(likeness > 0.95)
        found[name] = len(rows)
        assert len(set(rows)) == len(set(originals)) == len(rows)
        np.testing.assert_array_equal(made[name][1][rows], made["train"][1][originals])
        differ = [(made[name][2][a] != made["train"][2][b]).mean() for a, b in zip(rows, originals, strict=True)]
        assert min(differ) > 0.5
        assert likeness[likeness <= 0.95].max() < 0.93  # a gap between copies and all else
    assert found == {"external": 14, "test": 2}
    within = train @ train.T
    assert (within > 0.95).sum() == len(train)


def test_labels_can_be_learned(made):
    def features(images):
        rows = []
        for image in images:
            green, blue, yellow = (image[:, :, channel].astype(np.float32) for channel in (1, 2, 3))
            fine = np.abs(green - cv2.GaussianBlur(green, (0, 0), 2))
            nucleus, near = blue > 60, cv2.dilate(blue, np.ones((9, 9))) > 60
            cell = near | (yellow > 30)
            edge = (cv2.dilate(cell.astype(np.uint8), np.ones((9, 9))) > 0) & ~(
                cv2.erode(cell.astype(np.uint8), np.ones((5, 5))) > 0
            )
            row = []
            for place in (nucleus, near & ~nucleus, cell & ~near, edge):
                row += [green[place].mean(), green[place].std(), fine[place].mean(), (green[place] > 150).mean()]
                row += [(green[place] < 30).mean()]
            rows.append(row)
        return np.array(rows)

    (_, train_targets, train_images), (_, targets, images) = made["train"], made["test"]
    forest = RandomForestClassifier(80, min_samples_leaf=2, random_state=0).fit(features(train_images), train_targets)
    predicted = np.stack([probs[:, -1] for probs in forest.predict_proba(features(images))], 1)
    frequent = np.flatnonzero((train_targets.sum(0) >= 10) & (targets.sum(0) >= 2))
    scores = {int(label): roc_auc_score(targets[:, label], predicted[:, label]) for label in frequent}
    assert len(scores) >= 8
    assert np.mean(list(scores.values())) > 0.8, scores


def test_the_seed_decides_the_content(tmp_path):
    def digest(name, seed):
        sizes = {"num_train": 12, "num_external": 5, "num_test": 3, "side": 48}
        make_cells(tmp_path / name, tmp_path / name / "answers.csv", seed=seed, **sizes)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        assert len(files) == 84
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).digest()

    assert digest("one", 1) == digest("again", 1) != digest("other", 2)


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="exists already; give another folder"):
        make_cells(tmp_path / "data", tmp_path / "answers.csv")
    assert list(tmp_path.rglob("*")) == [tmp_path / "data"]
