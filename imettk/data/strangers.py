"""Files with a picture's name that are something else: what they are, and what to do about it."""

from __future__ import annotations

import json
import re

_CONVERT = "write it as a PNG or JPEG"
_UNPACK = "unpack it"
_AGAIN = "fetch the image again"
# (offset, first bytes, what it is, what to do)
_STARTS: tuple[tuple[int, bytes, str, str], ...] = (
    (
        0,
        b"version https://git-lfs",
        "a Git LFS pointer in place of the image",
        "run `git lfs pull` where it comes from",
    ),
    (0, b"%PDF", "a PDF document", _CONVERT),
    (0, b"%!PS", "a PostScript document", _CONVERT),
    (0, b"PK\x03\x04", "a zip archive", _UNPACK),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (0, b"7z\xbc\xaf'\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a rar archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\xff\x0a", "a JPEG XL image, which is not read", _CONVERT),
    (4, b"JXL \r\n\x87\n", "a JPEG XL image, which is not read", _CONVERT),
    (0, b"v/1\x01", "an OpenEXR image, which is not read", "write its numbers as .npy or a TIFF of floats"),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw image, which is not read", _CONVERT),
    (0, b"\x1aE\xdf\xa3", "a video (Matroska or WebM)", "write its frames as images"),
    (8, b"AVI LIST", "a video (AVI)", "write its frames as images"),
    (0, b"\0\0\x01\xba", "a video (MPEG)", "write its frames as images"),
    (8, b"WAVEfmt", "a sound (WAV)", "write a picture of it, such as its spectrogram"),
    (0, b"ID3", "a sound (MP3)", "write a picture of it, such as its spectrogram"),
    (0, b"OggS", "a sound (Ogg)", "write a picture of it, such as its spectrogram"),
    (0, b"fLaC", "a sound (FLAC)", "write a picture of it, such as its spectrogram"),
    (344, b"n+1\0", "a NIfTI volume, which is not read", "write the slice that counts as .npy or PNG"),
    (0, b"MATLAB ", "a MATLAB file, which is not read", "write its array as .npy"),
    (0, b"SQLite format 3\0", "a SQLite database", "write its images as files"),
)
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x80-\xff\x28\x5d\x63\x7d\x8c\x95]")
_TITLE = re.compile(r"<title[^>]*>\s*([^<]*)", re.IGNORECASE)
_PORTABLE = re.compile(r"P[1-7]")  # PBM, PGM, PPM and PAM begin as texts do
_HEAD = 2048  # bytes that are looked at for text
_SHOWN = 60  # characters of a text that are shown


def describe_foreign_file(content: bytes) -> str | None:
    """Return what a file is if it is not an image, and what to do; None if it may be a damaged image.

    Example: `it is an HTML page ("404 Not Found"), as a failed download leaves: fetch the image again`.
    """
    if not content:
        return f"it is empty: {_AGAIN}"
    if not content.strip(b"\0"):
        return f"it holds only zero bytes, as an interrupted copy leaves: {_AGAIN}"
    for offset, start, title, advice in _STARTS:
        if content.startswith(start, offset):
            return f"it is {title}: {advice}"
    if content[4:8] == b"ftyp":
        return _name_media(content[8:12])
    if _PICKLE.match(content):
        return "it is a Python pickle, which may run code and is never read: write it as .npy or PNG"
    return _name_text(content)


def _name_media(brand: bytes) -> str:
    """Return the kind of an ISO media file (ISO/IEC 14496-12) by its brand."""
    if brand in _HEIC:
        return f"it is a HEIC image, as phones write them, which is not read: {_CONVERT}"
    if brand in (b"avif", b"avis"):
        return f"it is an AVIF image, damaged or not supported by this version of Pillow: {_CONVERT}"
    if brand == b"crx ":
        return f"it is a camera's raw image, which is not read: {_CONVERT}"
    return "it is a video (MP4 or QuickTime): write its frames as images"


def _name_text(content: bytes) -> str | None:
    """Return the kind of a text; None if it is not text."""
    # The end of the excerpt may split a character, hence "ignore".
    head = content[:_HEAD].decode("utf-8-sig", "ignore" if len(content) > _HEAD else "replace").strip()
    if (
        not head
        or _PORTABLE.match(head)
        or any(not (letter.isprintable() or letter.isspace()) or letter == "\ufffd" for letter in head)
    ):
        return None
    small = head[:_HEAD].lower()
    shown = " ".join(head.split())[:_SHOWN]
    if "<svg" in small:
        return f"it is an SVG drawing, which has no pixels of its own: {_CONVERT}"
    if small.startswith(("<!doctype html", "<html", "<head", "<body")) or "<html" in small:
        title = _TITLE.search(head)
        named = f' ("{" ".join(title[1].split())[:_SHOWN]}")' if title and title[1].strip() else ""
        return f"it is an HTML page{named}, as a failed download leaves: {_AGAIN}"
    if small.startswith("<"):
        return f"it is XML ({shown}), as a failed download leaves: {_AGAIN}"
    if head[0] in "{[" and _is_json(content):
        return f"it is JSON ({shown}), as a failed download leaves: {_AGAIN}"
    return f"it is text that begins with {shown!r}, not an image"


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True
