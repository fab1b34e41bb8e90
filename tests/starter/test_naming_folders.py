"""Ids name folders of images, and images in folders that another column names."""

import pandas as pd
import pytest

from imettk.starter.guess_columns import TrainingRows
from imettk.starter.look import Contents
from imettk.starter.naming_folders import beside_training, name_folders, name_part, path_pattern

STUDIES = Contents(
    {}, {"train/a/x": ["1.png"], "train/a": ["0.png", "2.png"], "train/b": ["0.jpg"], "test/a": ["9.png"]}, []
)


@pytest.mark.parametrize(
    ("training", "folder", "files"), [(True, "train", ["b/0.jpg", "a/0.png", ""]), (False, "test", ["", "a/9.png", ""])]
)
def test_folders_are_named_in_the_requested_part(training, folder, files):
    naming = name_folders(pd.Series(["b", "a", "c"]), STUDIES, training=training)
    assert (naming.folder, naming.files.tolist()) == (folder, files)
    assert name_folders(pd.Series(["z"]), STUDIES, training=training) is None


def test_a_folder_further_above_is_named_too():
    contents = Contents({}, {"images/s1/series": ["0.dcm", "1.dcm"], "images/s2/series": ["0.dcm"]}, [])
    naming = name_folders(pd.Series(["s2", "s1"]), contents, training=True)
    assert (naming.folder, naming.suffix) == ("images", ".dcm")
    assert naming.files.tolist() == ["s2/series/0.dcm", "s1/series/0.dcm"]


PATIENTS = Contents(
    {}, {"train/7": ["11.png", "12.png"], "train/8": ["13.png"], "test/9": ["21.png"], "more/7": ["11.png"]}, []
)


def rows_of(frame, contents, column="image"):
    naming = name_part(frame[column], contents, training=True)
    return TrainingRows("train.csv", column, naming, "")


def test_ids_name_images_in_the_requested_part():
    frame = pd.DataFrame({"image": ["11", "12", "13", "14"]})
    naming = name_part(frame["image"], PATIENTS, training=True)
    assert (naming.folder, naming.suffix, naming.number) == ("train", ".png", 3)
    assert naming.files.tolist() == ["7/11.png", "7/12.png", "8/13.png", ""]
    assert name_part(pd.Series(["21"]), PATIENTS, training=False).files.tolist() == ["21.png"]
    assert name_part(pd.Series(["31"]), PATIENTS, training=False) is None


def test_columns_that_name_folders_are_a_pattern():
    frame = pd.DataFrame(
        {"image": ["11", "12", "13", "14"], "side": ["7", "L", "L", "L"], "patient": ["7", "7", "8", "8"]}
    )
    assert path_pattern(frame, rows_of(frame, PATIENTS)) == "{patient}/{image}"
    assert path_pattern(frame.drop(columns="patient"), rows_of(frame, PATIENTS)) is None


@pytest.mark.parametrize(
    ("images", "pattern"),
    [
        ({"train/a/1": ["x.png"], "train/b/2": ["y.png"]}, "{site}/{patient}/{image}"),
        ({"train/a/in": ["x.png"], "train/b/in": ["y.png"]}, "{site}/in/{image}"),
        ({"train/a/1": ["x.png"], "train/b/9": ["y.png"]}, None),
        ({"train/a/1": ["x.png"], "train/b": ["y.png"]}, None),
        ({"train": ["x.png", "y.png"]}, None),
    ],
)
def test_each_folder_of_a_path_is_a_column_or_constant(images, pattern):
    frame = pd.DataFrame({"image": ["x", "y"], "patient": ["1", "2"], "site": ["a", "b"]})
    assert path_pattern(frame, rows_of(frame, Contents({}, images, []))) == pattern


@pytest.mark.parametrize(
    ("folder", "training", "beside"),
    [
        ("test/0/a", "train", "test"),
        ("test", "train", "test"),
        ("data/test/9", "data/train", "data/test"),
        ("test/9", "data/train", "test/9"),
        (".", "train", "."),
        ("test/9", ".", "test"),
    ],
)
def test_the_folder_of_test_images_lies_beside_the_training_images(folder, training, beside):
    assert beside_training(folder, training) == beside


def test_ids_that_are_paths_need_no_pattern():
    frame = pd.DataFrame({"image": ["7/11", "8/13"], "patient": ["7", "8"]})
    assert path_pattern(frame, rows_of(frame, PATIENTS)) is None
