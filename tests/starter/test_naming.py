"""Ids are matched with files of a folder, as `prepare` finds them."""

import pandas as pd

from imettk.starter.look import Contents
from imettk.starter.naming import find_files, match_names

NFC, NFD = "caf\u00e9", "cafe\u0301"


def match(ids, **images):
    return match_names(pd.Series(ids, dtype=str), Contents({}, images, []))


def test_the_folder_for_most_ids_comes_first_with_what_most_have_behind_them():
    found = match(["a", "b", "c.jpg", "d"], some=["a.jpg"], most=["a.jpg", "b.JPG", "c.png", "x.jpg"], none=["y.jpg"])
    assert [naming.folder for naming in found] == ["most", "some"]
    assert found[0].files.tolist() == ["a.jpg", "b.JPG", "c.png", ""] and found[0].suffix == ".jpg"
    assert found[0].share == 0.75 and found[1].found.tolist() == [True, False, False, False]


def test_ids_with_another_ending_alone_name_images_all_the_same():
    assert match(["a.png", "b.png"], train=["a.jpg", "b.jpg"])[0].files.tolist() == ["a.jpg", "b.jpg"]
    assert match([NFC], train=[f"{NFD}.jpg"])[0].files.tolist() == [f"{NFD}.jpg"]
    assert match(["1.2.8"], train=["1.2.png"]) == []


def test_what_may_be_several_files_is_none():
    assert find_files(pd.Series(["a", "b"]), ["a.jpg", "a.png", "b.png"], ".bmp", ()).tolist() == ["", "b.png"]


def test_a_file_for_each_channel():
    files = [f"{name}_{channel}.png" for name in ("a", "b") for channel in ("red", "green")]
    naming = match(["a", "b", "c"], train=files)[0]
    assert (naming.suffix, naming.channels) == ("_*.png", ("red", "green"))
    assert naming.files.tolist() == ["a_*.png", "b_*.png", ""]
    assert naming.is_same("train", naming.files) and not naming.is_same("test", naming.files)


def test_channel_files_in_another_form_are_called_as_they_are():
    files = [f"{NFD}_{channel}.png" for channel in ("red", "green")]
    assert match([NFC], train=files)[0].files.tolist() == [f"{NFD}_*.png"]
