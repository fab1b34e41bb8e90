"""A user's own reader: its pixels take the usual path, and anything else that it returns is a fault of the file."""

import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from imettk.config.choices import Choice
from imettk.config.own import Own, refer
from imettk.data.file_facts import FileFacts
from imettk.data.pixel_values import ValueRange
from imettk.data.reader import ImageReader
from imettk.data.source import cache_key
from imettk.errors import DataError


def reader_of(function, monkeypatch, **settings):
    monkeypatch.setattr(sys.modules[__name__], "own_reader", function, raising=False)
    return ImageReader(decoder=Choice(make=Own(f"{__name__}:own_reader", "")), **settings)


def test_its_pixels_are_cut_resized_and_turned_as_those_of_files(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[:, :, ::-1])
    np.save(tmp_path / "a.npy", pixels)
    box = np.array([4, 6, 50, 38], np.float32)
    settings = {"size": (16, 20), "aspect": "pad", "box_margin": 5.0}
    ours = reader_of(np.load, monkeypatch, **settings).read(str(tmp_path / "a.npy"), box=box, turned=True)
    theirs = ImageReader(**settings).read(str(tmp_path / "a.png"), box=box, turned=True)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(reader_of(np.load, monkeypatch, **settings).read_whole(tmp_path / "a.npy"), pixels)


def test_its_numbers_are_scaled_as_those_of_files_are(tmp_path, monkeypatch):
    numbers = np.random.default_rng(0).integers(0, 4096, (8, 9)).astype(np.uint16)
    np.save(tmp_path / "a.npy", numbers)
    for given in (numbers, numbers[:, :, None], numbers.astype(np.float32)):
        reader = reader_of(lambda _, given=given: given, monkeypatch, size=(8, 9), white=ValueRange(0, 4095))
        facts = FileFacts()
        pixels = reader.read("x.dat", facts=facts)
        np.testing.assert_array_equal(
            pixels, ImageReader(size=(8, 9), white=ValueRange(0, 4095)).read(f"{tmp_path}/a.npy")
        )
        assert facts.brightest == numbers.max()
    seen = numbers.astype(np.uint8)  # bytes are never scaled
    for white in (100, 4095):
        reader = reader_of(lambda _: seen, monkeypatch, size=(8, 9), channels=1, white=ValueRange(0, white))
        np.testing.assert_array_equal(reader.read("x.dat")[:, :, 0], seen)


def test_one_call_a_channel_where_an_image_is_several_files(monkeypatch):
    read = {"a_red": 1, "a_blue": 2}
    reader = reader_of(
        lambda path: np.full((8, 8, 1), read[path], np.uint8),
        monkeypatch,
        size=(8, 8),
        channels=2,
        channel_files=("red", "blue"),
    )
    assert reader.read("a_*")[0, 0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            np.zeros((4, 4, 3, 1)),
            r"x.dat: `images\.reader` must return numbers \(H, W\) or \(H, W, 3\), got float64 \(4, 4,",
        ),
        (np.zeros((4, 4), "c8"), r"got complex64 \(4, 4\)"),
        (np.array([["a"]]), r"got <U1 \(1, 1\)"),
        (np.zeros((4, 4)), "x.dat: its values are float64, so its white value is unknown: set `images.white`"),
        (np.zeros((4, 4, 2), np.uint8), "x.dat: it has 2 channels, but `images.channels` is 3"),
        (np.zeros((0, 4, 3), np.uint8), "x.dat: it has 4 x 0 pixels"),
        (np.zeros((40, 4, 3), np.uint8), "more than the limit of 100"),
        (None, "got NoneType"),
        (OSError("no\nsuch"), "x.dat: .*OSError: no such"),
    ],
)
def test_anything_else_is_a_fault_of_the_file(monkeypatch, given, message):
    def read(path):
        if isinstance(given, Exception):
            raise given
        return given

    with pytest.raises(DataError, match=message):
        reader_of(read, monkeypatch, size=(8, 8), max_pixels=100).read("x.dat")


def test_a_cache_knows_that_another_reader_gives_other_pixels(tmp_path, monkeypatch):
    plain = ImageReader(size=(24, 32))
    monkeypatch.syspath_prepend(tmp_path)
    keys = [cache_key(plain, "pixels", 95)]
    for number in range(2):  # the same name, other code
        (tmp_path / "own_formats.py").write_text(f"def read(path):\n    return {number}\n")
        mine = ImageReader(size=(24, 32), decoder=Choice(make=refer("own_formats:read", "")))
        keys += [cache_key(mine, "pixels", 95)] * 2
    for sha256 in ("1", "2"):
        keys.append(cache_key(replace(plain, decoder=Choice(make=Own("recipe:read", sha256))), "pixels", 95))
    assert keys[1] == keys[2] and keys[3] == keys[4] and len(set(keys)) == 5
