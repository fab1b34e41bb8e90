"""Ids are matched with files of a folder, as `prepare` finds them."""

import pandas as pd
import pytest

from imettk.starter import naming as naming_module
from imettk.starter.look import Contents
from imettk.starter.naming import find_files, match_names

NFC, NFD = "caf\u00e9", "cafe\u0301"


def match(ids, **images):
    return match_names(pd.Series(ids, dtype=str), Contents({}, images, []))


def test_the_folder_and_suffix_of_most_ids_come_first():
    found = match(["a", "b", "c.jpg", "d"], some=["a.jpg"], most=["a.jpg", "b.JPG", "c.png", "x.jpg"], none=["y.jpg"])
    assert [naming.folder for naming in found] == ["most", "some"]
    assert found[0].files.tolist() == ["a.jpg", "b.JPG", "c.png", ""] and found[0].suffix == ".jpg"
    assert found[0].share == 0.75 and found[1].found.tolist() == [True, False, False, False]


def test_ids_with_another_ending_alone_name_images_all_the_same():
    assert match(["a.png", "b.png"], train=["a.jpg", "b.jpg"])[0].files.tolist() == ["a.jpg", "b.jpg"]
    assert match([NFC], train=[f"{NFD}.jpg"])[0].files.tolist() == [f"{NFD}.jpg"]
    assert match(["1.2.8"], train=["1.2.png"]) == []


def test_an_ambiguous_id_has_no_file():
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


def test_files_below_a_folder_are_found_by_their_names():
    images = {"train/a": ["ab.jpg", "ac.JPG"], "train/b/c": [f"{NFD}.jpg", "x.jpg"], "test/q": ["q.jpg"]}
    naming = match(["ab", "ac", NFC, "none"], **images)[0]
    assert (naming.folder, naming.suffix, naming.number, naming.direct) == ("train", ".jpg", 4, 0.0)
    assert naming.files.tolist() == ["a/ab.jpg", "a/ac.JPG", f"b/c/{NFD}.jpg", ""]


def test_a_name_in_two_folders_is_ambiguous_in_their_parent():
    found = match(["1", "2", "3"], **{"train/a": ["1.jpg", "2.jpg"], "train/b": ["1.jpg", "3.jpg"]})
    assert {naming.folder: naming.files.tolist() for naming in found}["train"] == ["", "a/2.jpg", "b/3.jpg"]


def test_ids_complete_in_one_folder_are_not_searched_further_up():
    found = match(["a", "b"], **{"train": ["a.jpg", "b.jpg"], "test": ["a.jpg", "c.jpg"]})
    assert [naming.folder for naming in found] == ["train", "test"] and found[0].direct == 1.0


def test_a_few_files_are_found_below_the_main_folder_but_not_beside_it():
    names = [str(number) for number in range(40)]
    naming = match(names, **{"train": [f"{name}.jpg" for name in names[1:]], "train/more": ["0.jpg"]})[0]
    assert naming.folder == "train" and naming.files.tolist()[:2] == ["more/0.jpg", "1.jpg"]
    naming = match(names, **{"train": [f"{name}.jpg" for name in names[1:]], "train/masks": ["0.jpg", "1.jpg"]})[0]
    assert naming.folder == "train" and not naming.found[0], "that folder holds something else of each image"
    naming = match(names, **{"train": [f"{name}.jpg" for name in names[1:]], "more": ["0.jpg"]})[0]
    assert naming.folder == "train" and not naming.found[0], "one that lies elsewhere is another's, or lost"


def test_channels_lie_below_too():
    images = {f"train/{name}": [f"{name}1_{colour}.png" for colour in ("red", "green")] for name in "abc"}
    naming = match(["a1", "b1", "c1"], **images)[0]
    assert naming.folder == "train" and naming.channels == ("red", "green")
    assert naming.files.tolist() == [f"{name}/{name}1_*.png" for name in "abc"]


@pytest.mark.parametrize(
    "way", ["/kaggle/input/x/train/", "C:\\data\\train\\", "../input/x/train/", "./train/", "train/", "x/train/"]
)
def test_paths_of_another_machine_name_images_by_their_end(way):
    naming = match([f"{way}a.jpg", f"{way}b.jpg"], train=["a.jpg", "b.jpg"], test=["c.jpg"])[0]
    assert [f"{naming.folder}/{file}".removeprefix("./") for file in naming.files] == ["train/a.jpg", "train/b.jpg"]


def test_folders_of_a_few_ids_are_not_searched_for_all(monkeypatch):
    """With thousands of folders that took hours; the result still equals a search in every folder."""
    ids = [f"{folder:02x}{number}" for folder in range(200) for number in range(3)]
    images = {f"train/{folder:02x}": [f"{folder:02x}{number}.jpg" for number in range(3)] for folder in range(200)}
    searched = []

    def count(names, *others):
        searched.append(len(names))
        return find_files(names, *others)

    monkeypatch.setattr(naming_module, "find_files", count)
    naming = match(ids, **images)[0]
    below = Contents({}, images, []).below("train")
    assert naming.files.tolist() == find_files(pd.Series(ids), below, ".jpg", ()).tolist()
    assert (naming.folder, naming.share) == ("train", 1.0) and sum(searched) < 4 * len(ids)
    searched.clear()
    paths = [f"{folder}/{name}" for folder, names in images.items() for name in names]
    assert match(paths, **images)[0].share == 1.0 and sum(searched) < 4 * len(ids)
