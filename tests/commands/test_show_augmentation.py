"""The picture of an augmentation shows originals beside what training sees."""

from __future__ import annotations

import numpy as np
from PIL import Image
from tiny import TINY, refused, run


def test_the_picture_of_an_augmentation_has_originals_first(own_data, tmp_path, capsys):
    common = ["prepare", "digits", "--data", own_data, "--run-dir", tmp_path / "run", *TINY, "--show-augmentation"]
    run(*common, "flips", "affine")
    path = tmp_path / "run" / "augmentation.png"
    assert str(path) in capsys.readouterr().out
    assert {item.name for item in (tmp_path / "run").iterdir()} == {"augmentation.png"}
    page = np.asarray(Image.open(path))
    assert page.shape[1] >= 17 * 32 and page.shape[0] >= 6 * 32
    with Image.open(own_data / "train" / "s00000.png") as first:
        np.testing.assert_array_equal(page[18 : 18 + 32, 2 : 2 + 32, 0], np.asarray(first))
    assert "one of none, flips" in refused(capsys, *common, "nothing")
    run(*common)
    assert "8 draws of affine" in capsys.readouterr().out, "without names the recipe's own"
    run(*common, "--stages.0.augmentation", "none", "--stages.0.transforms", "Rotate((90, 90), p=1)", "InvertImg(p=1)")
    assert "8 draws of none and stages.0.transforms" in capsys.readouterr().out
    page = np.asarray(Image.open(path))[18 : 18 + 32, :, 0]
    np.testing.assert_array_equal(page[:, 46 : 46 + 32], 255 - np.rot90(page[:, 2 : 2 + 32]))


def test_the_picture_passes_over_bad_images_where_the_recipe_skips_them(own_data, tmp_path, capsys):
    (own_data / "train" / "s00000.png").write_bytes(b"")
    common = ["prepare", "digits", "--data", own_data, "--run-dir", tmp_path / "run", *TINY, "--show-augmentation"]
    assert "s00000.png (0 bytes)" in refused(capsys, *common)
    run(*common, "--images.on-bad-image", "skip")
    text = capsys.readouterr().out
    assert "note: skipped" in text and "5 images and 8 draws" in text
    for path in own_data.glob("train/*.png"):
        path.write_bytes(b"")
    assert "none of the images" in refused(capsys, *common, "--images.on-bad-image", "skip")
