"""Tables with several rows per image are recognised by ids, columns and images, and no other table is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError
from imettk.starter.guess import guess
from imettk.starter.guess_columns import Choices
from imettk.starter.look import look_into

TARGETS = ("Dry_Green_g", "Dry_g", "GDM")


def lay_out(folder: Path, train: pd.DataFrame, sample: pd.DataFrame, tables=None, *, train_images, test_images):
    """Write tables, and empty files as images, which are never decoded."""
    for name, frame in {"train": train, "sample_submission": sample, **(tables or {})}.items():
        folder.mkdir(exist_ok=True)
        frame.to_csv(folder / f"{name}.csv", index=False)
    for file in (*(f"train/{name}" for name in train_images), *(f"test/{name}" for name in test_images)):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(b"")
    return folder


def long(ids, labels, pattern="{id}__{label}", start=0.25):
    """Return a table with a row for each image and label."""
    pairs = [(name, label) for name in ids for label in labels]
    frame = pd.DataFrame({"row": [pattern.format(id=name, label=label) for name, label in pairs]})
    return frame.assign(image=[name for name, _ in pairs], part=[label for _, label in pairs], target=np.nan).assign(
        target=np.arange(len(pairs)) * 1.37 + start
    )


TRAIN, TEST = [f"ID{row}" for row in range(12)], ["ID90"]
FILES = {"train_images": [f"{name}.jpg" for name in TRAIN], "test_images": [f"{name}.jpg" for name in TEST]}


@pytest.mark.parametrize("pattern", ["{id}__{label}", "{label}-{id}", "{id}_{label}"])
def test_ids_of_an_image_and_a_target(tmp_path, pattern):
    """CSIRO has paths and states beside them, and shows a single test image."""
    train = long(TRAIN, TARGETS, pattern)
    train.insert(1, "path", "train/" + train.pop("image") + ".jpg")
    train.insert(2, "State", [f"S{row // 9}" for row in range(len(train))])
    sample = long(TEST, TARGETS[::-1], pattern)[["row", "target"]].assign(target=0.0)
    data = lay_out(tmp_path / "data", train, sample, {"test": long(TEST, TARGETS)}, **FILES)
    guessed = guess(look_into(data), data, Choices())
    form = guessed.table
    assert (form.task, form.train_rows, form.sample_rows) == ("regression", pattern, pattern)
    assert form.label_columns == TARGETS and form.label_column == "target" and not form.answer_columns
    assert (form.train_images, form.test_images, form.image_suffix) == ("train", "test", ".jpg")
    table = read_table(form, data)
    assert table.ids.tolist() == TRAIN
    np.testing.assert_allclose(table.targets, train["target"].to_numpy().reshape(12, 3), rtol=1e-6)
    assert read_test_table(form, data, table).ids.tolist() == TEST
    assert sum(finding.what == "rows" for finding in guessed.findings) >= 2


def test_a_column_that_names_the_target(tmp_path):
    train = long([f"train/{name}.jpg" for name in TRAIN], TARGETS)[["image", "part", "target"]]
    sample = long(["test/ID90.jpg", "test/ID91.jpg"], TARGETS)[["image", "part", "target"]].assign(target=0.0)
    files = FILES | {"test_images": ["ID90.jpg", "ID91.jpg"]}
    data = lay_out(tmp_path / "data", train, sample, **files)
    form = guess(look_into(data), data, Choices()).table
    assert (form.train_rows, form.sample_rows, form.id_column, form.label_column) == ("part", "part", "image", "target")
    assert form.label_columns == TARGETS and read_table(form, data).targets.shape == (12, 3)


def test_flags_in_long_rows_are_several_labels(tmp_path):
    """RSNA's competition of 2019 has rows such as `ID_12_subdural`, with 0 or 1."""
    train_ids, labels = [f"ID_{row:02d}" for row in range(12)], ("any", "subdural", "x_any")
    train = long(train_ids, labels, "{id}_{label}")[["row", "target"]]
    train["target"] = [int(row % 3 < row % 2 + 1) for row in range(len(train))]
    sample = long(["ID_90", "ID_91"], labels, "{id}_{label}")[["row", "target"]].assign(target=0.5)
    files = {"train_images": [f"{name}.png" for name in train_ids], "test_images": ["ID_90.png", "ID_91.png"]}
    data = lay_out(tmp_path / "data", train, sample, **files)
    guessed = guess(look_into(data), data, Choices())
    assert (guessed.table.task, guessed.table.train_rows, guessed.table.sample_rows) == (
        "multilabel",
        *["{id}_{label}"] * 2,
    )
    assert guessed.judging.rule is not None and guessed.judging.rule.kind == "probability"
    np.testing.assert_array_equal(read_table(guessed.table, data).targets, train["target"].to_numpy().reshape(12, 3))


def test_only_the_sample_may_have_long_rows_and_hidden_images(tmp_path):
    """Bengali has columns in the training table, whose order is kept."""
    wide = pd.DataFrame({"image_id": TRAIN, **{name: np.arange(12) * 1.5 + at for at, name in enumerate(TARGETS)}})
    sample = long(["Test_0", "Test_1"], sorted(TARGETS), "{id}_{label}")[["row", "target"]].assign(target=0)
    data = lay_out(tmp_path / "data", wide, sample, **(FILES | {"test_images": []}))
    form = guess(look_into(data), data, Choices()).table
    assert (form.train_rows, form.sample_rows, form.sample_id_column) == (None, "{id}_{label}", "row")
    assert form.label_columns == TARGETS and not form.answer_columns and form.answer_column == "target"


def test_tables_with_one_row_per_image_are_unchanged(tmp_path):
    """Names may form a grid by accident, and several readers may each give one label."""
    names = [f"{kind}_{row}" for kind in "abc" for row in range(4)]
    train = pd.DataFrame({"id": names, "target": np.arange(12) * 1.7})
    sample = pd.DataFrame({"id": [f"x_{row}" for row in range(4)], "target": 0.0})
    files = {"train_images": [f"{name}.jpg" for name in names], "test_images": []}
    data = lay_out(tmp_path / "data", train, sample, **files)
    form = guess(look_into(data), data, Choices()).table
    assert form.train_rows is None and form.sample_rows is None and form.id_column == "id"
    read = long(TRAIN, ["ann", "bob"])[["image", "part"]].assign(label=["a", "b", "b", "c"] * 6)
    (data / "sample_submission.csv").unlink()
    read.rename(columns={"part": "reader"}).to_csv(data / "train.csv", index=False)
    for name in FILES["train_images"]:
        (data / "train" / name).write_bytes(b"")
    guessed = guess(look_into(data), data, Choices(label_column="label"))
    assert guessed.table.train_rows is None and guessed.table.join_rows and guessed.table.task == "multilabel"


def test_two_columns_of_values_need_an_option(tmp_path):
    train = long(TRAIN, TARGETS)[["row", "target"]].rename(columns={"target": "first"})
    train = train.assign(second=np.arange(len(train))[::-1] / 3)
    sample = long(TEST, TARGETS)[["row", "target"]]
    data = lay_out(tmp_path / "data", train, sample, **FILES)
    with pytest.raises(DataError, match=r"train.csv: .* may be in 2 columns \(first, second\): give --label-column"):
        guess(look_into(data), data, Choices())
    form = guess(look_into(data), data, Choices(label_column="second")).table
    assert form.label_column == "second" and form.answer_column == "target"


def test_rows_of_one_image_are_joined_by_a_sign_that_no_label_contains(tmp_path):
    rows = [(name, label) for at, name in enumerate(TRAIN) for label in ("my cat", "my dog")[: 1 + at % 2]]
    train = pd.DataFrame(rows, columns=["id", "label"])
    sample = pd.DataFrame({"id": TEST, "label": "my cat"})
    data = lay_out(tmp_path / "data", train, sample, **FILES)
    guessed = guess(look_into(data), data, Choices())
    assert guessed.table.join_rows and guessed.table.label_separator == "|" and guessed.table.task == "multilabel"
    assert guessed.labels == {"my cat": 12, "my dog": 6} and len(guessed.frame) == len(guessed.files) == 12
    table = read_table(guessed.table, data)
    assert table.targets.tolist() == [[1, at % 2] for at in range(12)] and "6 ids" in table.remarks[0]
    train.assign(label=np.arange(len(train)) * 1.5).to_csv(data / "train.csv", index=False)
    with pytest.raises(DataError, match=r"6 ids .* more than once, in column id: keep one row of each, or write one"):
        guess(look_into(data), data, Choices())


def test_rows_of_one_image_with_the_same_label_are_joined(tmp_path):
    """An image may have several boxes of one species."""
    rows = [(name, "ab"[at % 2]) for at, name in enumerate(TRAIN) for _ in range(1 + at % 3)]
    sample = pd.DataFrame({"id": TEST, "label": "a"})
    data = lay_out(tmp_path / "data", pd.DataFrame(rows, columns=["id", "label"]), sample, **FILES)
    guessed = guess(look_into(data), data, Choices())
    assert guessed.table.join_rows and guessed.table.task == "multiclass" and guessed.labels == {"a": 6, "b": 6}
    assert len(guessed.frame) == len(guessed.files) == 12
    joined = next(finding for finding in guessed.findings if finding.what == "joined rows")
    assert joined.reason == "an id has several rows with the same label" and "24 rows; 12 rows add" in joined.value
    assert read_table(guessed.table, data).targets.tolist() == [at % 2 for at in range(12)]
    assert guess(look_into(data), data, Choices(question="multilabel")).table.task == "multilabel"


@pytest.mark.parametrize(
    ("ids", "asked", "more"),
    [
        ([f"{row}_{side}" for row in range(12) for side in "LR"], ["90_L", "90_R", "91_L", "91_R"], "side"),
        ([f"p{row}_{number}" for row in range(12) for number in (1, 2)], ["p90_1", "p90_2", "p91_1", "p91_2"], None),
    ],
)
def test_hidden_images_called_by_two_parts_are_images(tmp_path, ids, asked, more):
    """Eyes of patients, say: ids of both tables name images, but those of the sample are hidden."""
    train = pd.DataFrame({"id": ids, "level": [f"{1 + row % 3}" for row in range(24)]})
    if more:
        train.insert(1, more, [name[-1] for name in ids])
    sample = pd.DataFrame({"id": asked, "level": "1"})
    data = lay_out(tmp_path / "data", train, sample, train_images=[f"{name}.jpg" for name in ids], test_images=[])
    form = guess(look_into(data), data, Choices()).table
    assert form.label_column == "level" and form.sample_rows is None and not form.label_answers
