"""Arrays of many images, their names, and the folder that names share."""

import pytest

from imettk.data.stacks import ID_NAME, is_stack, places_of, shared_folder


@pytest.mark.parametrize(
    ("shape", "beside", "answer"),
    [
        ((6, 20, 20), 1, True),
        ((6, 20, 20, 3), 2, True),
        ((3, 20, 20), 1, True),  # whatever is alone holds all images
        ((20, 20, 3), 1, True),
        ((20, 20, 3), 2, False),
        ((3, 20, 20), 2, False),
        ((20, 20), 1, False),
        ((784,), 1, False),
        ((6, 20, 20), 9, False),  # volumes: each is an image
    ],
)
def test_stacks_have_one_axis_more_than_images(shape, beside, answer):
    assert is_stack(shape, beside) is answer


def test_images_are_called_by_ids_that_differ_else_by_their_position():
    assert places_of(2, [[b"b", b"b"], ["b", b"a"]]) == {"b": 0, "a": 1}
    assert places_of(2, [[5, 7]]) == {"5": 0, "7": 1}
    assert places_of(2, [[b"a", b"b", b"c"]]) == {"0": 0, "1": 1}


@pytest.mark.parametrize(
    ("folders", "shared"),
    [
        (["images/train/", "images/train/"], "images/train/"),
        (["images/train/", "images/test/"], "images/"),
        (["images/", ""], ""),
        (["im/", "images/"], ""),
        ([], ""),
    ],
)
def test_shared_folders(folders, shared):
    assert shared_folder(folders) == shared


def test_names_of_ids():
    assert all(map(ID_NAME.fullmatch, ["ids", "image_id", "imageIds", "names", "filenames", "key"]))
    assert not any(map(ID_NAME.fullmatch, ["label", "patient_id", "y", "width"]))
