"""Masks are never taken for images, and `--images` decides where names do not."""

import pytest
from laid_folders import guess_folder, lay_out, rows

from imettk.data.table import read_table
from imettk.errors import DataError
from imettk.starter.guess import guess
from imettk.starter.guess_columns import Choices
from imettk.starter.look import look_into

NAMES = [f"p{number:02d}" for number in range(30)]
LOST = [name for name in NAMES if name != "p04"]
TABLE = rows("id,label", *NAMES)


def images(folder, names, ending=".png"):
    return [f"{folder}/{name}{ending}" for name in names]


@pytest.mark.parametrize(
    ("files", "folder", "suffix"),
    [
        ([*images("train/images", LOST), *images("train/masks", NAMES)], "train/images", ".png"),
        ([*images("pictures", LOST), *images("train_masks", NAMES)], "pictures", ".png"),
        ([*images("images", NAMES, ".jpg"), *images("annotations", NAMES)], "images", ".jpg"),
        ([*images("x/GT", NAMES), *images("x/photos", LOST, ".jpg")], "x/photos", ".jpg"),
        ([*images("small/thumbnails", NAMES), *images("small/whole", LOST)], "small/whole", ".png"),
        ([*images("all", LOST, ".jpg"), *images("all", NAMES, "_mask.png")], "all", ".jpg"),
        ([*images("masks", NAMES), *images("photos", NAMES[:3])], "masks", ".png"),
    ],
)
def test_masks_and_the_like_are_not_trained_on(tmp_path, files, folder, suffix):
    lay_out(tmp_path, files, train=TABLE)
    form = guess_folder(tmp_path).table
    assert (form.train_images, form.image_suffix) == (folder, suffix)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([*images("a", NAMES), *images("b", LOST)], "in a and b: give one of them as --images"),
        ([*images("a", NAMES), *images("a", LOST, ".jpg")], r"in 'a/\*\.png' and 'a/\*\.jpg': give one"),
    ],
)
def test_rival_images_need_an_option(tmp_path, files, message):
    lay_out(tmp_path, files, train=TABLE)
    with pytest.raises(DataError, match=f"train.csv: column id names images {message}"):
        guess_folder(tmp_path)


@pytest.mark.parametrize("folder", ["train", "a/train"])
def test_the_name_of_a_folder_for_training_decides(tmp_path, folder):
    lay_out(tmp_path, [*images(folder, NAMES), *images("a", NAMES), *images("test", NAMES)], train=TABLE)
    assert guess_folder(tmp_path).table.train_images == folder


@pytest.mark.parametrize(
    ("asked", "folder", "suffix", "there"),
    [("b", "b", ".png", 29), ("a/", "a", ".png", 30), ("b/*.png", "b", ".png", 29), ("a/*.jpg", "a", ".jpg", 29)],
)
def test_the_requested_images_are_used(tmp_path, asked, folder, suffix, there):
    lay_out(tmp_path, [*images("a", NAMES), *images("a", LOST, ".jpg"), *images("b", LOST)], train=TABLE)
    guessed = guess(look_into(tmp_path), tmp_path, Choices(images=asked))
    assert (guessed.table.train_images, guessed.table.image_suffix, int(guessed.found.sum())) == (folder, suffix, there)
    assert read_table(guessed.table, tmp_path).paths[0] == str(tmp_path / folder / f"p00{suffix}")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("c", "--images c: no such image; images lie in a, b"),
        ("b", "--images b: no table names images there in at least half"),
    ],
)
def test_missing_images_are_refused(tmp_path, asked, message):
    lay_out(tmp_path, [*images("a", NAMES), *images("b", NAMES[:3])], train=TABLE)
    with pytest.raises(DataError, match=message):
        guess(look_into(tmp_path), tmp_path, Choices(images=asked))
