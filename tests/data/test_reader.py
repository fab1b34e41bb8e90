"""Images of every size, number of channels, orientation and depth are read as Pillow and OpenCV read them."""

import os
import signal
import socket
import zlib

import cv2
import numpy as np
import pytest
from image_samples import as_pillow, noise, over, photos, read, smooth
from PIL import Image

from imettk.data.reader import ImageReader
from imettk.errors import DataError


@pytest.mark.parametrize(("channels", "shape"), [(1, (20, 30)), (3, (20, 30, 3))])
def test_png_is_exact(tmp_path, channels, shape):
    path, pixels = tmp_path / "ä b.png", noise(*shape)
    Image.fromarray(pixels).save(path)
    decoded = read(path, channels)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels.reshape(20, 30, channels))


def test_grey_png_as_rgb_repeats_its_channel(tmp_path):
    Image.fromarray(noise(9, 8)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png"), np.repeat(noise(9, 8)[:, :, None], 3, 2))


@pytest.mark.parametrize("fast", [True, False])
def test_shrinking_is_the_mean_of_the_pixels_that_fall_together(tmp_path, fast):
    """Both methods, at whole factors; the fast one at halves."""
    pixels = noise(32, 64, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    decoded = read(tmp_path / "a.png", size=(8, 16), fast_resize=fast)
    means = pixels.reshape(8, 4, 16, 4, 3).mean((1, 3))
    assert np.abs(decoded - means).max() <= (1.0 if fast else 0.51)


def test_a_slow_resize_that_shrinks_one_way_and_grows_the_other(tmp_path):
    pixels = noise(40, 10, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    decoded = read(tmp_path / "a.png", size=(10, 20), fast_resize=False)
    means = pixels.reshape(10, 4, 10, 3).mean(1)
    theirs = np.asarray(Image.fromarray(means.round().astype(np.uint8)).resize((20, 10), Image.Resampling.BILINEAR))
    assert np.abs(decoded - theirs.astype(int)).max() <= 2


@pytest.mark.parametrize("fast", [True, False])
def test_enlarging_is_bilinear(tmp_path, fast):
    pixels = noise(8, 10)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    decoded = read(tmp_path / "a.png", 1, (16, 30), fast_resize=fast)
    theirs = np.asarray(Image.fromarray(pixels).resize((30, 16), Image.Resampling.BILINEAR), np.int64)
    assert np.abs(decoded[:, :, 0] - theirs).max() <= 2


def test_real_jpegs_are_close_to_pillow():
    for path in photos(4):
        for channels, mode in ((3, "RGB"), (1, "L")):
            theirs = as_pillow(path, mode)
            difference = np.abs(read(path, channels) - theirs.reshape(*theirs.shape[:2], -1).astype(np.int64))
            assert difference.mean() < 1.0, path


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("target", [(64, 64), (100, 60), (160, 120)])
def test_reduced_decoding_stays_close_and_off_it_is_exact(tmp_path, channels, target):
    mode, flag = ("L", cv2.IMREAD_GRAYSCALE) if channels == 1 else ("RGB", cv2.IMREAD_COLOR_RGB)
    for number, path in enumerate(photos(6)):
        large = tmp_path / f"{number}.jpg"
        Image.fromarray(as_pillow(path, mode)).resize((900, 700)).save(large, quality=90, progressive=number % 2 == 1)
        full = cv2.resize(cv2.imread(str(large), flag), target[::-1], interpolation=cv2.INTER_AREA)
        full = full.reshape(*target, channels).astype(np.int64)
        off = np.abs(read(large, channels, target) - full)
        assert 0 < off.mean() < 5, "reduced, and fast"  # enlarged photos, shrunk by 11: the hardest case
        off = np.abs(read(large, channels, target, fast_resize=False) - full)
        assert 0 < off.mean() < 5, "reduced"
        np.testing.assert_array_equal(read(large, channels, target, fast_resize=False, reduce=False), full)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_exif_orientation_is_applied_unless_it_is_switched_off(tmp_path, orientation, kind):
    pixels = np.kron(noise(4, 6, 3), np.ones((16, 16, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{kind}"
    Image.fromarray(pixels).save(path, quality=95, exif=exif)
    theirs = as_pillow(path)
    assert theirs.shape[:2] == ((64, 96) if orientation < 5 else (96, 64))
    assert np.abs(read(path) - theirs.astype(np.int64)).mean() < 1.0
    assert np.abs(read(path, size=(64, 96), orient=False) - pixels.astype(np.int64)).mean() < 6.0
    # Reduced, the orientation decides which side is which.
    half = tuple(side // 4 for side in theirs.shape[:2])
    small = cv2.resize(theirs, half[::-1], interpolation=cv2.INTER_AREA).astype(np.int64)
    assert np.abs(read(path, size=half) - small).mean() < 3.0


def test_alpha_lies_over_the_chosen_background(tmp_path):
    pixels = noise(12, 10, 4)
    for name, image in {
        "rgba.png": Image.fromarray(pixels),
        "la.png": Image.merge("LA", [Image.fromarray(pixels[:, :, 0]), Image.fromarray(pixels[:, :, 3])]),
        "rgba.webp": Image.fromarray(pixels),
        "p.gif": Image.fromarray(pixels[:, :, 0]).convert("P"),
    }.items():
        options = {"lossless": True} if name.endswith("webp") else {}
        image.save(tmp_path / name, **(options | ({"transparency": 7} if name == "p.gif" else {})))
        for background, colour in (((0,), (0, 0, 0)), ((200,), (200, 200, 200)), ((10, 20, 30), (10, 20, 30))):
            decoded = read(tmp_path / name, background=background)
            np.testing.assert_array_equal(decoded, over(tmp_path / name, colour), err_msg=name)


def test_sixteen_bits_keep_their_upper_half(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (14, 12, 3), np.uint16)
    for suffix in ("png", "tif"):
        path = tmp_path / f"a.{suffix}"
        cv2.imwrite(str(path), values[:, :, 0])
        np.testing.assert_array_equal(read(path, 1)[:, :, 0], values[:, :, 0] >> 8)
        np.testing.assert_array_equal(read(path), np.repeat((values[:, :, :1] >> 8), 3, 2))
    cv2.imwrite(str(tmp_path / "b.png"), values[:, :, ::-1])
    np.testing.assert_array_equal(read(tmp_path / "b.png"), values >> 8)


def test_cmyk_is_as_pillow_converts_it(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(40, 56)).convert("CMYK").save(path, quality=95)
    np.testing.assert_array_equal(read(path), as_pillow(path))


def test_an_animation_is_its_first_frame_and_a_wrong_extension_is_no_matter(tmp_path):
    frames = [Image.fromarray(smooth(20, 30)).rotate(angle) for angle in (0, 90, 180)]
    for name, kind in (("a.gif", "GIF"), ("a.webp", "WEBP"), ("a.png", "PNG"), ("b.jpg", "PNG")):
        path = tmp_path / name
        frames[0].save(path, kind, save_all=True, append_images=frames[1:])
        theirs = as_pillow(path)
        assert np.abs(read(path) - theirs.astype(np.int64)).max() <= (1 if kind == "WEBP" else 0), name


def test_several_grey_files_are_one_image(tmp_path):
    planes = noise(4, 10, 12)
    names = ("red", "green", "blue", "yellow")
    for name, plane in zip(names, planes, strict=True):
        Image.fromarray(plane).save(tmp_path / f"x_{name}.png")
    reader = ImageReader(size=(10, 12), channels=4, channel_files=names)
    np.testing.assert_array_equal(reader.read(str(tmp_path / "x_*.png")), planes.transpose(1, 2, 0))
    (tmp_path / "x_blue.png").unlink()
    with pytest.raises(DataError, match=r"x_blue\.png cannot be read: No such file"):
        reader.read(str(tmp_path / "x_*.png"))


def test_a_file_with_two_or_four_channels_and_one_with_too_few(tmp_path):
    pixels = noise(10, 12, 4)
    for name, planes in (("a.png", pixels), ("la.png", pixels[:, :, :2])):
        Image.fromarray(planes).save(tmp_path / name)
        np.testing.assert_array_equal(read(tmp_path / name, planes.shape[2]), planes)
    Image.fromarray(pixels, "CMYK").save(tmp_path / "cmyk.tif")
    np.testing.assert_array_equal(read(tmp_path / "cmyk.tif", 4), pixels)
    values = np.random.default_rng(0).integers(0, 65536, (10, 12, 4), np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), values[:, :, [2, 1, 0, 3]])
    np.testing.assert_array_equal(read(tmp_path / "deep.png", 4), values >> 8)
    with pytest.raises(DataError, match=r"a\.png .*has 4 channels, but `images.channels` is 6"):
        read(tmp_path / "a.png", 6)
    with pytest.raises(DataError, match="truncated"):
        content = (tmp_path / "a.png").read_bytes()
        (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
        read(tmp_path / "a.png", 4, (10, 12))


def test_four_channels_are_turned_as_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = noise(10, 12, 4)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "a.png", 4, (12, 10)), np.rot90(pixels, -1))
    np.testing.assert_array_equal(read(tmp_path / "a.png", 4, (10, 12), orient=False), pixels)


@pytest.mark.parametrize("side", [16, 20])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_image_without_pixels_is_named(tmp_path, side, channels):
    """The PNG's header has a width or height of 0, with a valid checksum."""
    Image.fromarray(noise(10, 12, 3)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[side : side + 4] = bytes(4)
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png"):
        read(tmp_path / "a.png", channels, (8, 8))


@pytest.fixture
def no_waiting():
    """End a test that would wait for ever, as opening a pipe does."""

    def end(*_):
        raise TimeoutError("it still waits after two minutes")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_what_is_no_file_is_named_and_never_waited_for(tmp_path, no_waiting, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "device.png").symlink_to("/dev/zero")  # which has no end
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
        for name, why in {
            "pipe.png": "it is a pipe, not a file",
            "folder.png": "it is a directory, not a file",
            "device.png": "it is a device, not a file",
            "gone.png": "No such file or directory",
            "socket.png": "No such device or address",
            "null\0.png": "embedded null",
        }.items():
            with pytest.raises(DataError, match=rf"cannot be read: {why}"):
                read(tmp_path / name, size=(8, 8))


def test_a_pipe_that_somebody_writes_into_is_no_image_either(tmp_path, no_waiting):
    Image.fromarray(noise(8, 8)).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    writer = os.open(tmp_path / "pipe.png", os.O_RDWR)
    os.write(writer, (tmp_path / "a.png").read_bytes())
    with pytest.raises(DataError, match="a pipe, not a file"):
        read(tmp_path / "pipe.png", size=(8, 8))
    os.close(writer)
