"""Drawn whales have the same flukes in both real layouts, distinguishable by their pixels."""

import hashlib

import cv2
import numpy as np
import pandas as pd
import pytest

from imettk.config import TableFormat
from imettk.data.table import read_answers, read_table, read_test_table
from imettk.errors import DataError
from imettk.synthetic.whales import UNKNOWN, WhalesSize, make_whale_folders, make_whales

FORM = TableFormat(
    task="multiclass", id_column="Image", label_column="Id", image_suffix="", unknown_label=UNKNOWN,
    boxes_csv="boxes.csv", turned_csv="turned.csv", left_out_csv="left_out.csv", merged_csv="duplicate_ids.csv",
)  # fmt: skip
FOLDERS = TableFormat(
    task="multiclass", train_folders=True, id_column="image", label_column="whale", image_suffix="",
    unknown_label="-1", answer_columns=tuple(f"prediction{number}" for number in range(1, 21)),
    boxes_csv="boxes.csv", box_id_column="image", box_columns=("x_center", "y_center", "width", "height"),
    box_format="centre",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return training and test table, and targets of the test images, by layout."""
    top = tmp_path_factory.mktemp("whales")
    found = {}
    for name, make, form in (("csv", make_whales, FORM), ("folders", make_whale_folders, FOLDERS)):
        make(top / name, top / "answers" / f"{name}.csv")
        table = read_table(form, top / name)
        test = read_test_table(form, top / name, table)
        csv = top / "answers" / f"{name}.csv"
        found[name] = table, test, read_answers(form, csv, table.labels, test.ids, data_dir=top / name)
    return found


def test_counts_are_those_of_the_size(made):
    size = WhalesSize()
    for table, test, answers in made.values():
        counts = np.bincount(table.targets[table.targets >= 0])
        assert len(counts) == len(table.labels) == size.whales + size.singletons
        assert (counts == 1).sum() == size.singletons and counts.max() == size.most_images
        assert (table.targets < 0).sum() == size.unknown_train
        assert len(test) == size.test + size.unknown_test and (answers < 0).sum() == size.unknown_test
    remarks = " | ".join(made["csv"][0].remarks)
    assert "2 labels (" in remarks and "merged into others, with 6 rows" in remarks and "left out 3 rows" in remarks
    assert made["folders"][0].remarks == ()


def test_both_layouts_show_the_same(made):
    (table, test, answers), (other, other_test, other_answers) = made["csv"], made["folders"]
    names = dict(zip(table.ids, [table.labels[target] for target in table.targets], strict=True))
    for name, target in zip(other.ids, other.targets, strict=True):
        folder, file = name.split("/")
        assert folder == (other.labels[target] if target >= 0 else "-1")
        assert target < 0 or folder == names[file]
    assert {name.split("/")[1] for name in other.ids} == set(table.ids)
    np.testing.assert_array_equal(test.ids, other_test.ids)
    np.testing.assert_array_equal(answers, other_answers)


def crops(table, width=24, height=16):
    """Return grey flukes cropped to their boxes and upright, float (N, width * height), each of mean 0 and length 1."""
    rows = []
    for path, box, turned in zip(table.paths, table.boxes, table.turned, strict=True):
        image = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
        if box[2] <= 2:
            box = box * np.tile(image.shape[::-1], 2)
        left, top, right, bottom = np.round(box).astype(int)
        assert 0 <= left < right <= image.shape[1] and 0 <= top < bottom <= image.shape[0]
        cut = image[top:bottom, left:right]
        cut = cv2.resize(cut[::-1, ::-1] if turned else cut, (width, height), interpolation=cv2.INTER_AREA)
        flat = cut.ravel().astype(float) - cut.mean()
        rows.append(flat / np.linalg.norm(flat))
    return np.stack(rows)


@pytest.mark.parametrize("layout", ["csv", "folders"])
def test_whales_are_distinguishable_within_their_boxes(made, layout):
    table, test, answers = made[layout]
    likeness = crops(test) @ crops(table).T
    likeness[:, table.targets < 0] = -1
    nearest, known = table.targets[likeness.argmax(1)], answers >= 0
    assert (nearest == answers)[known].mean() > 0.6  # one of 32
    assert likeness.max(1)[known].mean() > likeness.max(1)[~known].mean() + 0.05


def test_turned_images_are_upside_down_and_boxes_follow(made, tmp_path):
    make_whales(tmp_path / "all", tmp_path / "a.csv", seed=1, size=WhalesSize(turned=1.0))
    make_whales(tmp_path / "none", tmp_path / "b.csv", seed=1, size=WhalesSize(turned=0.0))
    turned, upright = (read_table(FORM, tmp_path / name) for name in ("all", "none"))
    assert turned.turned.all() and not upright.turned.any()
    assert (crops(turned) * crops(upright)).sum(1).min() > 0.9  # up to the blocks of JPEG


@pytest.mark.parametrize("make", [make_whales, make_whale_folders])
def test_the_seed_decides_the_content(tmp_path, make):
    def digest(name, seed):
        size = WhalesSize(whales=4, singletons=2, unknown_train=2, test=3, unknown_test=2, width=48)
        make(tmp_path / name / "data", tmp_path / name / "answers.csv", seed=seed, size=size)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return hashlib.sha256(b"".join(str(p.name).encode() + p.read_bytes() for p in files)).digest()

    assert digest("one", 1) == digest("again", 1) != digest("other", 2)
    with pytest.raises(DataError, match="exists already"):
        make(tmp_path / "one", tmp_path / "answers.csv")


def test_samples_have_the_real_columns(tmp_path):
    make_whales(tmp_path / "a", tmp_path / "a.csv")
    make_whale_folders(tmp_path / "b", tmp_path / "b.csv")
    sample = pd.read_csv(tmp_path / "a" / "sample_submission.csv")
    assert sample.columns.tolist() == ["Image", "Id"]
    assert all(len(set(cell.split())) == 5 for cell in sample["Id"])
    sample = pd.read_csv(tmp_path / "b" / "sample_submission.csv")
    assert sample.columns.tolist() == ["image", *(f"prediction{number}" for number in range(1, 21))]
    assert (tmp_path / "b" / "train" / sample["prediction20"][0]).is_file()
