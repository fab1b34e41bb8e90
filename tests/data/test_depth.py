"""Images of more than 8 bits: `white` scales every kind of file; files with fewer bits than declared are reported."""

import cv2
import numpy as np
import pytest
from PIL import Image
from places import SHARED

from imettk.data.file_facts import FileFacts
from imettk.data.pixel_values import ValueRange
from imettk.data.reader import ImageReader
from imettk.errors import DataError
from imettk.starter.look import look_at

DATA = SHARED / "data"
SIZE = (14, 12)


def values_below(limit, *shape):
    return np.random.default_rng(0).integers(0, limit, (*SIZE, *shape), np.uint16)


def scaled(values, white):
    return np.rint(np.minimum(values, white) * (255.0 / white)).astype(np.uint8)


def read(path, channels, white, facts=None, **settings):
    reader = ImageReader(size=SIZE, channels=channels, white=white and ValueRange(0, white), **settings)
    return reader.read(str(path), facts=facts)


def write_pnm(path, kind, white, values):
    header = f"{kind}\n# a comment\n{SIZE[1]} {SIZE[0]}\n{white}\n"
    path.write_bytes(header.encode() + values.astype(">u2").tobytes())


@pytest.mark.parametrize("white", [4095, 3000])
def test_grey_files_of_all_formats_are_scaled(tmp_path, white):
    values = values_below(4096)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    cv2.imwrite(str(tmp_path / "a.tif"), values)
    Image.fromarray(values).save(tmp_path / "a.jp2", irreversible=False)
    write_pnm(tmp_path / "a.pgm", "P5", 65535, values)
    write_pnm(tmp_path / "b.pgm", "P5", 4095, values)  # Pillow stretches its values to 16 bits
    for path in sorted(tmp_path.iterdir()):
        facts = FileFacts()
        for channels in (1, 3):
            expected = np.repeat(scaled(values, white)[:, :, None], channels, 2)
            np.testing.assert_array_equal(read(path, channels, white, facts), expected, err_msg=path.name)
        assert (facts.images, facts.brightest) == (1, values.max()), path.name
        assert facts.share == pytest.approx(values.max() / white)


def test_colours_are_scaled_where_pillow_keeps_8_bits_of_them(tmp_path):
    values = values_below(4096, 3)
    cv2.imwrite(str(tmp_path / "a.png"), values[:, :, ::-1])
    cv2.imwrite(str(tmp_path / "a.tif"), values[:, :, ::-1])
    write_pnm(tmp_path / "a.ppm", "P6", 4095, values)
    for path in sorted(tmp_path.iterdir()):
        facts = FileFacts()
        np.testing.assert_array_equal(read(path, 3, 4095, facts), scaled(values, 4095), err_msg=path.name)
        assert (facts.images, facts.brightest) == (1, values.max()), path.name
        looks = look_at([[str(path)]])
        declared = None if path.suffix == ".ppm" else 4095  # the file itself says that 4095 is white
        assert looks.insides.white == declared and (
            declared is None or "pixel of 1 image " in looks.insides.findings[0].reason
        )


def test_alpha_is_not_scaled(tmp_path):
    values = values_below(4096, 4)
    values[:, :, 3] = np.where(values[:, :, 3] < 2048, 0, 65535)
    cv2.imwrite(str(tmp_path / "a.png"), values[:, :, [2, 1, 0, 3]])
    visible = values[:, :, 3:] > 0
    expected = np.where(visible, scaled(values[:, :, :3], 4095), 9)
    np.testing.assert_array_equal(read(tmp_path / "a.png", 3, 4095, background=(9,)), expected)
    expected = np.concatenate([scaled(values[:, :, :3], 4095), np.where(visible, 255, 0)], axis=2)
    np.testing.assert_array_equal(read(tmp_path / "a.png", 4, 4095), expected)


def test_a_deep_image_is_turned_as_exif_says(tmp_path):
    for shape in ((), (3,)):
        values = values_below(4096, *shape)
        cv2.imwrite(str(tmp_path / "plain.png"), values if not shape else values[:, :, ::-1])
        content = (tmp_path / "plain.png").read_bytes()
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("L", (1, 1)).save(tmp_path / "exif.png", exif=exif)
        tag = (tmp_path / "exif.png").read_bytes()
        start = tag.index(b"eXIf") - 4
        chunk = tag[start : start + 12 + int.from_bytes(tag[start : start + 4], "big")]
        (tmp_path / "turned.png").write_bytes(content[:33] + chunk + content[33:])
        reader = ImageReader(size=SIZE[::-1], channels=3, white=ValueRange(0, 4095))
        expected = np.rot90(scaled(values, 4095).reshape(*SIZE, -1), -1)
        np.testing.assert_array_equal(reader.read(str(tmp_path / "turned.png")), np.broadcast_to(expected, (12, 14, 3)))


@pytest.mark.skipif(not (DATA / "odd_images").is_dir(), reason="needs ../shared/data/odd_images")
def test_a_tiff_of_12_bits_says_so_itself_unless_white_is_given():
    path = str(DATA / "odd_images" / "pillow" / "12bit.cropped.tif")
    stored = cv2.imread(path, cv2.IMREAD_UNCHANGED) >> 4  # OpenCV shifts its 12 bits up
    plain = ImageReader(size=stored.shape, channels=1)
    facts = FileFacts()
    np.testing.assert_array_equal(plain.read(path, facts=facts)[:, :, 0], stored >> 4)
    assert (facts.brightest, facts.share) == (stored.max(), pytest.approx(stored.max() / 4095))
    bright = ImageReader(size=stored.shape, channels=1, white=ValueRange(0, 2000))
    np.testing.assert_array_equal(bright.read(path)[:, :, 0], scaled(stored, 2000))


def test_floats_need_white(tmp_path):
    values = np.random.default_rng(0).random(SIZE, np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"its values are floats, so its white value is unknown: set `images.white`"):
        read(tmp_path / "a.tif", 1, None)
    np.testing.assert_array_equal(read(tmp_path / "a.tif", 1, 1)[:, :, 0], scaled(values, 1))
    for bad in (np.nan, np.inf, -np.inf):
        values[3, 4] = bad
        Image.fromarray(values).save(tmp_path / "a.tif")
        np.save(tmp_path / "a.npy", values)
        for name in ("a.tif", "a.npy"):
            with pytest.raises(DataError, match=rf"{name} .*values that are NaN or infinite"):
                read(tmp_path / name, 1, 1)


@pytest.mark.parametrize("white", [1e-6, 0.3, 1, 2.5, 255.0001, 4095, 65535.5, 2**31, 1e30])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "u4", "f4"])
def test_values_beyond_black_and_white_are_cut_in_every_file(tmp_path, dtype, white):
    """One row of values lies below black, one within the range, and one above white."""
    tifffile = pytest.importorskip("tifffile")
    kind = np.dtype(dtype)
    most, least = (3e38, -3e38) if kind.kind == "f" else (np.iinfo(kind).max, np.iinfo(kind).min)
    levels = [most, most / 2, white * 1.01, white, white / 3, 0, -white / 3, -(2**31), least / 2, least]
    held = np.array([min(max(level, least), most) for level in levels], np.float64)
    values = np.resize(held if kind.kind == "f" else np.floor(held), SIZE).astype(kind)
    expected = np.clip(values.astype(np.float64) * (255 / white), 0, 255)
    tifffile.imwrite(tmp_path / "a.tif", values)
    np.save(tmp_path / "a.npy", values)
    if dtype in ("u1", "u2"):
        cv2.imwrite(str(tmp_path / "a.png"), values)
    for path in sorted(tmp_path.iterdir()):
        if dtype != "u1" or white <= 255:
            assert np.abs(read(path, 1, white)[:, :, 0] - expected).max() <= 0.51, path.name


def test_images_of_8_bits_are_as_they_were(tmp_path):
    pixels = values_below(256, 3).astype(np.uint8)
    for name in ("a.png", "a.jpg", "a.tif", "a.bmp", "a.ppm", "a.webp"):
        Image.fromarray(pixels).save(tmp_path / name)
        facts = FileFacts()
        np.testing.assert_array_equal(read(tmp_path / name, 3, 4095, facts), read(tmp_path / name, 3, None))
        assert facts == FileFacts(), name


def test_images_of_8_bits_are_scaled_where_white_is_among_their_values(tmp_path):
    """Masks of 0 and 1, or dark pictures, are scaled; a white above 255, for 16-bit files, leaves them unchanged."""
    dark = np.random.default_rng(0).integers(0, 30, (*SIZE, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), dark[:, :, ::-1])
    cv2.imwrite(str(tmp_path / "a.bmp"), dark[:, :, ::-1])
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(read(path, 3, 20), scaled(dark, 20), err_msg=path.name)
        np.testing.assert_array_equal(read(path, 3, 4095), dark, err_msg=path.name)
