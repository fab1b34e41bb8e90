"""Arrays of many images, their names, and their common folder."""

import pytest

from imettk.data.stacks import ID_NAME, find_stacks, name_any, name_arrays, places_of, shared_folder


@pytest.mark.parametrize(
    ("shapes", "stacks"),
    [
        ({"all": (6, 20, 20)}, ["all"]),
        ({"all": (6, 20, 20, 3), "ids": (6,)}, ["all"]),
        ({"all": (3, 20, 20)}, ["all"]),  # an array alone holds all images
        ({"a": (20, 20)}, []),
        ({"a": (20, 20, 1)}, []),
        ({"a": (20, 20, 3)}, []),
        ({"a": (20, 20, 4), "b": (20,)}, []),
        ({"a": (9, 20, 20, 3)}, ["a"]),
        ({"a": (784,)}, []),
        ({"x": (6, 20, 20), "y": (6,), "x_test": (2, 20, 20)}, ["x", "x_test"]),
        ({"train/x": (6, 20, 20), "train/y": (6,), "test/x": (2, 20, 20)}, ["train/x", "test/x"]),
        ({"a": (6, 20, 20), "b": (6, 20, 20), "c": (5, 20, 20)}, []),  # volumes
        ({"a": (6, 20, 20), "b": (6, 20, 20), "labels": (2,)}, []),
        ({f"v{number}": (6, 20, 20, 2) for number in range(99)}, []),
    ],
)
def test_an_array_holds_many_images_alone_or_beside_a_list_of_its_length(shapes, stacks):
    assert find_stacks(shapes) == stacks


def test_wanted_names():
    assert name_any({"b", "q"}, ["a", "b"]) and not name_any({"0", "1"}, ["images"]) and not name_any((), [""])


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a", "b"], ["a", "b"]),
        (["x/a", "x/b"], ["a", "b"]),
        (["x/a", "y/b"], ["x/a", "y/b"]),
        (["x/a/image", "x/b/image"], ["a", "b"]),
        (["image", "b/image"], ["image", "b/image"]),
        (["a"], ["a"]),
        (["x/a"], ["x/a", "a", "x"]),
    ],
)
def test_names_of_arrays(paths, names):
    assert list(name_arrays(paths)) == names and set(name_arrays(paths).values()) == set(paths)


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
