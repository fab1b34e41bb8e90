"""TIFFs of any depth, layout and number of channels equal tifffile's reading; those that Pillow reads stay Pillow's."""

import io
import sys
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from imettk.data.file_facts import FileFacts
from imettk.data.pixel_values import ValueRange
from imettk.data.reader import ImageReader
from imettk.data.tiff import read_tiff, read_tiff_header
from imettk.errors import DataError

tifffile = pytest.importorskip("tifffile")
SIZE = (40, 50)
LAYOUTS = [
    {},
    {"tile": (16, 32)},
    {"bigtiff": True},
    {"byteorder": ">"},
    {"compression": "lzw", "predictor": True},
    {"compression": "zlib", "predictor": True, "tile": (16, 16)},
    {"compression": "zstd"},
    {"compression": "lzma", "predictor": True},
    {"byteorder": ">", "compression": "zlib"},
    {"byteorder": ">", "compression": "lzw", "predictor": True},
    {"byteorder": ">", "compression": "packbits", "tile": (16, 16)},
    {"byteorder": ">", "compression": "zstd"},
    {"byteorder": ">", "bigtiff": True},
]


def values(shape, dtype, most=250):
    return np.random.default_rng(0).integers(0, most, shape).astype(dtype)


def write(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array.astype(array.dtype.newbyteorder(options.get("byteorder", "="))), **options)
    return file.getvalue()


def numbers_of(content, channels, frame=None, *, as_shown=True):
    found = read_tiff(content, channels=channels, frame=frame, as_shown=as_shown)
    assert found is not None
    return found.numbers


def read(path, channels=1, white=None, frame=None):
    return ImageReader(size=SIZE, channels=channels, white=white and ValueRange(*white), frame=frame).read(str(path))


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "f2", "f4", "f8"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_channels_are_what_tifffile_reads(dtype, planar, options):
    for channels in (2, 3, 5):
        array = values((*SIZE, channels) if planar == "contig" else (channels, *SIZE), dtype, 100)
        content = write(array, photometric="minisblack", planarconfig=planar, **options)
        theirs = tifffile.imread(io.BytesIO(content))
        np.testing.assert_array_equal(
            numbers_of(content, channels), theirs if planar == "contig" else np.moveaxis(theirs, 0, 2)
        )


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
def test_floats_and_bytes_with_a_sign_are_read(tmp_path, options):
    for dtype in ("f2", "f8", "i1"):
        array = values(SIZE, dtype, 100) - np.dtype(dtype).type(30)
        (tmp_path / "a.tif").write_bytes(write(array, **options))
        expected = np.rint(np.clip((array.astype(float) + 10) / 70, 0, 1) * 255)
        assert np.abs(read(tmp_path / "a.tif", white=(-10, 60))[:, :, 0] - expected).max() <= 1
        with pytest.raises(DataError, match=rf"its values are {np.dtype(dtype)}, so its white value"):
            read(tmp_path / "a.tif")


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
def test_what_pillow_reads_is_left_to_it(options):
    for array, photometric in (
        (values(SIZE, "u1"), "minisblack"),
        (values(SIZE, "u1"), "miniswhite"),
        (values((*SIZE, 3), "u1"), "rgb"),
        (values((*SIZE, 4), "u1"), "rgb"),
        (values(SIZE, "u2"), "minisblack"),
        (values((*SIZE, 3), "u2"), "rgb"),
        (values(SIZE, "i2"), "minisblack"),
        (values(SIZE, "f4"), "minisblack"),
    ):
        content = write(array, photometric=photometric, **options)
        if "byteorder" in options and ("bigtiff" in options or ("compression" in options and array.dtype.kind in "if")):
            continue  # it does not know them, or exchanges their bytes twice
        assert read_tiff(content, channels=3, frame=None, as_shown=True) is None
        with Image.open(io.BytesIO(content)) as image:
            image.load()  # it does read it


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
def test_signed_and_unsigned_numbers_and_floats_have_a_window(tmp_path, options):
    for dtype, low, high in (("i2", -1000, 2000), ("i4", -70_000, 3), ("u4", 2**31 - 900, 2**31 + 900), ("f4", -1, 1)):
        array = np.linspace(low * 1.5, high * 1.5, SIZE[0] * SIZE[1]).reshape(SIZE).astype(dtype)
        (tmp_path / "a.tif").write_bytes(write(array, photometric="minisblack", **options))
        expected = np.rint(np.clip((array.astype(float) - low) / (high - low), 0, 1) * 255)
        assert np.abs(read(tmp_path / "a.tif", white=(low, high))[:, :, 0] - expected).max() <= 1, dtype


# (H, W) of what each orientation makes of these rows (TIFF 6.0, section 8: where the first row and column belong).
TURNED = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
}


@pytest.mark.parametrize("orient", [True, False])
@pytest.mark.parametrize("orientation", TURNED)
def test_every_tiff_is_turned_as_its_tag_says_or_none(tmp_path, orientation, orient):
    stored = np.array(TURNED[1]) * 20
    expected = np.array(TURNED[orientation if orient else 1]) * 20
    tag = {"extratags": [(274, "H", 1, orientation, True)]}
    for dtype, channels, options in (
        ("u1", 1, {}),  # Pillow
        ("u1", 3, {"compression": "zlib"}),
        ("u2", 1, {}),
        ("f4", 1, {"compression": "zlib"}),
        ("u2", 3, {}),  # OpenCV and Pillow
        ("u2", 3, {"planarconfig": "separate"}),  # tifffile
        ("f8", 1, {}),
        ("f4", 1, {"compression": "zlib", "byteorder": ">"}),
        ("u1", 5, {"planarconfig": "contig"}),
        ("u2", 1, {"photometric": "miniswhite"}),
    ):
        array = np.repeat(stored[:, :, None], channels, 2).astype(dtype) if channels > 1 else stored.astype(dtype)
        if options.get("planarconfig") == "separate":
            array = np.moveaxis(array, 2, 0)
        options = {"photometric": "rgb" if channels == 3 else "minisblack"} | options
        (tmp_path / "a.tif").write_bytes(write(array, **options, **tag))
        reader = ImageReader(size=expected.shape, channels=channels, orient=orient, white=ValueRange(0, 255))
        inverted = 255 - expected if options["photometric"] == "miniswhite" else expected
        np.testing.assert_array_equal(
            reader.read(str(tmp_path / "a.tif")), np.repeat(inverted[:, :, None], channels, 2), err_msg=str(options)
        )


def test_deep_images_whose_white_is_zero_are_turned_round(tmp_path):
    array = values(SIZE, "u2", 65536)
    (tmp_path / "a.tif").write_bytes(write(array, photometric="miniswhite"))
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[:, :, 0], 255 - np.rint(array / 257).astype(int))


def test_unsigned_numbers_have_their_largest_as_white(tmp_path):
    array = values((*SIZE, 5), "u2", 65536)
    (tmp_path / "a.tif").write_bytes(write(array, photometric="minisblack", planarconfig="contig"))
    np.testing.assert_array_equal(read(tmp_path / "a.tif", 5), np.rint(array / 257))
    np.testing.assert_array_equal(
        read(tmp_path / "a.tif", 5, (0, 4095)), np.rint(np.minimum(array, 4095) / 4095 * 255).astype(int)
    )
    with pytest.raises(DataError, match=r"a\.tif .*it has 5 channels, but `images.channels` is 3"):
        read(tmp_path / "a.tif", 3)


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
def test_deep_colours_that_are_stored_apart_are_read(tmp_path, options):
    """Pillow mixes up the bytes of channels if they are not compressed."""
    array = values((3, *SIZE), "u2", 65536)
    (tmp_path / "a.tif").write_bytes(write(array, photometric="rgb", planarconfig="separate", **options))
    off = read(tmp_path / "a.tif", 3).astype(int) - np.moveaxis(array, 0, 2) / 257
    assert np.abs(off).max() <= 1


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_deep_colours_are_scaled_however_they_are_stored(tmp_path, planar, options):
    array = values((*SIZE, 3), "u2", 4096)
    stored = array if planar == "contig" else np.moveaxis(array, 2, 0)
    (tmp_path / "a.tif").write_bytes(write(stored, photometric="rgb", planarconfig=planar, **options))
    np.testing.assert_array_equal(read(tmp_path / "a.tif", 3, (0, 4095)), np.rint(array / 4095 * 255))
    reader = ImageReader(size=SIZE, channels=3)
    np.testing.assert_array_equal(reader.read_numbers(str(tmp_path / "a.tif")), array)
    facts = FileFacts()
    reader.read(str(tmp_path / "a.tif"), facts=facts)
    assert facts.brightest in (0, array.max())


def test_a_palette_that_pillow_does_not_read_is_one_line(tmp_path):
    options = {"photometric": "palette", "colormap": values((3, 256), "u2", 65536)}
    (tmp_path / "a.tif").write_bytes(write(values(SIZE, "u1"), **options))
    assert read(tmp_path / "a.tif", 3).shape == (*SIZE, 3)
    (tmp_path / "a.tif").write_bytes(write(values(SIZE, "u1"), **options, byteorder=">", bigtiff=True))
    with pytest.raises(DataError, match=r"a\.tif .*its colours are a palette, which cannot be read"):
        read(tmp_path / "a.tif", 3)


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
def test_what_is_white_in_32_bits_is_unknown_in_every_layout(tmp_path, options):
    """Scaling by a file's largest value would differ from file to file; with 2**32 - 1 all images would be black."""
    cases = [(values(SIZE, "u4", 90_000), {}), (values(SIZE, "u4", 90_000), {"photometric": "miniswhite"})]
    cases.append((values((5, *SIZE), "u4", 90_000), {"photometric": "minisblack", "planarconfig": "separate"}))
    for array, kind in cases:
        (tmp_path / "a.tif").write_bytes(write(array, **kind, **options))
        np.save(tmp_path / "a.npy", array)
        for name in ("a.tif", "a.npy"):
            with pytest.raises(DataError, match=rf"{name} .*so its white value is unknown: set `images.white`"):
                read(tmp_path / name, 5 if array.ndim == 3 else 1)


def test_four_deep_channels_are_scaled_alike(tmp_path):
    """Pillow takes the fourth channel for alpha."""
    array = values((*SIZE, 4), "u2", 4096)
    (tmp_path / "a.tif").write_bytes(write(array, photometric="rgb"))
    np.testing.assert_array_equal(read(tmp_path / "a.tif", 4, (0, 4095)), np.rint(array / 4095 * 255).astype(int))


@pytest.mark.parametrize("dtype", ["u1", "u2", "f8"])
def test_frame_says_which_page(tmp_path, dtype):
    array = values((7, *SIZE), dtype)
    (tmp_path / "a.tif").write_bytes(write(array, photometric="minisblack"))
    for frame, place in ((0, 0), (5, 5), (-1, 6), ("middle", 3)):
        np.testing.assert_array_equal(read(tmp_path / "a.tif", white=(0, 255), frame=frame)[:, :, 0], array[place])
    with pytest.raises(DataError, match=r"a\.tif .*it holds 7 frames, and `images.frame` is 7"):
        read(tmp_path / "a.tif", white=(0, 255), frame=7)
    if dtype == "f8":
        with pytest.raises(DataError, match=r"a\.tif .*it holds 7 frames: select one with `--images.frame middle`"):
            read(tmp_path / "a.tif", white=(0, 255))
    else:  # as ever
        np.testing.assert_array_equal(read(tmp_path / "a.tif", white=(0, 255))[:, :, 0], array[0])


def test_frame_says_which_page_of_deep_colours(tmp_path):
    array = values((3, *SIZE, 3), "u2", 4096)
    (tmp_path / "a.tif").write_bytes(write(array, photometric="rgb"))
    np.testing.assert_array_equal(
        read(tmp_path / "a.tif", 3, (0, 4095), -1), np.rint(array[2] / 4095 * 255).astype(int)
    )


def test_frame_says_which_picture_of_an_animation(tmp_path):
    frames = [Image.fromarray(np.full(SIZE, level, np.uint8)) for level in (10, 90, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert [read(tmp_path / "a.gif", frame=frame)[0, 0, 0] for frame in (None, 0, "middle", -1)] == [10, 10, 90, 200]
    with pytest.raises(DataError, match=r"a\.gif .*it holds 3 frames, and `images.frame` is 3"):
        read(tmp_path / "a.gif", frame=3)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.gif", "a.tif", "animation.png"])
def test_a_file_of_one_picture_has_no_other_frame(tmp_path, name):
    picture = Image.fromarray(np.full(SIZE, 90, np.uint8))
    picture.save(tmp_path / name, save_all=name.startswith("animation"))
    for frame in (None, 0, -1, "middle"):
        np.testing.assert_array_equal(read(tmp_path / name, frame=frame), np.full((*SIZE, 1), 90))
    for frame in (5, -2):
        with pytest.raises(
            DataError, match=rf"{name} \(\d+ bytes\): it holds 1 frame, and `images.frame` is {frame}"
        ) as raised:
            read(tmp_path / name, frame=frame)
        assert "\n" not in str(raised.value)


def test_frame_says_which_picture_of_a_phone(tmp_path):
    pictures = [Image.fromarray(np.full((*SIZE, 3), level, np.uint8)) for level in (10, 200)]
    pictures[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=pictures[1:])
    assert [read(tmp_path / "a.jpg", frame=frame)[0, 0, 0] for frame in (None, 0, -1)] == [10, 10, 200]


def test_pages_are_channels_where_there_are_as_many(tmp_path):
    array = values((5, *SIZE), "u2", 65536)
    (tmp_path / "a.tif").write_bytes(write(array, photometric="minisblack"))
    np.testing.assert_array_equal(read(tmp_path / "a.tif", 5), np.rint(np.moveaxis(array, 0, 2) / 257))


@pytest.mark.parametrize("options", LAYOUTS[:5], ids=str)
def test_cut_files_are_one_line(tmp_path, options):
    content = write(values((*SIZE, 5), "f8"), photometric="minisblack", planarconfig="contig", **options)
    assert read_tiff_header(content).samples == 5
    for length in (3, 9, 40, len(content) // 2, len(content) - 9):
        (tmp_path / "a.tif").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"a\.tif \(") as raised:
            read(tmp_path / "a.tif", 5, (0, 255))
        assert "\n" not in str(raised.value)


def test_a_file_that_is_too_large_is_refused_before_it_takes_memory(tmp_path):
    for dtype, options in (("f8", {}), ("u4", {"byteorder": ">"}), ("u1", {"compression": "zstd"})):
        (tmp_path / "a.tif").write_bytes(write(np.zeros((2000, 3000), dtype), **({"compression": "zlib"} | options)))
        reader = ImageReader(size=SIZE, channels=1, max_pixels=1000, white=ValueRange(0, 255))
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match=r"a\.tif .*it has 3000 x 2000 pixels, more than the limit of 1000"):
                reader.read(str(tmp_path / "a.tif"))
            assert tracemalloc.get_traced_memory()[1] < 4_000_000
        finally:
            tracemalloc.stop()


def test_without_the_library_only_files_that_need_it_fail(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    (tmp_path / "a.tif").write_bytes(write(values(SIZE, "u1")))
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[:, :, 0], values(SIZE, "u1"))
    (tmp_path / "b.tif").write_bytes(write(values(SIZE, "f8")))
    with pytest.raises(
        DataError, match=r"b\.tif: a TIFF of this kind is read by tifffile, .*pip install imagecodecs 'tifffile"
    ):
        read(tmp_path / "b.tif")
