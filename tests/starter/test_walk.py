"""Pipes, broken links, names that are not UTF-8, and run folders are passed over and reported."""

import os

import pytest
from laid_folders import guess_folder, lay_text, list_oddities, mentions

from imettk.errors import DataError
from imettk.starter.look import look_into

ABC = ("train/a.jpg", "train/b.jpg", "train/c.jpg", "train/d.jpg")


def test_pipes_and_broken_links_are_passed_over_and_reported(tmp_path):
    lay_text(tmp_path, "id,label\na,owl\nb,hen\nc,owl\nd,hen\n", *ABC)
    os.mkfifo(tmp_path / "train" / "e.jpg")
    os.mkfifo(tmp_path / "more.csv")
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    assert look_into(tmp_path).num_images == 4
    assert mentions(
        list_oddities(tmp_path), "passed over 3 paths (gone, more.csv, train/e.jpg) that are neither files nor folders"
    )


def test_names_that_are_not_utf8_are_passed_over_and_reported(tmp_path):
    lay_text(tmp_path, "id,label\na,owl\nb,hen\nc,owl\nd,hen\n", *ABC)
    for name in ("caf\udce9.csv", "train/caf\udce9.jpg"):
        (tmp_path / name).touch()
    line = r"passed over 2 paths (caf\udce9.csv, train/caf\udce9.jpg) that are neither files nor folders, or"
    assert mentions(list_oddities(tmp_path), line)
    (tmp_path / "train").rename(tmp_path / "tr\udce9in")
    with pytest.raises(DataError, match="contains no image"):
        guess_folder(tmp_path)


@pytest.mark.parametrize("table", ["table.json", "folds.csv"])
def test_run_folders_are_passed_over(tmp_path, table):
    """The label_scores.csv of a run was taken for the list of label names."""
    lay_text(tmp_path, "id,label\na,owl\nb,hen\nc,owl\nd,hen\n", *ABC)
    lay_text(tmp_path / "runs" / "first", "label,score\nhen,0.5\nowl,0.6\n", "curve.png", csv="label_scores.csv")
    assert guess_folder(tmp_path).table.labels_csv == "runs/first/label_scores.csv", "a folder like any other"
    for name in ("recipe.json", table):
        (tmp_path / "runs" / "first" / name).write_text("{}")
    assert guess_folder(tmp_path).table.labels_csv is None and look_into(tmp_path).num_images == 4
    assert mentions(list_oddities(tmp_path), "passed over 1 run folder (runs/first) of imettk: keep runs outside of")
