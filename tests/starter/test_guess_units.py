"""Units are recognised by the sample's ids, by ids that name folders, or by several files per row."""

import cv2
import numpy as np
import pandas as pd
import pytest
from laid_folders import guess_with_oddities, lines_by_topic

from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError

PNG = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()


def lay_out(folder, images, **tables):
    for name in images:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    for name, frame in tables.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def read(guessed, folder):
    """Read the training and the test table as `prepare` does."""
    table = read_table(guessed.table, folder)
    return table, read_test_table(guessed.table, folder, table)


def breasts(patients, first, **more):
    rows = [
        (p, first + 10 * p + 2 * (side == "R") + view, side, view) for p in patients for side in "LR" for view in (0, 1)
    ]
    frame = pd.DataFrame(rows, columns=["patient_id", "image_id", "laterality", "view"])
    return frame.assign(view=["CC" if view else "MLO" for view in frame["view"]], **more)


def make_breasts(folder, *, nested=True, key="prediction_id"):
    train, test = breasts(range(8), 1000), breasts(range(20, 24), 5000)
    train["cancer"] = [
        int(p % 4 == 0 and side == "L") for p, side in zip(train["patient_id"], train["laterality"], strict=True)
    ]
    test[key] = test["patient_id"].astype(str) + "_" + test["laterality"]
    if key == "breast":
        train[key] = train["patient_id"].astype(str) + "_" + train["laterality"]
    sample = pd.DataFrame({key: test[key].unique()[::-1], "cancer": 0.5})
    images = [
        f"{part}_images/{f'{p}/' if nested else ''}{image}.png"
        for part, frame in (("train", train), ("test", test))
        for p, image in zip(frame["patient_id"], frame["image_id"], strict=True)
    ]
    return lay_out(folder, images, train=train, test=test, sample_submission=sample)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("key", ["prediction_id", "breast"])
def test_columns_that_form_the_samples_ids_name_units(tmp_path, nested, key):
    folder = make_breasts(tmp_path, nested=nested, key=key)
    guessed, odd = guess_with_oddities(folder)
    form = guessed.table
    assert form.unit_columns == (("breast",) if key == "breast" else ("patient_id", "laterality"))
    assert (form.id_column, form.test_csv, form.sample_id_column) == ("image_id", "test.csv", key)
    assert form.image_path == ("{patient_id}/{image_id}" if nested else None) and form.group_column == "patient_id"
    assert (
        "16 units of 2 images" in lines_by_topic(guessed)["units"]
        and f"each {key} that the sample" in lines_by_topic(guessed)["units"]
    )
    assert "8 of its 8 units have images in test_images/" in lines_by_topic(guessed)["sample submission"]
    assert not any("without" in line or "not used" in line for line in odd)
    assert guessed.num_images == 32 and guessed.test_found.all()
    table, test = read(guessed, folder)
    assert (
        len(table) == 32
        and len(set(table.units)) == 16
        and table.groups.tolist() == [u.split("_")[0] for u in table.units]
    )
    sample = pd.read_csv(folder / "sample_submission.csv")
    assert list(dict.fromkeys(test.units)) == sample[key].tolist() and len(test) == 16


def test_hidden_test_images_are_reported(tmp_path):
    folder = make_breasts(tmp_path)
    for path in sorted((folder / "test_images").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    guessed, odd = guess_with_oddities(folder)
    assert guessed.table.unit_columns and not guessed.test_found.any()
    assert any("8 rows" in line and "`prepare` will stop until the test images are there" in line for line in odd)


def make_studies(folder, inner="", column="study_id"):
    ids = [f"s{number}" for number in range(12)]
    tests = [f"q{number}" for number in range(5)]
    images = [f"train/{name}/{inner}{image}.jpg" for name in ids for image in range(3)]
    images += [f"test/{name}/{inner}{image}.jpg" for name in tests for image in range(2)]
    train = pd.DataFrame({"study_id": ids, "label": [f"{number % 3}" for number in range(12)]})
    return lay_out(folder, images, train=train, sample_submission=pd.DataFrame({column: tests, "label": 0}))


@pytest.mark.parametrize("inner", ["", "series/"])
@pytest.mark.parametrize("column", ["study_id", "StudyInstance"])
def test_ids_that_name_folders_are_units(tmp_path, inner, column):
    folder = make_studies(tmp_path, inner, column)
    guessed, odd = guess_with_oddities(folder)
    form = guessed.table
    assert form.unit_folders and (form.id_column, form.train_images, form.test_images) == ("study_id", "train", "test")
    assert form.test_id_column == column and form.image_suffix == ".jpg"
    assert lines_by_topic(guessed)["units"] == (
        "column study_id, 12 units of 3 images: 12 of 12 ids name folders in train/, for one answer per folder"
    )
    assert "5 of its 5 units have images in test/" in lines_by_topic(guessed)["sample submission"]
    assert not any("without" in line or "not used" in line for line in odd) and guessed.num_images == 36
    table, test = read(guessed, folder)
    assert (
        len(table) == 36
        and list(dict.fromkeys(test.units)) == [f"q{number}" for number in range(5)]
        and len(test) == 10
    )


@pytest.mark.parametrize("with_id", [True, False])
def test_columns_that_each_name_an_image_are_views_of_a_row(tmp_path, with_id):
    images = [f"{part}/{letter}{row}_{side}.png" for part, letter, rows in (("train", "t", 12), ("test", "q", 4))
              for row in range(rows) for side in "LR"]  # fmt: skip
    frames = [
        pd.DataFrame(
            {"id": range(first, first + rows)}
            | {name: [f"{letter}{row}_{name[0].upper()}.png" for row in range(rows)] for name in ("left", "right")}
        )
        for first, letter, rows in ((0, "t", 12), (50, "q", 4))
    ]
    column = "id" if with_id else "left"
    frames = frames if with_id else [frame.drop(columns="id") for frame in frames]
    sample = pd.DataFrame({column: frames[1][column], "label": "a"})
    train = frames[0].assign(label=["ab"[row % 2] for row in range(12)])
    folder = lay_out(tmp_path, images, train=train, test=frames[1], sample_submission=sample)
    guessed, odd = guess_with_oddities(folder)
    form = guessed.table
    assert form.image_columns == ("left", "right") and form.test_csv == "test.csv" and form.id_column == column
    assert (
        lines_by_topic(guessed)["units"]
        == "the images of a row's left and right: both name images in train/, for one answer per row"
    )
    assert "4 of its 4 units have images in test/" in lines_by_topic(guessed)["sample submission"]
    assert not any("without" in line or "not used" in line for line in odd) and guessed.num_images == 24
    table, test = read(guessed, folder)
    assert (
        len(table) == 24 and len(test) == 8 and list(dict.fromkeys(test.units)) == sample[column].astype(str).tolist()
    )
    if not with_id:
        assert not guess_with_oddities(folder, id_column="left")[0].table.has_units


def test_a_patients_images_with_an_answer_each_are_not_a_unit(tmp_path):
    """In melanoma2020 there are a test table, groups, and a row of the sample for each image."""
    train = breasts(range(8), 1000).assign(target=[row % 2 for row in range(32)])
    test = breasts(range(20, 24), 5000)
    sample = pd.DataFrame({"image_id": test["image_id"], "target": 0.5})
    images = [f"train/{image}.png" for image in train["image_id"]] + [f"test/{image}.png" for image in test["image_id"]]
    guessed, _ = guess_with_oddities(lay_out(tmp_path, images, train=train, test=test, sample_submission=sample))
    assert not guessed.table.has_units and guessed.table.group_column == "patient_id"


def test_a_list_of_class_folders_is_not_a_list_of_units(tmp_path):
    classes = pd.DataFrame({"name": ["cat", "dog"], "title": ["Cat", "Dog"]})
    images = [f"train/{name}/{number}.png" for name in ("cat", "dog") for number in range(6)]
    guessed, _ = guess_with_oddities(lay_out(tmp_path, images, classes=classes))
    assert guessed.table.train_folders and not guessed.table.has_units


def test_flags_called_like_images_of_a_test_study_are_labels(tmp_path):
    train = pd.DataFrame({"study": [f"s{row}" for row in range(12)], "C1": [row % 2 for row in range(12)]})
    train["C2"], images = [row // 2 % 2 for row in range(12)], []
    for part, names in (("train", train["study"]), ("test", ["q0", "q1"])):
        images += [f"{part}/{name}/{image}.png" for name in names for image in range(3)]
    sample = pd.DataFrame({"study": ["q0", "q1"], "C1": 0.5, "C2": 0.5})
    guessed, odd = guess_with_oddities(lay_out(tmp_path, images, train=train, sample_submission=sample))
    assert guessed.table.unit_folders and guessed.table.label_columns == ("C1", "C2")
    assert not any("names images" in line for line in odd)


@pytest.mark.parametrize("asks", [True, False])
def test_a_list_of_classes_makes_no_units_of_their_folders(tmp_path, asks):
    names = [f"class{number}" for number in range(12)]
    images = [f"train/{name}/{number}.png" for name in names for number in range(3)] + ["test/0.png"]
    tables = {"classes": pd.DataFrame({"name": names, "group": [f"g{number // 4}" for number in range(12)]})}
    if asks:
        tables["sample_submission"] = pd.DataFrame({"id": ["0"], "label": ["class0"]})
    try:
        guessed, _ = guess_with_oddities(lay_out(tmp_path, images, **tables))
    except DataError:
        return  # refused in one line
    assert not guessed.table.unit_folders and guessed.table.train_folders
