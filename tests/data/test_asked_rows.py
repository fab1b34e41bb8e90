"""Without a sample submission, a table of test images or their folder defines the rows of the test set."""

import itertools
import unicodedata
from dataclasses import replace

import pandas as pd
import pytest

from imettk.config import TableFormat
from imettk.data.asked_rows import as_sample, find_row_source, read_test_rows, read_test_units
from imettk.data.submission import SubmissionForm, write_submission
from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError

FORM = TableFormat(task="multiclass", label_column="kind", image_suffix=".jpg")
NFD = unicodedata.normalize("NFD", "café")


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write(folder, **tables):
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)


@pytest.fixture
def data(tmp_path):
    """Write two training images, and nothing about a test set."""
    write(tmp_path, train="id,kind\na,x\nb,y\n")
    touch(tmp_path, "train/a.jpg", "train/b.jpg")
    return tmp_path


def ids_of(form, data):
    return read_test_rows(form, data)[form.test_id_column].tolist()


def test_the_sample_says_it_wherever_it_is(data):
    write(data, sample_submission="id,kind\nq2,x\nq1,x\n", test="id\nq9\n")
    touch(data, "test/q1.jpg", "test/q2.jpg", "test/q3.jpg")
    form = replace(FORM, test_csv="test.csv")
    assert find_row_source(form, data) == data / "sample_submission.csv" and ids_of(form, data) == ["q2", "q1"]
    test = read_test_table(form, data, read_table(form, data))
    assert test.ids.tolist() == ["q2", "q1"] and not any("is missing" in remark for remark in test.remarks)


def test_else_a_table_of_test_images_does_in_its_order(data):
    write(data, test="taken,id\n1,q2\n2,q1\n3,q2\n")
    touch(data, "test/q1.jpg", "test/q2.jpg", "test/q3.jpg")
    form = replace(FORM, test_csv="test.csv", answer_columns=("y", "x"))
    test = read_test_table(form, data, read_table(form, data))
    assert test.ids.tolist() == ["q2", "q1"]
    found = f"the test set has the 2 rows (q2, q1) of {data}/test.csv, and `infer` writes the columns id, y, x"
    assert test.remarks[0] == f"{data}/sample_submission.csv is missing: {found}"
    assert list(read_test_rows(form, data).columns) == ["id", "y", "x"]
    (data / "test.csv").unlink()
    assert find_row_source(form, data) is None, "a table that was named is not replaced by a folder"
    with pytest.raises(DataError, match=r"sample_submission\.csv is missing"):
        read_test_table(form, data, read_table(form, data))


@pytest.mark.parametrize(
    ("suffix", "files", "ids"),
    [
        (".jpg", ("q10.jpg", "q2.jpg"), ["q10", "q2"]),
        ("", ("q1.jpg", "q2.png"), ["q1.jpg", "q2.png"]),
        (".jpg", ("q1.JPG", "q2.png", "q 3*.jpg"), ["q 3*", "q1", "q2"]),
        (".jpg", ("q1.jpg", "q1.png"), ["q1"]),
        (".jpg", ("c/q2.jpg", "a/b/q1.jpg"), ["q1", "q2"]),
        (".jpg", ("c/q1.jpg", "b/q1.jpg", "b/q2.jpg"), ["b/q1", "b/q2", "c/q1"]),
        (".jpg", (f"{NFD}.jpg",), [NFD]),
        ("_rgb.png", ("q1_rgb.png", "q1_mask.png", "q2_rgb.PNG"), ["q1", "q2"]),
        ("", ("q1.jpg", "notes.csv", ".hidden.jpg", ".git/x.jpg"), ["q1.jpg"]),
    ],
)
def test_else_their_folder_does(data, suffix, files, ids):
    """Each id leads back to its image."""
    form = replace(FORM, image_suffix=suffix)
    touch(data, *(f"test/{file}" for file in files), *(f"train/{name}{suffix or '.jpg'}" for name in "ab"))
    test = read_test_table(form, data, read_table(form, data))
    assert test.ids.tolist() == ids
    images = [file for file in files if file != "q1.png" and not file.startswith((".", "notes", "q1_mask"))]
    images = images if suffix else [file for file in files if file not in ("notes.csv", ".hidden.jpg", ".git/x.jpg")]
    assert sorted(test.paths.tolist()) == sorted(str(data / "test" / file) for file in images)
    assert f"{len(ids)} row" in test.remarks[0] and f"of {data}/test, and" in test.remarks[0]


def test_channels_of_one_image_are_one_row(data):
    form = replace(FORM, image_suffix="_*.png", channel_files=("red", "green"))
    touch(data, *(f"{part}_{colour}.png" for part in ("train/a", "train/b", "test/q") for colour in ("red", "green")))
    assert read_test_table(form, data, read_table(form, data)).ids.tolist() == ["q"]


@pytest.mark.parametrize(
    "form",
    [
        replace(FORM, train_images="images", test_images="images"),
        replace(FORM, train_images="images/train", test_images="images"),
        replace(FORM, train_images="images", test_images="."),
        replace(FORM, train_images="images", test_images="./images/../images"),
        replace(FORM, test_images="none"),
        replace(FORM, test_images="empty"),
        replace(FORM, unit_columns=("patient",)),
        replace(FORM, image_columns=("left", "right")),
    ],
)
def test_nothing_says_it_else(data, form):
    touch(data, "images/a.jpg", "images/train/a.jpg", "test/a.jpg", "empty/notes.csv")
    assert find_row_source(form, data) is None


def test_training_images_beside_the_test_folder_are_no_hindrance(data):
    touch(data, "images/test/q.jpg", "images/train/a.jpg")
    assert ids_of(replace(FORM, train_images="images/train", test_images="images/test"), data) == ["q"]


def test_names_that_are_no_text_are_refused(data):
    touch(data, "test/caf\udce9.jpg")
    with pytest.raises(DataError, match=r"1 file \(caf\\udce9\.jpg\) with a name"):
        ids_of(FORM, data)


def test_units_are_those_of_the_table_or_the_folders(data):
    write(data, train="study,kind\ns0,x\ns1,y\n")
    touch(data, "train/s0/0.jpg", "train/s1/0.jpg", "test/t1/0.jpg", "test/t0/deep/0.jpg", "test/t2/notes.csv")
    form = replace(FORM, id_column="study", unit_folders=True)
    test = read_test_table(form, data, read_table(form, data))
    assert test.units.tolist() == ["t0", "t1"] and "2 units (t0, t1)" in test.remarks[0]
    write(data, test="study\nt1\nt0\n")
    assert ids_of(replace(form, test_csv="test.csv"), data) == ["t1", "t0"]
    breasts = replace(FORM, unit_columns=("patient", "side"), test_csv="test.csv")
    write(data, test="id,patient,side\n1,9,L\n2,9,R\n3,9,L\n")
    assert ids_of(breasts, data) == ["9_L", "9_R"]
    assert read_test_units(breasts, data) == {"1": "9_L", "3": "9_L", "2": "9_R"}
    write(data, test="id,patient,side,asked\n1,9,L,u\n2,9,R,v\n3,9,L,u\n")
    assert ids_of(replace(breasts, sample_id_column="asked"), data) == ["u", "v"]


def test_a_row_for_each_label_is_made_too(data):
    labels = ("one", "two")
    form = TableFormat(
        task="regression",
        label_columns=labels,
        sample_rows="{id}__{label}",
        answer_column="target",
        test_csv="test.csv",
    )
    write(data, test="id,name\nq2__one,\nq2__two,\nq1__one,\nq1__two,\n")
    asked = read_test_rows(form, data)
    assert asked["id"].tolist() == ["q2", "q1"]
    sample = as_sample(form, asked)
    assert list(sample.columns) == ["id", "target"]
    assert sample["id"].tolist() == [f"{name}__{label}" for name, label in itertools.product(("q2", "q1"), labels)]


def test_a_submission_has_its_rows_and_columns(data, tmp_path):
    touch(data, "test/q1.jpg", "test/q2.jpg")
    made = as_sample(FORM, read_test_rows(FORM, data))
    out = tmp_path / "submission.csv"
    given = {"form": SubmissionForm("id", ("kind",)), "made": made}
    write_submission(out, data / "test", ["q2", "q1"], [["x"], ["y"]], **given)
    pd.testing.assert_frame_equal(pd.read_csv(out), pd.DataFrame({"id": ["q1", "q2"], "kind": ["y", "x"]}))
    with pytest.raises(DataError, match=r"1 id \(q2\) missing"):
        write_submission(out, data / "test", ["q1"], [["x"]], **given)
