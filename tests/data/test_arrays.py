"""NumPy files are read as NumPy reads them; axes follow from channels and frame, or are refused in one line."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from imettk.data import arrays
from imettk.data.arrays import choose_frame, pick_plane
from imettk.data.pixel_values import ValueRange
from imettk.data.reader import ImageReader
from imettk.errors import DataError

SIZE = (6, 9)
WHITE = ValueRange(0, 200)


def values(shape, dtype, seed=0):
    return np.random.default_rng(seed).integers(0, 120, shape).astype(dtype)


def read(path, channels=1, white=WHITE, frame=None):
    return ImageReader(size=SIZE, channels=channels, white=white, frame=frame).read(str(path))


def scaled(numbers, white=200):
    return np.rint(numbers.astype(np.float64) / white * 255).astype(np.uint8)


@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", ">u2", "<i2", ">i4", "u8", "<f2", ">f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_files_hold_what_numpy_wrote(tmp_path, dtype, order):
    array = np.asarray(values((*SIZE, 3), dtype), order=order)
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", array)
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.npy").read_bytes())  # told by its content
    for name in ("a.npy", "a.npz", "a.jpg"):
        off = read(tmp_path / name, 3).astype(int) - scaled(array)
        assert np.abs(off).max() <= 1
        assert (off != 0).mean() < 0.02  # halves may fall either way


def test_the_full_range_of_unsigned_numbers_is_the_default(tmp_path):
    for dtype, share in (("u1", 1), ("u2", 257)):
        np.save(tmp_path / "a.npy", values(SIZE, dtype) * np.dtype(dtype).type(share))
        np.testing.assert_array_equal(read(tmp_path / "a.npy", white=None)[:, :, 0], values(SIZE, "u1"))
    np.save(tmp_path / "a.npy", values(SIZE, "u1") > 60)
    np.testing.assert_array_equal(read(tmp_path / "a.npy", white=None)[:, :, 0] > 0, values(SIZE, "u1") > 60)
    np.save(tmp_path / "a.npy", values(SIZE, "f4"))
    with pytest.raises(DataError, match=r"a\.npy .*float32, so its white value is unknown: set `images.white`"):
        read(tmp_path / "a.npy", white=None)


def write(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (write(np.array([["a", 1]], object), allow_pickle=True), "Python objects .pickle., which may run code"),
        (write(np.zeros(SIZE, "c8")), "its values are complex64"),
        (write(np.full(SIZE, "x")), "its values are <U1"),
        (write(np.zeros(SIZE, [("r", "u1"), ("g", "u1")])), "which cannot be pixels"),
        (write(np.zeros(SIZE))[:-7], "it is truncated: it has 425 of 432 bytes"),
        (write(np.zeros(SIZE))[:40], "it is not a complete .npy file"),
        (write(np.zeros(5)), r"its shape is \(5,\)"),
        (write(np.zeros((0, 4), "u1")), "0 pixels|no pixels"),
    ],
)
def test_what_is_no_image_is_one_line(tmp_path, content, message):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.npy \({len(content)} bytes\): .*{message}") as raised:
        read(tmp_path / "a.npy")
    assert "\n" not in str(raised.value)


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "MOST_BYTES", 9000)
    np.savez_compressed(tmp_path / "a.npz", np.zeros((100, 100), np.uint8))
    with pytest.raises(DataError, match=r"a\.npz .*it unpacks to 10,000 bytes, more than the limit of 9,000"):
        read(tmp_path / "a.npz")


def test_an_archive_is_refused_by_its_header_before_it_takes_memory(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", np.zeros((4000, 10_000), np.uint8))
    reader = ImageReader(size=SIZE, channels=1, max_pixels=1000)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"a\.npz .*it has 10000 x 4000 pixels, more than the limit of 1000"):
            reader.read(str(tmp_path / "a.npz"))
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_an_archive_is_unpacked_only_as_far_as_its_array_goes(tmp_path):
    content = write(values(SIZE, "u1"))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content + bytes(40_000_000))
    tracemalloc.start()
    try:
        np.testing.assert_array_equal(read(tmp_path / "a.npz")[:, :, 0], scaled(values(SIZE, "u1")))
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_archives_hold_one_array(tmp_path):
    np.savez(tmp_path / "two.npz", a=values(SIZE, "u1"), b=values(SIZE, "u1"))
    with pytest.raises(DataError, match=r"2 arrays \(a, b\), but an image is one"):
        read(tmp_path / "two.npz")
    np.savez_compressed(tmp_path / "cut.npz", values((60, 90), "u1"))
    whole = (tmp_path / "cut.npz").read_bytes()
    for length in (9, len(whole) // 2):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.npz .*it is damaged"):
            read(tmp_path / "cut.npz")
    (tmp_path / "cut.npz").write_bytes(whole[:200] + bytes(9) + whole[209:])
    with pytest.raises(DataError, match=r"cut\.npz .*it is damaged"):
        read(tmp_path / "cut.npz")


ARRAY = values((7, 8, 9, 10), "u1")


@pytest.mark.parametrize(
    ("array", "channels", "frame", "expected"),
    [
        (ARRAY[0, 0], 1, None, ARRAY[0, 0]),
        (ARRAY[0, 0], 1, "middle", ARRAY[0, 0]),
        (ARRAY[0, :, :, :5], 5, None, ARRAY[0, :, :, :5]),
        (ARRAY[0, :5], 5, None, np.moveaxis(ARRAY[0, :5], 0, 2)),
        (ARRAY[0, :3], 1, None, np.moveaxis(ARRAY[0, :3], 0, 2)),  # grey is made of colours
        (ARRAY[0, :1], 3, None, np.moveaxis(ARRAY[0, :1], 0, 2)),
        (ARRAY[0, :, :1, :3], 3, None, ARRAY[0, :, :1, :3]),
        (ARRAY[0, :1, :, :3], 3, None, ARRAY[0, :1, :, :3]),  # what is exact comes first
        (ARRAY[0, :4], 1, 2, ARRAY[0, 2]),
        (ARRAY[0, :4], 3, -1, ARRAY[0, 3]),
        (ARRAY[0, :4], 1, "middle", ARRAY[0, 2]),
        (ARRAY[0, ..., :4], 1, -1, ARRAY[0, ..., 3]),  # planes last, as they are short
        (ARRAY[0, ..., None], 1, "middle", ARRAY[0, 4, :, :, None]),
        (ARRAY[0, :3], 3, "middle", ARRAY[0, 1]),  # a stack of three planes
        (ARRAY[0, :, :, :3], 3, "middle", ARRAY[0, :, :, :3]),
        (ARRAY[0, :5], 5, 0, np.moveaxis(ARRAY[0, :5], 0, 2)),
        (ARRAY[0, :, :8, :4], 1, "middle", ARRAY[0, :, :8, 2]),  # planes last, below equal sides
        (ARRAY[..., :3], 3, 2, ARRAY[2, ..., :3]),
        (ARRAY[:, :3], 3, "middle", np.moveaxis(ARRAY[3, :3], 0, 2)),
        (ARRAY[:1, ..., :3], 3, None, ARRAY[0, ..., :3]),
    ],
)
def test_axes_are_told_by_channels_and_frame(array, channels, frame, expected):
    np.testing.assert_array_equal(pick_plane(array, channels, frame), expected)


@pytest.mark.parametrize(
    ("shape", "channels", "frame", "message"),
    [
        (
            (30, 64, 60),
            3,
            None,
            r"\(30, 64, 60\), and `images.channels` is 3: .*`--images.channels 30`.*`--images.frame",
        ),
        ((40, 64, 60), 3, None, r"`--images.channels 40`, or save a stack as \(planes, H, W, 1\)"),
        ((3, 64, 3), 3, None, r"\(3, 64, 3\): its channels may be first or last"),
        ((7, 64, 60, 3), 3, None, "it holds 7 frames: select one with `--images.frame middle`"),
        ((7, 64, 60), 1, 7, "it holds 7 frames, and `images.frame` is 7"),
        ((7, 64, 60), 1, -8, "it holds 7 frames, and `images.frame` is -8"),
        ((64, 60), 1, 2, "it holds 1 frame, and `images.frame` is 2"),
        ((50, 64, 60), 1, 0, r"\(50, 64, 60\), and it is unclear which axis counts its planes: save it as"),
        ((64, 60, 50), 1, 0, "it is unclear which axis counts its planes"),
        ((64, 20, 60), 1, 0, "it is unclear which axis counts its planes"),
        ((64, 20, 64), 1, 0, "it is unclear which axis counts its planes"),
        ((64, 64, 64), 1, "middle", "it is unclear which axis counts its planes"),
        ((2, 7, 64, 60, 3), 3, 0, r"its shape is \(2, 7, 64, 60, 3\)"),
    ],
)
def test_axes_that_cannot_be_told_are_one_line(shape, channels, frame, message):
    with pytest.raises(ValueError, match=message):
        pick_plane(np.zeros(shape, "u1"), channels, frame)


@pytest.mark.parametrize("plane", [(40, 40), (40, 41), (40, 60), (60, 40), (40, 79)])
@pytest.mark.parametrize("last", [False, True])
def test_stacks_of_any_number_of_planes_are_read_alike_or_refused(plane, last):
    """The values are the plane's number, so a plane of the wrong axis would hold several."""
    read = 0
    for count in range(4, 400):
        if count in plane:  # as many planes as rows
            continue
        stack = np.broadcast_to(np.arange(count)[:, None, None], (count, *plane))
        stack = np.moveaxis(stack, 0, 2) if last else stack
        try:
            picked = pick_plane(stack, 1, 3)
        except ValueError as error:
            assert "unclear which axis" in str(error)
            continue
        read += 1
        assert picked.shape == plane
        assert (picked == 3).all()
    assert read == 395 if plane[0] == plane[1] else read >= 17


def test_frames_count_from_either_end():
    assert [choose_frame(5, frame) for frame in (0, 4, -1, -5, "middle")] == [0, 4, 4, 0, 2]
    assert choose_frame(1, None) == choose_frame(1, "middle") == 0
