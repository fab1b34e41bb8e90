"""Folders of images that are labels."""

import pytest
from laid_folders import guess_folder, lay_text

from imettk.data.table import read_table
from imettk.errors import DataError


def test_folders_as_labels(tmp_path):
    images = [
        f"{kind}/{label}/{number}.jpg" for kind in ("train", "val") for label in ("owl", "hen") for number in "12"
    ]
    lay_text(tmp_path, "", *images, csv="readme.txt")
    guessed = guess_folder(tmp_path)
    assert (
        guessed.table.train_folders and guessed.table.train_images == "train" and guessed.question.name == "multiclass"
    )
    assert read_table(guessed.table, tmp_path).labels == ("hen", "owl")
    (tmp_path / "train").rename(tmp_path / "first")
    with pytest.raises(DataError, match="may be the folders of first or val: give one of them as --train-csv"):
        guess_folder(tmp_path)
    assert guess_folder(tmp_path, train_csv="val").table.train_images == "val"
    with pytest.raises(DataError, match="No table has a column"):
        guess_folder(tmp_path, question="multilabel")
