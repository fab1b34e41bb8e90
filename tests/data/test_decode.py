"""Pixels equal Pillow's; files that are not whole images are named."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from imettk.data.decode import decode_image, find_fault
from imettk.errors import DataError

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def photos(count):
    folder = DATA / "clothing" / "images"
    if not folder.is_dir():
        pytest.skip("shared/data/clothing is not here")
    return sorted(folder.glob("*.jpg"))[:count]


def odd_images():
    if not (DATA / "odd_images").is_dir():
        pytest.skip("shared/data/odd_images is not here")
    return DATA / "odd_images"


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def as_pillow(path, mode="RGB"):
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert(mode))


@pytest.mark.parametrize(("channels", "shape"), [(1, (20, 30)), (3, (20, 30, 3))])
def test_png_is_exact(tmp_path, channels, shape):
    path, pixels = tmp_path / "ä b.png", noise(*shape)
    Image.fromarray(pixels).save(path)
    decoded = decode_image(str(path), channels=channels, image_size=(20, 30))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels.reshape(20, 30, channels))


def test_grey_png_as_rgb_repeats_its_channel(tmp_path):
    Image.fromarray(noise(9, 8)).save(tmp_path / "a.png")
    decoded = decode_image(str(tmp_path / "a.png"), channels=3, image_size=(9, 8))
    np.testing.assert_array_equal(decoded, np.repeat(noise(9, 8)[:, :, None], 3, 2))


def test_shrinking_is_the_mean_of_the_pixels_that_fall_together(tmp_path):
    pixels = noise(32, 48, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    decoded = decode_image(str(tmp_path / "a.png"), channels=3, image_size=(8, 16))
    means = pixels.reshape(8, 4, 16, 3, 3).mean((1, 3))
    assert np.abs(decoded - means).max() <= 0.51


def test_enlarging_is_bilinear(tmp_path):
    pixels = noise(8, 10)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    decoded = decode_image(str(tmp_path / "a.png"), channels=1, image_size=(16, 30))
    theirs = np.asarray(Image.fromarray(pixels).resize((30, 16), Image.Resampling.BILINEAR), np.int64)
    assert np.abs(decoded[:, :, 0] - theirs).max() <= 2


def test_real_jpegs_are_close_to_pillow():
    for path in photos(4):
        for channels, mode in ((3, "RGB"), (1, "L")):
            theirs = as_pillow(path, mode)
            decoded = decode_image(str(path), channels=channels, image_size=theirs.shape[:2])
            difference = np.abs(decoded - theirs.reshape(decoded.shape).astype(np.int64))
            assert difference.mean() < 1.0, path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    pixels = np.kron(noise(4, 6, 3), np.ones((16, 16, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels).save(path, quality=95, exif=exif)
    theirs = as_pillow(path)
    assert theirs.shape[:2] == ((64, 96) if orientation < 5 else (96, 64))
    decoded = decode_image(str(path), channels=3, image_size=theirs.shape[:2])
    assert np.abs(decoded - theirs.astype(np.int64)).mean() < 1.0


@pytest.mark.parametrize(
    ("content", "message"), [(b"", r"\(0 bytes\)"), (b"no image", r"\(8 bytes\)"), (None, "No such file")]
)
def test_unreadable_files_are_named(tmp_path, content, message):
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{path}.*{message}"):
        decode_image(str(path), channels=3, image_size=(8, 8))
    assert find_fault(str(path))


@pytest.mark.parametrize("name", ["pillow/bmp_b_reallybig.bmp", "sharp/65536-uint32-limit.png"])
def test_an_absurd_size_is_an_error_that_names_the_file(name):
    path = DATA / "odd_images" / name
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    with pytest.raises(DataError, match=path.name):
        decode_image(str(path), channels=3, image_size=(8, 8))


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_cut_photo_has_a_fault_and_a_whole_one_has_none(tmp_path, share):
    cut = tmp_path / "cut.jpg"
    for path in photos(3):
        content = path.read_bytes()
        cut.write_bytes(content[: int(len(content) * share)])
        assert "truncated" in find_fault(str(cut))
        assert find_fault(str(path)) is None


@pytest.mark.parametrize(
    "name",
    ["libvips/truncated.gif", "sharp/truncated.png", "sharp/corrupt-header.jpg", "pillow/ultrahdr.jpg"],
)
def test_real_truncated_files_have_a_fault(name):
    fault = find_fault(str(odd_images() / name))
    assert fault is not None and "truncated" in fault.lower()


def test_faults_of_real_odd_images_are_those_that_were_recorded():
    folder = odd_images()
    rows = pd.read_csv(folder / "expected.csv", keep_default_na=False)
    rows = rows[~rows["exif_orientation"].str.startswith("ERR")]  # a first read failed there, and a second one did not
    whole = (rows["pil_open"] == "") & (rows["pil_rgb"] == "ok")
    assert 70 < whole.sum() < len(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of some and reads them
        faults = [find_fault(str(folder / name)) for name in rows["file"]]
    assert [name for name, ok, fault in zip(rows["file"], whole, faults, strict=True) if ok != (fault is None)] == []
