"""Names and fingerprints of images, and keys of caches, change exactly with what they describe."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cached_images import bitmaps, black_out

from imettk.config import ImageFormat, Recipe
from imettk.data.pixel_values import ValueRange
from imettk.data.reader import ImageReader
from imettk.data.sample_table import SampleTable
from imettk.data.source import ImageSource, cache_key, image_names, make_reader
from imettk.errors import ConfigError


def test_a_fingerprint_changes_with_a_file_its_box_and_its_turn_and_with_nothing_else(tmp_path):
    table, reader, rows = bitmaps(tmp_path), ImageReader(size=(24, 32)), np.array([1, 4])
    boxes = np.full((7, 4), np.nan, np.float32)
    boxes[4] = (0, 0, 9, 9)
    moved = boxes + 1
    tables = [replace(table, boxes=part, turned=np.arange(7) == turned) for part in (boxes, moved) for turned in (1, 2)]
    first, *others = [ImageSource(table, reader).fingerprint(rows) for table in tables]
    assert len({first, *others}) == 4
    assert ImageSource(tables[0], reader).fingerprint(rows) == first
    black_out(Path(table.paths[0]))
    assert ImageSource(tables[0], reader).fingerprint(rows) == first
    black_out(Path(table.paths[4]))
    assert ImageSource(tables[0], reader).fingerprint(rows) != first


def test_a_source_of_a_larger_size_reads_files_and_shares_the_faults(tmp_path):
    table, reader = bitmaps(tmp_path), ImageReader(size=(24, 32))
    source, whole = ImageSource(table, reader), ImageSource(table, replace(reader, size=(30, 32)))
    assert source.at_least((24, 32)) is source.at_least((20, 30)) is source
    larger = source.at_least((30, 32))
    np.testing.assert_array_equal(larger.read(3), whole.read(3))
    assert (larger.size, source.size) == ((30, 32), (24, 32)) and source.read(3).shape == (24, 32, 3)
    larger.faults[3] = "broken"
    assert source.faults == {3: "broken"} and larger.fingerprint(np.arange(7)) == whole.fingerprint(np.arange(7))


def test_names_do_not_depend_on_how_the_data_folder_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (Path(), Path("."), tmp_path, Path("..") / tmp_path.name):
        paths = np.array([str(folder / "train" / "a.png"), str(folder / ".." / "more" / "b.png"), "/elsewhere/c.png"])
        table = SampleTable(np.array(["a", "b", "c"]), paths, ("a",), ("",))
        assert image_names(table, folder) == ["train/a.png", "../more/b.png", "/elsewhere/c.png"]


def test_only_caches_with_tiff_are_of_a_version_of_tiff():
    plain = cache_key(ImageReader(size=(24, 32)), "pixels", 95)
    for names in (["a.jpg", "b.png"], ["a.npy"], [], ["a/tiff/b.png"]):
        assert cache_key(ImageReader(size=(24, 32)), "pixels", 95, names) == plain
    with_tiff = {
        cache_key(ImageReader(size=(24, 32)), "pixels", 95, ["a.jpg", name])
        for name in ("b.tif", "c/D.TIFF", "b.tif box 1 2 3 4 turned")
    }
    assert len(with_tiff) == 1 and plain not in with_tiff


def test_without_white_caches_stay_valid():
    """The keys equal those from before the setting existed."""
    assert cache_key(ImageReader(size=(24, 32)), "pixels", 95) == "ff646612f5952db8"
    assert cache_key(make_reader(Recipe()), "jpeg", 90) == "4497012d60db370f"
    assert cache_key(ImageReader(size=(24, 32), white=ValueRange(0, 4095)), "pixels", 95) != "ff646612f5952db8"
    with pytest.raises(ConfigError, match=r"`white` of ImageFormat must be none, a number above 0.*got 0"):
        ImageFormat(white=0)


def test_a_cache_has_the_key_of_before_where_pixels_have_a_shape_of_their_own():
    reader = ImageReader(size=(24, 32))
    assert "pixel_shape" not in reader.settings()
    keys = {cache_key(replace(reader, pixel_shape=shape), "pixels", 95) for shape in (None, (9, 4), (4, 9))}
    assert len(keys) == 3
