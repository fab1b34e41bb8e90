"""A cache gives the pixels of the files, survives kills, notices what changed, and costs no memory an image."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imettk.data import cache as cache_module
from imettk.data.cache import INDEX, ImageCache, decode_jpeg, encode_jpeg, part_path, plan_parts
from imettk.data.reader import ImageReader
from imettk.data.source import ImageSource, cache_key, file_bytes, image_names
from imettk.data.survey import CacheTarget, estimate_bytes, survey_images
from imettk.data.table import SampleTable
from imettk.errors import DataError, MismatchError

COUNT = 23


@pytest.fixture
def small_parts(monkeypatch):
    """Five images a part: 24 x 32 x 3 bytes each."""
    monkeypatch.setattr(cache_module, "PART_BYTES", 5 * 24 * 32 * 3)


def make_table(folder, count=COUNT, channels=3):
    (folder / "train").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for row in range(count):
        blocks = rng.integers(0, 256, (5, 4, 3) if channels == 3 else (5, 4), np.uint8)
        pixels = blocks.repeat(10, 0).repeat(10, 1)[: 30 + row % 20]
        Image.fromarray(pixels).save(folder / "train" / f"{row}.png")
    ids = np.array([str(row) for row in range(count)])
    paths = np.array([str(folder / "train" / f"{row}.png") for row in range(count)])
    return SampleTable(ids, paths, ("a",), ("",))


class Reads:
    """Counts what is read from files, and may be killed."""

    def __init__(self, source, killed_at=None):
        self.source, self.killed_at, self.rows = source, killed_at, []

    def __call__(self, row):
        if row == self.killed_at:
            raise KeyboardInterrupt
        self.rows.append(row)
        return self.source.read(row)


def build(tmp_path, table, kind, *, killed_at=None, sizes=None, **settings):
    reader = ImageReader(size=(24, 32), **settings)
    reads = Reads(ImageSource(table, reader), killed_at)
    target = CacheTarget(folder=tmp_path / "cache", kind=kind, key=cache_key(reader, kind, 95), quality=95)
    names = image_names(table, tmp_path)
    survey = survey_images(reads, names, sizes or [1] * len(table), (24, 32, reader.channels), cache=target)
    return (
        ImageSource(table, reader),
        ImageSource(table, reader, cache=ImageCache(target.folder), names=names),
        reads,
        survey,
    )


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
        INDEX, "bytes.txt", "names.txt", *(f"part-{part:03d}.safetensors" for part in range(5)),
    }  # fmt: skip
    assert build(tmp_path, table, kind)[2].rows == [], "nothing has changed"


def test_a_replaced_file_remakes_its_part_and_other_settings_all(tmp_path, small_parts):
    table = make_table(tmp_path)
    build(tmp_path, table, "pixels")
    sizes = [1] * COUNT
    sizes[11] = 2
    assert sorted(build(tmp_path, table, "pixels", sizes=sizes)[2].rows) == list(range(10, 15))
    assert len(build(tmp_path, table, "pixels", sizes=sizes, aspect="pad")[2].rows) == COUNT
    fewer = table.take(np.arange(8))
    assert build(tmp_path, fewer, "pixels", sizes=sizes[:8], aspect="pad")[2].rows == list(range(5, 8))
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


def test_bad_images_are_found_kept_and_raised_again(tmp_path, small_parts):
    table = make_table(tmp_path)
    (tmp_path / "train" / "6.png").write_bytes(b"no image")
    _, cached, _, survey = build(tmp_path, table, "pixels")
    assert list(survey.bad) == [6] and "6.png" in survey.bad[6]
    with pytest.raises(DataError, match=r"6\.png"):
        cached.read(6)
    assert build(tmp_path, table, "pixels")[3].bad == survey.bad, "also when all parts are there already"


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_are_numpys_over_all_pixels_but_bad_ones(tmp_path, small_parts, channels):
    table = make_table(tmp_path)
    (tmp_path / "train" / "6.png").write_bytes(b"")
    files, _, _, survey = build(tmp_path, table, "pixels", channels=channels)
    pixels = np.stack([files.read(row) for row in range(COUNT) if row != 6]) / 255
    np.testing.assert_allclose(survey.mean, pixels.mean((0, 1, 2)))
    np.testing.assert_allclose(survey.std, pixels.std((0, 1, 2)))
    again = survey_images(files.read, image_names(table, tmp_path), [1] * COUNT, (24, 32, channels))
    np.testing.assert_array_equal(again.histogram, survey.histogram)


def test_an_image_that_was_mended_since_is_read_from_its_file(tmp_path, small_parts):
    table = make_table(tmp_path)
    path = tmp_path / "train" / "6.png"
    content = path.read_bytes()
    path.unlink()
    files, cached, _, _ = build(tmp_path, table, "pixels")
    assert cached.num_cached == COUNT - 1
    path.write_bytes(content)
    np.testing.assert_array_equal(cached.read(6), files.read(6))


def test_an_image_whose_file_has_changed_is_read_from_it_where_sizes_are_given(tmp_path, small_parts):
    table, reader = make_table(tmp_path), ImageReader(size=(24, 32))
    build(tmp_path, table, "pixels", sizes=file_bytes(table, ()).tolist())
    old = reader.read(str(table.paths[6]))
    shutil.copy(table.paths[7], table.paths[6])
    Path(table.paths[9]).unlink()
    names, cache = image_names(table, tmp_path), ImageCache(tmp_path / "cache")
    source = ImageSource(table, reader, cache=cache, names=names, file_bytes=file_bytes(table, ()))
    assert source.num_cached == COUNT - 2
    np.testing.assert_array_equal(source.read(6), reader.read(str(table.paths[7])))
    np.testing.assert_array_equal(ImageSource(table, reader, cache=cache, names=names).read(6), old)


def test_the_size_of_an_image_is_that_of_all_its_files(tmp_path):
    for name, count in (("red", 3), ("green", 5)):
        (tmp_path / f"a_{name}.png").write_bytes(bytes(count))
    table = SampleTable(np.array(["a"]), np.array([str(tmp_path / "a_*.png")]), ("a",), ("",))
    assert file_bytes(table, ("red", "green")).tolist() == [8]


def test_names_do_not_depend_on_how_the_data_folder_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (Path(), Path("."), tmp_path, Path("..") / tmp_path.name):
        paths = np.array([str(folder / "train" / "a.png"), str(folder / ".." / "more" / "b.png"), "/elsewhere/c.png"])
        table = SampleTable(np.array(["a", "b", "c"]), paths, ("a",), ("",))
        assert image_names(table, folder) == ["train/a.png", "../more/b.png", "/elsewhere/c.png"]


def test_a_cut_or_missing_part_is_noticed_when_the_cache_is_opened(tmp_path, small_parts):
    build(tmp_path, make_table(tmp_path), "pixels")
    path = part_path(tmp_path / "cache", 2)
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    with pytest.raises(MismatchError, match="is cut"):
        ImageCache(tmp_path / "cache")
    path.unlink()
    with pytest.raises(MismatchError, match="is missing"):
        ImageCache(tmp_path / "cache")


@pytest.mark.parametrize("kind", ["pixels", "jpeg"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.txt", None),
        *(("bytes.txt", each) for each in (None, b"", b"7\n8")),
        *((name, each) for name in (INDEX, "part-001.safetensors") for each in (None, b"", b"{", b"{}", bytes(16))),
    ],
)
def test_a_damaged_cache_is_one_line_and_remade(tmp_path, small_parts, kind, content, name):
    table = make_table(tmp_path, 7)
    build(tmp_path, table, kind)
    path = tmp_path / "cache" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(MismatchError, match=r"(missing|damaged|cut).*run `imettk prepare` again"):
        ImageCache(tmp_path / "cache")
    assert build(tmp_path, table, kind)[1].read(6).shape == (24, 32, 3)


def test_a_cache_of_any_size_is_few_enough_files():
    for num_images, image_bytes in ((10, 1e3), (109_237, 196_608), (2_000_000, 3e6), (5, 1e12)):
        plan = plan_parts(num_images, image_bytes)
        assert 1 <= plan.num_parts <= 950
        assert sum(len(plan.rows(part)) for part in range(plan.num_parts)) == num_images


def test_the_estimate_is_exact_for_pixels_and_near_for_jpegs(tmp_path, small_parts):
    table = make_table(tmp_path)
    for kind, tolerance in (("pixels", 0), ("jpeg", 0.2)):
        build(tmp_path, table, kind)
        size = sum(path.stat().st_size for path in (tmp_path / "cache").glob("part-*"))
        source = ImageSource(table, ImageReader(size=(24, 32)))
        expected = estimate_bytes(source.read, COUNT, (24, 32, 3), kind, 95)
        assert abs(expected - size) <= tolerance * size + 5 * 9000  # five headers, with their histograms


MEMORY = """
import sys, numpy as np
from pathlib import Path
from imettk.data.cache import ImageCache
from imettk.data.dataset import ImageDataset
from imettk.data.reader import ImageReader
from imettk.data.sampling import BatchRequest
from imettk.data.source import ImageSource
from imettk.data.table import SampleTable

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
    """A table of 100,000 rows, read from files and from a cache."""
    build(tmp_path, make_table(tmp_path), "pixels")
    done = subprocess.run([sys.executable, "-c", MEMORY, tmp_path], capture_output=True, text=True, check=True)
    grown = [int(line) for line in done.stdout.split()]
    assert len(grown) == 2 and max(grown) < 2_000_000, grown
