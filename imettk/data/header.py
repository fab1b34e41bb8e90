"""The first and last bytes of an image file, read without decoding: enough to choose the decoder.

OpenCV is the fast decoder, but it returns pixels for some truncated files, drops alpha, and knows fewer formats and
fewer places of an orientation than Pillow. So it gets only files that this module accepts; Pillow decodes the rest.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple


class Header(NamedTuple):
    """A file that OpenCV decodes correctly.

    Attributes:
        height: in pixels, as stored.
        width: as stored.
        transposed: its EXIF orientation swaps height and width.
        reducible: decoding at 1/2, 1/4 or 1/8 of its size saves time.
        whole: its end was found; otherwise it may be truncated, or something else follows the image.
        deep: it has more than 8 bits per channel.
        spare: byte ranges (from, to) without influence on the pixels, about which OpenCV's decoders may complain.
        profile: byte range of a colour profile in a colour image; it may change the conversion to grey.
    """

    height: int
    width: int
    transposed: bool
    reducible: bool
    whole: bool
    deep: bool = False
    spare: tuple[tuple[int, int], ...] = ()
    profile: tuple[int, int] | None = None


def read_header(content: bytes) -> Header | None:
    """Return the header of a JPEG, PNG or WebP without alpha or other rarities; None for anything else or damaged."""
    try:
        if content.startswith(b"\xff\xd8\xff"):
            return _read_jpeg(content)
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            return _read_png(content)
        if content.startswith(b"RIFF") and content[8:16] == b"WEBPVP8 ":
            return _read_webp(content)
    except (struct.error, IndexError):  # truncated within its header
        pass
    return None


# Start-of-frame markers; 0xC4, 0xC8 and 0xCC in that range mean something else (ITU-T T.81, table B.1).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EXIF_START = b"Exif\0\0"
# Segments that may stand between scans (tables, comments, application data), and the end of a scan (same, B.1.1).
_BETWEEN_SCANS = frozenset((0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)))
_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def _read_jpeg(content: bytes) -> Header | None:
    """Walk the segments up to the frame; accept grey and YCbCr: four components are CMYK, which Pillow converts."""
    at, transposed = 2, False
    while content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        (length,) = struct.unpack_from(">H", content, at + 2)
        if marker == 0xE1 and content.startswith(_EXIF_START, at + 4):
            transposed = _orientation(content[at + 4 + len(_EXIF_START) : at + 2 + length]) >= 5
        if marker in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", content, at + 5)
            if components not in (1, 3) or 0 in (height, width):
                return None
            return Header(height, width, transposed, True, _ends_rightly(content, at + 2 + length))
        at += 2 + length
    return None


def _ends_rightly(content: bytes, at: int) -> bool:
    """Return whether only scans and their tables follow, up to the end of the image.

    Within a scan 0xFF is followed by 0 (a literal 0xFF) or by a restart marker. Anything else means that bytes were
    lost or changed, and OpenCV would make up the rest of the image.
    """
    while content[at] == 0xFF and content[at + 1] in _BETWEEN_SCANS:
        (length,) = struct.unpack_from(">H", content, at + 2)
        in_scan, at = content[at + 1] == 0xDA, at + 2 + length
        if in_scan:
            end = _SCAN_END.search(content, at)
            if end is None:
                return False
            at = end.start()
    return content[at : at + 2] == b"\xff\xd9"


def _orientation(tiff: bytes) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none (tag 0x0112 of IFD 0, CIPA DC-008)."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, at)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, at + 2 + 12 * entry)
            if tag == 0x0112:
                return int(value)
    except struct.error:  # broken EXIF is common and no reason to refuse an image
        pass
    return 1


# Chunks of a PNG that has alpha (tRNS), is animated (acTL) or may have an orientation (eXIf).
_PNG_RARITIES = (b"tRNS", b"acTL", b"eXIf")
# Ancillary chunks that are kept: libpng's conversion of colours to grey uses them, or they hold frames of animations.
_PNG_KEPT = (b"gAMA", b"cHRM", b"sRGB", b"fcTL", b"fdAT")
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PNG_PROFILES = (b"Raw profile type", b"XML:com.adobe.xmp")
_LONGEST_PROFILE = 8_000_000  # bytes; libpng's own limit
_LOWER = 0x20  # bit of a chunk's first letter: ancillary, so decoders may ignore it (PNG, 5.4)


def _read_png(content: bytes) -> Header | None:
    """Walk all chunks to the last; accept grey, RGB and palette without alpha.

    Most ancillary chunks are spare: OpenCV takes nothing from them, but libpng prints a line for each broken one,
    every time the file is decoded.
    """
    width, height = struct.unpack_from(">II", content, 16)  # IHDR is always the first chunk
    if content[25] not in (0, 2, 3) or 0 in (height, width):
        return None
    at, end, whole = 8, len(content), False
    spare, profile = [], None
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind[0] & _LOWER:
            if kind in _PNG_RARITIES or (kind in _PNG_TEXTS and content.startswith(_PNG_PROFILES, at + 8)):
                return None
            if kind == b"iCCP" and content[25] != 0:
                profile = (at, at + length + 12)
            elif kind not in _PNG_KEPT:
                spare.append((at, at + length + 12))
        at += length + 12
        if kind == b"IEND":
            whole = at <= end
            break
    return Header(height, width, False, False, whole, content[24] == 16, tuple(spare), profile)


def has_broken_profile(content: bytes) -> bool:
    """Return whether a PNG has an invalid colour profile."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return False
    at = 8
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"iCCP":
            return not _holds_profile(content[at + 8 : at + 8 + length])
        if kind in (b"IDAT", b"IEND"):
            return False
        at += length + 12
    return False


def _holds_profile(chunk: bytes) -> bool:
    """Return whether a profile has a name, its stated length, and the signature (PNG, 11.3.3.3; ICC.1, 7.2)."""
    name, _, packed = chunk.partition(b"\0")
    try:
        profile = zlib.decompressobj().decompress(packed[1:], _LONGEST_PROFILE)
    except zlib.error:
        return False
    return name != b"" and len(profile) == int.from_bytes(profile[:4], "big") and profile[36:40] == b"acsp"


def _read_webp(content: bytes) -> Header | None:
    """Accept a lossy WebP without extensions: no alpha, no animation, no EXIF (RFC 9649, section 2.5)."""
    (size,), (length,) = struct.unpack_from("<I", content, 4), struct.unpack_from("<I", content, 16)
    width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", content, 26))
    if 0 in (height, width):
        return None
    return Header(height, width, False, False, len(content) >= size + 8 and size == 12 + length + length % 2)
