"""Pixels equal Pillow's; files that are not whole images are named; speed costs no more than it says."""

import os
import signal
import socket
import warnings
import zlib

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageCms, ImageOps
from places import SHARED

from imettk.data import decode
from imettk.data.decode import find_fault, read_content
from imettk.data.file_facts import FileFacts
from imettk.data.header import has_broken_profile, read_header
from imettk.data.reader import ImageReader
from imettk.errors import DataError

DATA = SHARED / "data"
RARITIES = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")


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


def smooth(height, width, channels=3):
    return cv2.GaussianBlur(
        cv2.resize(noise(9, 12, channels), (width, height), interpolation=cv2.INTER_CUBIC), (0, 0), 2
    )


def as_pillow(path, mode="RGB", *, orient=True):
    with Image.open(path) as image:
        return np.asarray((ImageOps.exif_transpose(image) if orient else image).convert(mode))


def over(path, colour):
    """What Pillow makes of an image over a background, RGB."""
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image).convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, (*colour, 255)), image).convert("RGB"))


def read(path, channels=3, size=None, **settings):
    """Pixels at their own size, or at `size`."""
    size = size or as_pillow(path).shape[:2]
    return ImageReader(size=size, channels=channels, **settings).read(str(path))


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
    """Both ways, where sides are whole multiples; the fast one by halves."""
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
    with pytest.raises(DataError, match=r"a\.png .*has 4 channels, `images.channels` says 6"):
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
    """A PNG whose header says a width or height of 0, with the checksum that fits."""
    Image.fromarray(noise(10, 12, 3)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[side : side + 4] = bytes(4)
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png"):
        read(tmp_path / "a.png", channels, (8, 8))


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


def test_scans_between_restart_markers_and_comments_are_whole(tmp_path):
    path = tmp_path / "a.jpg"
    for settings in ({"restart_marker_blocks": 2}, {"progressive": True, "comment": b"\xff\xd9" * 9}):
        Image.fromarray(smooth(64, 96)).save(path, **settings)
        assert read_header(path.read_bytes()).whole
        assert not read_header(path.read_bytes()[:-2]).whole


def test_what_follows_a_whole_jpeg_is_no_fault(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(64, 64)).save(path)
    pixels = read(path)
    for tail in (b"\0" * 10, b"\0" * 5000, b"maker's notes" * 100):
        (tmp_path / "b.jpg").write_bytes(path.read_bytes() + tail)
        np.testing.assert_array_equal(read(tmp_path / "b.jpg"), pixels)


@RARITIES
def test_all_odd_images_end_as_the_right_pixels_or_as_a_named_error():
    """`expected.csv` says which files Pillow reads; of those, only floats without a known white are refused."""
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


@RARITIES
def test_the_fast_decoder_only_gets_what_it_decodes_rightly():
    """Every odd file whose header is vouched for: OpenCV and Pillow agree on it, or both refuse it."""
    vouched = 0
    for path in sorted(odd_images().rglob("*.*")):
        header = read_header(path.read_bytes())
        if header is None or not header.whole or path.suffix == ".csv":
            continue
        if header.height * header.width > 1e9:  # OpenCV raises an exception
            continue
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if pixels is not None and "dos" not in path.name:
            vouched += 1
            theirs = as_pillow(path)
            stored = (header.width, header.height) if header.transposed else header[:2]
            assert theirs.shape[:2] == stored, path.name
            if "16" not in path.name:
                np.testing.assert_array_equal(pixels, theirs, err_msg=path.name)
    assert vouched > 35


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
    """4.9 has no flag for RGB."""
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(300, 400)).save(path)
    for size in ((300, 400), (64, 64)):
        now = read(path, channels, size)
        with monkeypatch.context() as older:
            older.setattr(decode, "_RGB", None)
            np.testing.assert_array_equal(read(path, channels, size), now)


def png_with(pixels, *chunks):
    """A PNG with more chunks behind its header."""
    content = cv2.imencode(".png", pixels if pixels.ndim == 2 else pixels[:, :, ::-1])[1].tobytes()
    more = [len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
            for kind, data in chunks]  # fmt: skip
    return content[:33] + b"".join(more) + content[33:]


BROKEN = b"x\0\0" + zlib.compress(b"not a profile" * 20)
GAMMA, CHROMA = (45455).to_bytes(4, "big"), b"".join(value.to_bytes(4, "big") for value in range(30000, 38000, 1000))


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"iCCP", BROKEN)],
        [(b"iCCP", b"no zlib stream")],
        [(b"tIME", b"short"), (b"iCCP", BROKEN), (b"pHYs", b""), (b"tEXt", b"Software\0x")],
        [(b"gAMA", GAMMA), (b"cHRM", CHROMA), (b"iCCP", BROKEN), (b"bKGD", b"\0")],
        [(b"sRGB", b"\0"), (b"zTXt", b"a\0\0damaged")],
    ],
)
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_libpng_says_nothing_and_pixels_are_its_own(tmp_path, capfd, chunks, shape):
    """It takes grey of colours by gAMA, cHRM and sRGB, which stay."""
    path = tmp_path / "a.png"
    path.write_bytes(png_with(noise(*shape), *chunks))
    reference = [cv2.imread(str(path), flag) for flag in (cv2.IMREAD_GRAYSCALE, cv2.IMREAD_COLOR_RGB)]
    assert "libpng warning" in capfd.readouterr().err, "so there is something to be silent of"
    for channels, pixels in zip((1, 3), reference, strict=True):
        facts = FileFacts()
        decoded = ImageReader(size=(20, 30), channels=channels).read(str(path), facts=facts)
        np.testing.assert_array_equal(decoded, pixels.reshape(20, 30, channels))
        assert facts.broken_profiles == any(kind == b"iCCP" for kind, _ in chunks)
    assert capfd.readouterr().err == ""


def test_a_whole_profile_is_not_broken(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(noise(9, 8, 3)).save(tmp_path / "a.png", icc_profile=profile)
    assert not has_broken_profile((tmp_path / "a.png").read_bytes())
    for broken in (profile[:-1], profile.replace(b"acsp", b"acsq"), profile[:100]):
        Image.fromarray(noise(9, 8, 3)).save(tmp_path / "a.png", icc_profile=broken)
        assert has_broken_profile((tmp_path / "a.png").read_bytes())


@pytest.fixture
def no_waiting():
    """Ends a test that would wait for ever, as opening a pipe does."""

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


def test_files_are_read_whole(tmp_path):
    for size in (0, 1, 4096, decode._CHUNK - 1, decode._CHUNK, 3 * decode._CHUNK + 7):
        content = np.random.default_rng(size).bytes(size)
        (tmp_path / "a").write_bytes(content)
        assert read_content(str(tmp_path / "a")) == content
    assert read_content("/proc/self/status").startswith(b"Name:"), "it says that it is empty"
