"""Pictures are files or all files of a folder, each with a name of its own; a path that leads nowhere is named."""

import re

import pytest

from imettk.commands.infer_images import _files, _names
from imettk.errors import MissingFileError


@pytest.fixture
def pictures(tmp_path):
    for name in ("one/b.png", "one/a.jpg", "one/.hidden.png", "one/deeper/c.png", "two/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "many").mkdir()
    for number in range(30):
        (tmp_path / "many" / f"{7 * number % 30:02}.png").touch()
    return tmp_path


def test_a_folder_is_its_files_in_order_without_hidden_ones_and_other_folders(pictures):
    assert _files([pictures / "one"]) == [pictures / "one" / "a.jpg", pictures / "one" / "b.png"]
    assert [path.name for path in _files([pictures / "many"])] == [f"{number:02}.png" for number in range(30)]


def test_files_keep_their_order_and_an_image_of_several_files_is_one(pictures):
    images = [pictures / "two" / "a.jpg", pictures / "one" / "b.png", pictures / "cells_*.png"]
    assert _files(images) == images


@pytest.mark.parametrize(
    ("name", "message"), [("none.png", "none.png is neither a file nor a folder"), ("empty", "no file in ")]
)
def test_a_path_that_leads_nowhere_is_named(pictures, name, message):
    with pytest.raises(MissingFileError, match=f"^--images: .*{re.escape(message)}"):
        _files([pictures / name])


def test_names_are_those_of_files_and_have_their_folders_where_two_are_the_same(pictures):
    assert _names(_files([pictures / "one"])).tolist() == ["a.jpg", "b.png"]
    both = [pictures / "one" / "a.jpg", pictures / "two" / "a.jpg"]
    assert _names(both).tolist() == [str(path) for path in both]
