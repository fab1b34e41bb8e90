"""Files that are not images are named as what they are; damaged images keep their own fault."""

import gzip
import io
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
from image_samples import odd_images
from PIL import Image, features

from imettk.data.decode import find_fault
from imettk.data.reader import ImageReader
from imettk.data.strangers import describe_foreign_file
from imettk.errors import DataError


def archive(kind):
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as out:
            out.writestr("a.png", b"1234")
    else:
        with tarfile.open(fileobj=file, mode="w") as out:
            out.addfile(tarfile.TarInfo("a.png"))
    return file.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html><html><head><title>\n 404  Not Found</title></head><body>No such file</body></html>"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "is empty: fetch the image again"),
        (bytes(500), "only zero bytes"),
        (LFS, "a Git LFS pointer in place of the image: run `git lfs pull`"),
        (PAGE, r'an HTML page \("404 Not Found"\), as a failed download leaves'),
        (b"<html><body>Forbidden</body></html>", "an HTML page, as a failed download leaves"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", r"XML \(.*AccessDenied"),
        (b'{"error": "quota exceeded"}', r'JSON \(\{"error": "quota exceeded"\}\)'),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'></svg>", "an SVG drawing"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "a PDF document"),
        (archive("zip"), "a zip archive: unpack it"),
        (archive("tar"), "a tar archive: unpack it"),
        (gzip.compress(b"1234", mtime=0), "a gzip archive: unpack it"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image, as phones write them"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heif", "a HEIC image, as phones write them"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp41", "a video"),
        (b"RIFF\x24\0\0\0AVI LIST", "a video"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01", "a video"),
        (b"id,label\n1,cat\n2,dog\n", "text that begins with 'id,label 1,cat 2,dog'"),
        ("größe;ä\n".encode() * 900, "text that begins with 'größe;ä"),
        (pickle.dumps({"a": 1}), "a Python pickle, which may run code"),
        (pickle.dumps(np.zeros(3)), "a Python pickle, which may run code"),
        (bytes(344) + b"n+1\0" + b"1234", "a NIfTI volume"),
    ],
)
def test_a_stranger_is_named_and_what_to_do(tmp_path, content, name):
    for ending in (".jpg", ".png", ".dcm", ".tif", *([".npz"] if b"PK" not in content[:2] else [])):
        path = tmp_path / f"a{ending}"
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"a\{ending} \({len(content)} bytes\): it .*{name}") as raised:
            ImageReader(size=(8, 8)).read(str(path))
        assert "\n" not in str(raised.value)


def test_images_and_damaged_ones_are_no_strangers(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    for kind in ("png", "jpeg", "webp", "bmp", "tiff", "gif", "ppm"):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind)
        whole = file.getvalue()
        assert describe_foreign_file(whole) is None
        assert describe_foreign_file(whole[: len(whole) // 2]) is None
    noise = bytes(np.random.default_rng(0).integers(0, 256, 500).astype(np.uint8))
    assert describe_foreign_file(noise) is None
    assert find_fault(noise) == "cannot identify image file"


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_an_image_of_a_kind_that_is_read_has_its_own_fault(tmp_path):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3)).astype(np.uint8)).save(file, "avif")
    assert find_fault(file.getvalue()) is None
    assert "version of Pillow" in describe_foreign_file(file.getvalue())  # were it not for Pillow
    (tmp_path / "a.avif").write_bytes(file.getvalue())
    with pytest.raises(DataError, match=r"a\.avif .*: it has 90 x 90 pixels, more than the limit of 80"):
        ImageReader(size=(8, 8), max_pixels=80).read(str(tmp_path / "a.avif"))
    assert "version of Pillow" not in str(find_fault(file.getvalue()[:-9]))


def test_real_odd_files_keep_their_faults():
    folder = odd_images()
    for name, fault in (
        ("libvips/logo.svg", "an SVG drawing"),
        ("made_here/zero_byte.jpg", "it is empty"),
        ("libvips/sample.exr", "an OpenEXR image"),
        ("libvips/truncated.gif", "truncated"),
        ("sharp/truncated.png", "truncated"),
        ("pillow/negative_size.ppm", "cannot identify"),
    ):
        assert fault in str(find_fault((folder / name).read_bytes())), name
