"""A cache returns the pixels of the files, survives kills, notices changes, and uses no memory per image."""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cached_images import COUNT, bitmaps, black_out, build, make_table
from safetensors import safe_open
from safetensors.numpy import save_file

from imettk.data.cache import INDEX, ImageCache, decode_jpeg, encode_jpeg, part_path, plan_parts
from imettk.data.dataset import ImageDataset, load_batches
from imettk.data.reader import ImageReader
from imettk.data.sample_table import SampleTable
from imettk.data.sampling import BatchRequest
from imettk.data.source import ImageSource, image_names
from imettk.data.stamps import stamp_files
from imettk.errors import MismatchError


def replace_keeping_size(path):
    """Change bytes at the end of a file, keeping its size."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_those_of_the_files(tmp_path, small_parts, channels):
    table = make_table(tmp_path)
    files, cached, reads, _ = build(tmp_path, table, "pixels", channels=channels)
    assert cached.num_cached == COUNT and sorted(reads.rows) == list(range(COUNT))
    for row in np.random.default_rng(1).permutation(COUNT):
        np.testing.assert_array_equal(cached.read(row), files.read(row))
    copy = pickle.loads(pickle.dumps(cached))  # as a spawned worker gets it
    np.testing.assert_array_equal(copy.read(7), files.read(7))


def test_jpegs_lose_little(tmp_path, small_parts):
    files, cached, _, _ = build(tmp_path, make_table(tmp_path), "jpeg")
    assert cached.describe() == "jpeg cache"
    off = [np.abs(cached.read(row) - files.read(row).astype(int)).mean() for row in range(COUNT)]
    assert min(off) > 0 and max(off) < 25 and np.mean(off) < 12  # blocks of random colours: as hard as it can be


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_any_number_of_channels_goes_through_a_jpeg(channels):
    ramp = np.linspace(0, 255, 24 * 32).reshape(24, 32)
    pixels = np.stack([np.roll(ramp, 5 * channel, 1) for channel in range(channels)], 2).astype(np.uint8)
    back = decode_jpeg(np.frombuffer(encode_jpeg(pixels, 98), np.uint8), (24, 32), channels)
    assert back.shape == pixels.shape and np.abs(back - pixels.astype(int)).mean() < 8


@pytest.mark.parametrize("kind", ["pixels", "jpeg"])
def test_a_killed_build_goes_on_with_the_parts_that_are_done(tmp_path, small_parts, kind):
    table = make_table(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, table, kind, killed_at=17)
    folder = tmp_path / "cache"
    done = sorted(path.name for path in folder.glob("part-*"))
    assert done == ["part-000.safetensors", "part-001.safetensors", "part-002.safetensors"]
    assert not (folder / INDEX).exists(), "no index, so it is not taken for whole"
    for litter in ("part-003.tmp", ".tmpjhvoeh"):
        (folder / litter).write_bytes(b"half")
    files, cached, reads, _ = build(tmp_path, table, kind)
    assert sorted(reads.rows) == list(range(15, COUNT))
    if kind == "pixels":
        for row in range(COUNT):
            np.testing.assert_array_equal(cached.read(row), files.read(row))
    assert {path.name for path in folder.iterdir()} == {
        INDEX, *(f"part-{part:03d}.safetensors" for part in range(5)),
    }  # fmt: skip
    assert build(tmp_path, table, kind)[2].rows == [], "nothing has changed"


def test_a_replaced_file_remakes_its_part_and_other_settings_all(tmp_path, small_parts):
    table = make_table(tmp_path)
    build(tmp_path, table, "pixels")
    replace_keeping_size(Path(table.paths[11]))
    assert sorted(build(tmp_path, table, "pixels")[2].rows) == list(range(10, 15))
    assert len(build(tmp_path, table, "pixels", aspect="pad")[2].rows) == COUNT
    fewer = table.take(np.arange(8))
    assert build(tmp_path, fewer, "pixels", aspect="pad")[2].rows == list(range(5, 8))
    assert len(list((tmp_path / "cache").glob("part-*"))) == 2, "parts of the larger one are gone"


def test_images_are_found_by_name_and_box_whatever_their_place(tmp_path, small_parts):
    table = make_table(tmp_path)
    boxes = np.full((COUNT, 4), np.nan, np.float32)
    boxes[3] = (0, 0, 20, 20)
    table = SampleTable(table.ids, table.paths, ("a",), ("",), boxes=boxes, turned=np.arange(COUNT) == 5)
    files, _, _, _ = build(tmp_path, table, "pixels")
    rows = np.array([9, 3, 5, 0, 22])
    some = table.take(rows)
    reader = ImageReader(size=(24, 32))
    cache = ImageCache(tmp_path / "cache")
    source = ImageSource(some, reader, cache=cache, names=image_names(some, tmp_path))
    assert source.num_cached == 5
    for place, row in enumerate(rows):
        np.testing.assert_array_equal(source.read(place), files.read(row))
    moved = boxes.copy()
    moved[3] = (0, 0, 30, 20)
    changed = SampleTable(table.ids, table.paths, ("a",), ("",), boxes=moved, turned=table.turned)
    source = ImageSource(changed, reader, cache=cache, names=image_names(changed, tmp_path))
    assert source.num_cached == COUNT - 1, "an image with another box comes from its file"


def test_an_image_that_was_mended_since_is_read_from_its_file(tmp_path, small_parts):
    table = make_table(tmp_path)
    path = tmp_path / "train" / "6.png"
    content = path.read_bytes()
    path.unlink()
    files, cached, _, _ = build(tmp_path, table, "pixels")
    assert cached.num_cached == COUNT - 1
    path.write_bytes(content)
    np.testing.assert_array_equal(cached.read(6), files.read(6))


def test_images_replaced_by_others_of_the_same_size_are_noticed(tmp_path, small_parts):
    table = bitmaps(tmp_path)
    _files, _cached, _, _ = build(tmp_path, table, "pixels")
    black_out(Path(table.paths[4]))
    names, cache = image_names(table, tmp_path), ImageCache(tmp_path / "cache")
    source = ImageSource(table, ImageReader(size=(24, 32)), cache=cache, names=names)
    assert (source.num_cached, source.num_changed) == (6, 1)
    assert source.read(4).max() == 0 and source.read(3).min() == 60
    assert build(tmp_path, table, "pixels")[3].mean == pytest.approx([(0 + 1 + 2 + 3 + 5 + 6) * 20 / 7 / 255] * 3)


def test_a_copy_of_the_data_with_other_times_is_the_same_data(tmp_path, small_parts):
    """A data set may be mounted with other times: the hash of a few bytes decides."""
    table = bitmaps(tmp_path)
    build(tmp_path, table, "pixels")
    for path in table.paths.tolist():
        os.utime(path, (1, 1))
    names, cache = image_names(table, tmp_path), ImageCache(tmp_path / "cache")
    assert ImageSource(table, ImageReader(size=(24, 32)), cache=cache, names=names).num_cached == 7
    assert build(tmp_path, table, "pixels")[2].rows == []


def test_no_file_is_opened_where_size_and_time_are_unchanged(tmp_path, small_parts, monkeypatch):
    table = bitmaps(tmp_path)
    build(tmp_path, table, "pixels")
    cache = ImageCache(tmp_path / "cache")
    monkeypatch.setattr("imettk.data.stamps._hash", lambda *_: pytest.fail("a file was opened"))
    source = ImageSource(table, ImageReader(size=(24, 32)), cache=cache, names=image_names(table, tmp_path))
    assert source.num_cached == 7 and len(source.fingerprint(np.arange(7))) == 16
    assert stamp_files(table.paths, (), known=cache.stamps).hashes.tolist() == cache.stamps.hashes.tolist()


@pytest.mark.parametrize("kind", ["pixels", "jpeg"])
def test_a_cache_of_version_0_1_0_is_read_and_sizes_decide(tmp_path, small_parts, kind):
    """Names and sizes were files of their own, one line per image, and parts had no checksums."""
    table = make_table(tmp_path, 7)
    build(tmp_path, table, kind)
    folder = tmp_path / "cache"
    index = json.loads((folder / INDEX).read_text())
    images = index.pop("images")
    del index["parts"]
    (folder / INDEX).write_text(json.dumps(index))
    (folder / "names.txt").write_text("\n".join(images["names"]))
    (folder / "bytes.txt").write_text("\n".join(map(str, images["sizes"])))
    for path in folder.glob("part-*"):
        with safe_open(path, "np") as part:
            tensors = {name: part.get_tensor(name) for name in part.keys() if name != "checksums"}  # noqa: SIM118
            save_file(tensors, path, part.metadata())
    source = ImageSource(
        table, ImageReader(size=(24, 32)), cache=ImageCache(folder), names=image_names(table, tmp_path)
    )
    assert source.num_cached == 7 and source.read(6).shape == (24, 32, 3)
    Path(table.paths[3]).write_bytes(b"shorter")
    source = ImageSource(
        table, ImageReader(size=(24, 32)), cache=ImageCache(folder), names=image_names(table, tmp_path)
    )
    assert source.num_cached == 6


@pytest.mark.parametrize("kind", ["pixels", "jpeg"])
def test_a_bit_that_flipped_in_the_cache_is_noticed(tmp_path, small_parts, kind):
    build(tmp_path, make_table(tmp_path), kind)
    path = part_path(tmp_path / "cache", 1)
    content = bytearray(path.read_bytes())
    content[-40] ^= 4  # of the last image's pixels, or of the JPEGs
    path.write_bytes(content)
    reader = ImageCache(tmp_path / "cache")
    damaged = 0
    for row in range(5, 10):
        try:
            reader.read(row)
        except MismatchError as error:
            assert "does not match its checksum" in str(error)
            damaged += 1
    assert damaged == 1


def test_a_reader_of_a_cache_that_is_made_anew_gets_an_error_and_never_other_pixels(tmp_path, small_parts):
    table = make_table(tmp_path)
    _, cached, _, _ = build(tmp_path, table, "pixels")
    right = cached.read(0)
    build(tmp_path, table, "pixels", aspect="pad")  # other settings, so other pixels under the same names
    np.testing.assert_array_equal(cached.read(1), ImageSource(table, ImageReader(size=(24, 32))).read(1))
    np.testing.assert_array_equal(cached.read(0), right)  # of the part that was open already
    with pytest.raises(MismatchError, match="was replaced while in use"):
        cached.read(22)
    batch = ImageDataset(cached, None, image_size=(24, 32), skip_bad=True)
    rows = np.array([22])
    with pytest.raises(
        MismatchError, match="was replaced while in use"
    ):  # and is not taken for an image that cannot be read
        list(load_batches(batch, iter([BatchRequest(0, rows, rows)]), num_workers=1, pin=False))


def test_an_index_and_parts_of_different_makings_are_refused(tmp_path, small_parts):
    table = make_table(tmp_path)
    build(tmp_path, table, "pixels")
    old = (tmp_path / "cache" / INDEX).read_bytes()
    replace_keeping_size(Path(table.paths[11]))
    build(tmp_path, table, "pixels")
    (tmp_path / "cache" / INDEX).write_bytes(old)
    with pytest.raises(MismatchError, match=r"part-002.* was written by another `prepare`"):
        ImageCache(tmp_path / "cache")


def test_an_id_with_a_newline_has_a_cache(tmp_path, small_parts):
    table = make_table(tmp_path)
    path = tmp_path / "train" / "a\nb.png"
    Path(table.paths[3]).rename(path)
    paths = table.paths.astype(object)
    paths[3] = str(path)
    _, cached, _, _ = build(tmp_path, replace(table, paths=paths.astype(np.str_)), "pixels")
    assert cached.num_cached == COUNT


def test_a_cut_or_missing_part_is_noticed_when_the_cache_is_opened(tmp_path, small_parts):
    build(tmp_path, make_table(tmp_path), "pixels")
    path = part_path(tmp_path / "cache", 2)
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    with pytest.raises(MismatchError, match="is truncated"):
        ImageCache(tmp_path / "cache")
    path.unlink()
    with pytest.raises(MismatchError, match="is missing"):
        ImageCache(tmp_path / "cache")


@pytest.mark.parametrize("kind", ["pixels", "jpeg"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(
            (name, content)
            for name in (INDEX, "part-001.safetensors")
            for content in (None, b"", b"{", b"{}", bytes(16))
        ),
    ],
)
def test_a_damaged_cache_is_one_line_and_remade(tmp_path, small_parts, kind, content, name):
    table = make_table(tmp_path, 7)
    build(tmp_path, table, kind)
    path = tmp_path / "cache" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(MismatchError, match=r"(missing|damaged|truncated).*run `imettk prepare` again"):
        ImageCache(tmp_path / "cache")
    assert build(tmp_path, table, kind)[1].read(6).shape == (24, 32, 3)


def test_a_cache_of_any_size_is_few_enough_files():
    for num_images, image_bytes in ((10, 1e3), (109_237, 196_608), (2_000_000, 3e6), (5, 1e12)):
        plan = plan_parts(num_images, image_bytes)
        assert 1 <= plan.num_parts <= 950
        assert sum(len(plan.rows(part)) for part in range(plan.num_parts)) == num_images


MEMORY = """
import sys, numpy as np
from pathlib import Path
from imettk.data.cache import ImageCache
from imettk.data.dataset import ImageDataset
from imettk.data.reader import ImageReader
from imettk.data.sampling import BatchRequest
from imettk.data.source import ImageSource
from imettk.data.sample_table import SampleTable

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

folder, rows = Path(sys.argv[1]), 100_000
few = [str(folder / "train" / f"{row}.png") for row in range(23)]
ids, paths = np.arange(rows).astype(str), np.resize(np.array(few), rows)
table = SampleTable(ids, paths, ("a",), ("",), np.zeros(rows, np.int64))
names = [f"train/{row % 23}.png" for row in range(rows)]
for cache in (None, ImageCache(folder / "cache")):
    source = ImageSource(table, ImageReader(size=(24, 32)), cache=cache, names=names)
    dataset = ImageDataset(source, table.targets, image_size=(24, 32))
    order = np.random.default_rng(0).permutation(rows)
    for first in range(0, 20_000, 50):
        chosen = order[first : first + 50]
        dataset[BatchRequest(0, chosen, chosen)]
        if first == 5_000:
            before = resident()
    print(resident() - before)
"""


def test_a_process_does_not_grow_with_the_images_it_has_seen(tmp_path, small_parts):
    """Read a table of 100,000 rows from files and from a cache."""
    build(tmp_path, make_table(tmp_path), "pixels")
    done = subprocess.run([sys.executable, "-c", MEMORY, tmp_path], capture_output=True, text=True, check=True)
    grown = [int(line) for line in done.stdout.split()]
    assert len(grown) == 2 and max(grown) < 2_000_000, grown
