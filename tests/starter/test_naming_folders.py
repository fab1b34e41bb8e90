"""Ids name folders of images, and images in folders that another column names."""

import pandas as pd
import pytest

from imettk.starter.guess_columns import TrainingRows
from imettk.starter.look import Contents
from imettk.starter.naming_folders import folder_candidates, folder_column_of, name_below, name_folders

STUDIES = Contents(
    {}, {"train/a/x": ["1.png"], "train/a": ["0.png", "2.png"], "train/b": ["0.jpg"], "test/a": ["9.png"]}, []
)


@pytest.mark.parametrize(
    ("training", "folder", "files"), [(True, "train", ["b/0.jpg", "a/0.png", ""]), (False, "test", ["", "a/9.png", ""])]
)
def test_folders_are_named_from_the_part_that_is_asked_for(training, folder, files):
    naming = name_folders(pd.Series(["b", "a", "c"]), STUDIES, training=training)
    assert (naming.folder, naming.files.tolist()) == (folder, files)
    assert name_folders(pd.Series(["z"]), STUDIES, training=training) is None


def test_a_folder_further_above_is_named_too():
    contents = Contents({}, {"images/s1/series": ["0.dcm", "1.dcm"], "images/s2/series": ["0.dcm"]}, [])
    naming = name_folders(pd.Series(["s2", "s1"]), contents, training=True)
    assert (naming.folder, naming.suffix) == ("images", ".dcm")
    assert naming.files.tolist() == ["s2/series/0.dcm", "s1/series/0.dcm"]


def test_ids_and_a_column_of_folders_name_images():
    contents = Contents(
        {}, {"train/7": ["11.png", "12.png"], "train/8": ["13.png"], "test/9": ["21.png"], "more/7": ["11.png"]}, []
    )
    frame = pd.DataFrame(
        {"image": ["11", "12", "13", "14"], "side": ["7", "L", "L", "L"], "patient": ["7", "7", "8", "8"]}
    )
    assert folder_candidates(frame, "image", contents) == ["patient"]
    naming = name_below(frame, "image", "patient", contents, training=True)
    assert (naming.folder, naming.suffix) == ("train", ".png")
    assert naming.files.tolist() == ["7/11.png", "7/12.png", "8/13.png", ""]
    assert folder_column_of(frame, TrainingRows("train.csv", "image", naming, "")) == "patient"
    test = pd.DataFrame({"image": ["21"], "patient": ["9"]})
    assert name_below(test, "image", "patient", contents, training=False).files.tolist() == ["9/21.png"]


def test_images_in_one_folder_have_no_column_of_folders():
    contents = Contents({}, {"train": ["11.png", "12.png"]}, [])
    frame = pd.DataFrame({"image": ["11", "12"], "patient": ["7", "7"]})
    naming = name_below(frame, "image", None, contents, training=True)
    assert naming.files.tolist() == ["11.png", "12.png"]
    assert folder_column_of(frame, TrainingRows("train.csv", "image", naming, "")) is None
    assert name_below(frame, "patient", "image", contents, training=True) is None
