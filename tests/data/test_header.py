"""Headers decide the right decoder, and which bytes are removed before decoding."""

import zlib

import cv2
import numpy as np
import pytest
from image_samples import RARITIES, as_pillow, noise, odd_images, smooth
from PIL import Image, ImageCms

from imettk.data.file_facts import FileFacts
from imettk.data.header import has_broken_profile, read_header
from imettk.data.reader import ImageReader


def test_scans_between_restart_markers_and_comments_are_whole(tmp_path):
    path = tmp_path / "a.jpg"
    for settings in ({"restart_marker_blocks": 2}, {"progressive": True, "comment": b"\xff\xd9" * 9}):
        Image.fromarray(smooth(64, 96)).save(path, **settings)
        assert read_header(path.read_bytes()).whole
        assert not read_header(path.read_bytes()[:-2]).whole


@RARITIES
def test_the_fast_decoder_only_gets_what_it_decodes_rightly():
    """For every accepted header, OpenCV and Pillow agree on the file, or both refuse it."""
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


def png_with(pixels, *chunks):
    """Return a PNG with more chunks after its header."""
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
    """Grey depends on gAMA, cHRM and sRGB, which stay."""
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
