"""Folder names that are parts of the data, and those that may be labels."""

import pytest

from imettk.data.part_names import is_held_out, is_part, is_training


@pytest.mark.parametrize(
    "name",
    [
        *("train", "TRAIN", "Test", "val", "Valid", "validation", "test_images", "TestImages", "testset", "Train-Set"),
        *("test1", "images_test", "stage1_test", "val2017", "training", "hidden_test_data"),
        "9" * 400 + "test" + "_" * 400,
    ],
)
def test_parts(name):
    assert is_part(name)
    assert is_training(name) != is_held_out(f"images/{name}/more")


@pytest.mark.parametrize(
    "name",
    [
        "cat",
        "train station",
        "test_tube",
        "trainer",
        "contest",
        "invalid",
        "retrain",
        "",
        "17",
        "测试",
        "vale",
        "tests",
    ],
)
def test_names_that_may_be_labels(name):
    assert not is_part(name)
