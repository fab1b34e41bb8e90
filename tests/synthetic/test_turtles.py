"""Drawn turtles have Turtle Recall's files, scored, extra and new individuals, and distinguishable faces."""

import hashlib

import cv2
import numpy as np
import pandas as pd
import pytest

from imettk.config import ExtraTable, TableFormat
from imettk.data.table import read_answers, read_table, read_test_table
from imettk.errors import DataError
from imettk.synthetic.turtles import UNKNOWN, TurtlesSize, make_turtles

FORM = TableFormat(
    task="multiclass", id_column="image_id", label_column="turtle_id", image_suffix=".JPG", train_images="images",
    test_images="images", unknown_label=UNKNOWN,
    answer_columns=tuple(f"prediction{number}" for number in range(1, 6)),
    extra=(ExtraTable(csv="extra_images.csv", images="images", new_labels=True, validates=True),),
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folder, training and test table, and targets of the test images."""
    top = tmp_path_factory.mktemp("turtles")
    make_turtles(top / "data", top / "answers.csv")
    table = read_table(FORM, top / "data")
    test = read_test_table(FORM, top / "data", table)
    return top / "data", table, test, read_answers(FORM, top / "answers.csv", table.labels, test.ids)


def test_files_and_counts_are_those_of_the_size(made):
    folder, table, test, answers = made
    size = TurtlesSize()
    assert sorted(path.name for path in folder.iterdir()) == [
        "extra_images.csv", "images", "sample_submission.csv", "test.csv", "train.csv",
    ]  # fmt: skip
    assert len(list((folder / "images").iterdir())) == len(table) + len(test)
    sample = pd.read_csv(folder / "sample_submission.csv")
    assert sample.columns.tolist() == ["image_id", *FORM.answer_columns]
    assert sample["image_id"].tolist() == pd.read_csv(folder / "test.csv")["image_id"].tolist() == test.ids.tolist()
    scored = set(table.targets[table.sources == 0].tolist())
    assert len(scored) == size.scored and len(table.labels) == size.scored + size.extra and table.remarks == ()
    extra = table.targets[table.sources == 1]
    assert sum(target in scored for target in extra.tolist()) == size.extra_of_scored
    assert len(set(extra.tolist()) - scored) == size.extra
    assert (answers < 0).sum() == size.test_extra + size.test_new and set(answers.tolist()) <= scored | {-1}
    assert np.bincount(table.targets[table.sources == 0]).max() <= size.most_images


def test_turtles_are_distinguishable(made):
    _, table, test, answers = made

    def faces(part):
        return [cv2.resize(cv2.imread(path, cv2.IMREAD_GRAYSCALE), (96, 96)) for path in part.paths]

    # Local features do not depend on the pose: they are matched one to one, as a person would compare scutes.
    sift, matcher = cv2.SIFT_create(), cv2.BFMatcher()
    train = np.flatnonzero(table.sources == 0)
    known = [sift.detectAndCompute(face, None)[1] for face in faces(table.take(train))]
    right = []
    for target, face in zip(answers, faces(test), strict=True):
        if target < 0:
            continue
        mine = sift.detectAndCompute(face, None)[1]
        counts = [sum(a.distance < 0.75 * b.distance for a, b in matcher.knnMatch(mine, other, k=2)) for other in known]
        right.append(table.targets[train[int(np.argmax(counts))]] == target)
    assert np.mean(right) > 0.6  # one of 12


def test_the_seed_decides_the_content(tmp_path):
    def digest(name, seed):
        size = TurtlesSize(
            scored=3, most_images=4, extra=2, extra_of_scored=1, test=2, test_extra=1, test_new=1, side=48
        )
        make_turtles(tmp_path / name / "data", tmp_path / name / "answers.csv", seed=seed, size=size)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return hashlib.sha256(b"".join(str(p.name).encode() + p.read_bytes() for p in files)).digest()

    assert digest("one", 1) == digest("again", 1) != digest("other", 2)
    with pytest.raises(DataError, match="exists already"):
        make_turtles(tmp_path / "one", tmp_path / "answers.csv")
