"""Bad and odd files end as the right pixels or as a named error, whichever decoder reads them."""

import warnings

import cv2
import numpy as np
import pandas as pd
import pytest
from image_samples import RARITIES, noise, odd_images, over, photos, read, smooth
from PIL import Image

from imettk.data import decode
from imettk.data.decode import find_fault, read_content
from imettk.data.header import read_header
from imettk.errors import DataError


@pytest.mark.parametrize(
    ("content", "message"), [(b"", r"\(0 bytes\)"), (b"no image", r"\(8 bytes\)"), (None, "No such file")]
)
def test_unreadable_files_are_named(tmp_path, content, message):
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
        assert find_fault(content)
    with pytest.raises(DataError, match=rf"{path}.*{message}"):
        read(path, size=(8, 8))


def test_an_image_above_the_limit_of_pixels_is_refused_before_it_is_decoded(tmp_path):
    for name in ("a.png", "a.jpg", "a.webp", "a.bmp"):
        Image.fromarray(noise(20, 30, 3)).save(tmp_path / name)
        with pytest.raises(DataError, match=r"30 x 20 pixels, more than the limit of 599"):
            read(tmp_path / name, max_pixels=599)
        assert read(tmp_path / name, max_pixels=600).shape == (20, 30, 3)


def test_a_limit_above_that_of_pillow_is_told_apart(tmp_path, monkeypatch):
    Image.fromarray(noise(20, 30, 4)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 299)  # it refuses twice as many
    with pytest.raises(DataError, match=f"more than {decode.MAX_PIXELS} pixels, Pillow's limit"):
        read(tmp_path / "a.png", size=(8, 8), max_pixels=decode.MAX_PIXELS + 1)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_cut_file_is_named_whatever_its_format(tmp_path, kind, share):
    """OpenCV returns pixels for many of these."""
    whole = tmp_path / "whole"
    options = {"progressive": True} if kind == "progressive" else {}
    Image.fromarray(smooth(120, 160)).save(whole, "JPEG" if kind == "progressive" else kind, **options)
    content = whole.read_bytes()
    assert read(whole).shape == (120, 160, 3)
    cut = tmp_path / "cut"
    cut.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=f"{cut}"):
        read(cut, size=(120, 160))


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_cut_photo_has_a_fault_and_a_whole_one_has_none(tmp_path, share):
    cut = tmp_path / "cut.jpg"
    for path in photos(3):
        content = path.read_bytes()
        cut.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(DataError, match="truncated"):
            read(cut, size=(32, 32))
        assert find_fault(content) is None


def test_a_marker_that_breaks_into_a_jpeg_is_noticed_where_opencv_makes_up_the_rest(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(120, 160)).save(path, quality=90)
    content = path.read_bytes()
    assert read_header(content).whole
    path.write_bytes(content[:2000] + b"\xff\x02" + content[2002:])
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None and find_fault(path.read_bytes()), "OpenCV reads it, and Pillow does not"
    with pytest.raises(DataError, match="broken data stream"):
        read(path, size=(32, 32))


def test_what_follows_a_whole_jpeg_is_no_fault(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(64, 64)).save(path)
    pixels = read(path)
    for tail in (b"\0" * 10, b"\0" * 5000, b"maker's notes" * 100):
        (tmp_path / "b.jpg").write_bytes(path.read_bytes() + tail)
        np.testing.assert_array_equal(read(tmp_path / "b.jpg"), pixels)


@RARITIES
def test_all_odd_images_end_as_the_right_pixels_or_as_a_named_error():
    """`expected.csv` lists the files that Pillow reads; of those, only floats without a white value are refused."""
    folder = odd_images()
    rows = pd.read_csv(folder / "expected.csv", keep_default_na=False)
    assert len(rows) == 94
    unreadable = (rows["pil_open"] != "") | (rows["pil_rgb"] != "ok")
    # A first read failed there and a second one did not; a text chunk that is too long hides a whole image.
    unreadable |= rows["file"].isin(["pillow/broken_data_stream.png", "pillow/truncated_end_chunk.png"])
    unreadable &= rows["file"] != "pillow/png_decompression_dos.png"
    unreadable |= rows["file"] == "pillow/10ct_32bit_128.tiff"
    for name, bad in zip(rows["file"], unreadable, strict=True):
        path = folder / name
        if bad:
            with pytest.raises(DataError, match=path.name):
                read(path, size=(16, 16))
            continue
        size = (1, 1) if "dos" in name else None
        decoded = read(path, size=size)
        if "dos" in name:
            theirs = cv2.imread(str(path))
        elif name in ("pillow/16_bit_binary.pgm", "pillow/12bit.cropped.tif"):  # Pillow cuts values above 255
            theirs = np.repeat(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:, :, None] >> 8, 3, 2)
        else:
            theirs = over(path, (0, 0, 0))
        np.testing.assert_array_equal(decoded, theirs, err_msg=name)


def test_faults_of_real_odd_images_are_those_that_were_recorded():
    folder = odd_images()
    rows = pd.read_csv(folder / "expected.csv", keep_default_na=False)
    rows = rows[~rows["exif_orientation"].str.startswith("ERR")]  # a first read failed there, and a second one did not
    whole = (rows["pil_open"] == "") & (rows["pil_rgb"] == "ok")
    assert 70 < whole.sum() < len(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of some and reads them
        faults = [find_fault((folder / name).read_bytes()) for name in rows["file"]]
    assert [name for name, ok, fault in zip(rows["file"], whole, faults, strict=True) if ok != (fault is None)] == []


@pytest.mark.parametrize("channels", [1, 3])
def test_an_older_opencv_gives_the_same_pixels(tmp_path, monkeypatch, channels):
    """OpenCV 4.9 has no flag for RGB."""
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(300, 400)).save(path)
    for size in ((300, 400), (64, 64)):
        now = read(path, channels, size)
        with monkeypatch.context() as older:
            older.setattr(decode, "_RGB", None)
            np.testing.assert_array_equal(read(path, channels, size), now)


def test_files_are_read_whole(tmp_path):
    for size in (0, 1, 4096, decode._CHUNK - 1, decode._CHUNK, 3 * decode._CHUNK + 7):
        content = np.random.default_rng(size).bytes(size)
        (tmp_path / "a").write_bytes(content)
        assert read_content(str(tmp_path / "a")) == content
    assert read_content("/proc/self/status").startswith(b"Name:"), "it says that it is empty"
