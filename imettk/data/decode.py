"""One image file -> uint8 pixels, by the fastest decoder that is right for it; every incomplete file is an error."""

from __future__ import annotations

import io
import os
import stat
import warnings

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from imettk.config.file_kinds import IMAGE_READERS
from imettk.data.arrays import NumberedFrame, choose_frame
from imettk.data.containers import read_member
from imettk.data.depth import FULL_16, Depth, grey_values, is_grey, put_colours, read_colours, read_depth
from imettk.data.file_facts import FileFacts
from imettk.data.header import Header, has_broken_profile
from imettk.data.pixel_values import LARGEST_8, MAX_PIXELS, ValueRange, check_pixels
from imettk.data.strangers import describe_foreign_file
from imettk.errors import DataError

# Without O_NONBLOCK, opening a pipe would wait for a writer.
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CHUNK = 1 << 20
_ORIENTATION = 274  # a tag of TIFF and EXIF
_RGB: int | None = getattr(cv2, "IMREAD_COLOR_RGB", None)  # since OpenCV 4.11: saves a pass that swaps the channels
_REDUCED = {1: 0, 2: 16, 4: 32, 8: 64}  # cv2.IMREAD_REDUCED_*, in the bits that grey and colour have in common


def read_content(path: str, shape: tuple[int, ...] | None = None) -> bytes:
    """Return the bytes of a file, or of an image in a container whose numbers have this shape; see `read_member`.

    Raises:
        DataError: it cannot be read, or is not a regular file.
    """
    try:
        file = os.open(path, _READ)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{path} cannot be read: it is {_kind(status.st_mode)}, not a file")
            content = os.read(file, status.st_size + 1)
            if len(content) != status.st_size:  # interrupted by a signal, or the file is growing
                content = b"".join([content, *iter(lambda: os.read(file, _CHUNK), b"")])
            return content
        finally:
            os.close(file)
    except OSError as error:
        leads_on = isinstance(error, NotADirectoryError | FileNotFoundError)
        if leads_on and (member := read_member(path, shape)) is not None:
            return member
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # a name that no file can have
        raise DataError(f"{path!r} cannot be read: {error}") from None


def _kind(mode: int) -> str:
    """Describe a directory entry that is not a regular file."""
    kinds = {stat.S_ISDIR: "a directory", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
    return next((name for is_kind, name in kinds.items() if is_kind(mode)), "a device")


def decode_fast(
    content: bytes,
    header: Header,
    *,
    channels: int,
    orient: bool,
    reduction: int,
    white: ValueRange | None = None,
    facts: FileFacts | None = None,
) -> np.ndarray:
    """Decode a file that `read_header` accepts with OpenCV, uint8 (H, W, channels).

    Args:
        channels: 1 for grey, 3 for RGB.
        orient: apply the EXIF orientation.
        reduction: 2, 4 or 8 decode a JPEG at a fraction of its size, by computing fewer frequencies; 1 for full size.
        white: the values of black and white in files of more than 8 bits; None takes their upper 8 bits.
        facts: receives the brightness of a file of more than 8 bits.

    Raises:
        ValueError: it cannot be decoded, or may be truncated.
    """
    # Pillow checks what the header leaves open: OpenCV returns half an image without an error.
    if not header.whole and (fault := find_fault(content)):
        raise ValueError(fault)
    flags = _REDUCED[reduction] | (0 if orient else cv2.IMREAD_IGNORE_ORIENTATION)
    scaled = header.deep and white is not None
    wanted = np.frombuffer(_without_spare(content, header, channels), np.uint8)
    pixels = decode_pixels(wanted, channels, flags | (cv2.IMREAD_ANYDEPTH if scaled else 0))
    if pixels is None:
        raise ValueError(find_fault(content) or "it is damaged")
    if facts is not None and header.deep:
        brightest = float(np.max(cv2.imdecode(wanted, cv2.IMREAD_UNCHANGED)))  # type: ignore[arg-type]
        facts.note_brightness(brightest, white or ValueRange(0, FULL_16))
    if white is None:
        return pixels
    return white.scale(pixels) if scaled else white.scale_eight_bits(pixels)


def _without_spare(content: bytes, header: Header, channels: int) -> bytes:
    """Return a file without the chunks that a decoder might complain about; its pixels stay the same."""
    spare = header.spare
    # A valid profile is kept for grey, where libpng may use it; for RGB OpenCV ignores it anyway.
    if header.profile is not None and (channels != 1 or has_broken_profile(content)):
        spare = tuple(sorted((*spare, header.profile)))
    if not spare:
        return content
    starts, ends = [0, *(end for _, end in spare)], [*(start for start, _ in spare), len(content)]
    return b"".join(content[start:end] for start, end in zip(starts, ends, strict=True))


def decode_pixels(content: np.ndarray, channels: int, flags: int = 0) -> np.ndarray | None:
    """Decode with OpenCV to uint8 (H, W, channels), grey for 1 channel, otherwise RGB; None if it fails.

    Args:
        content: uint8 (bytes,).
        flags: further `IMREAD_*` flags of OpenCV.
    """
    if channels == 1:
        pixels = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE | flags)
        return None if pixels is None else pixels[:, :, None]
    if _RGB is not None:
        return cv2.imdecode(content, _RGB | flags)
    pixels = cv2.imdecode(content, cv2.IMREAD_COLOR | flags)
    return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def decode_any(
    content: bytes,
    *,
    channels: int,
    orient: bool,
    background: tuple[int, ...],
    max_pixels: int,
    white: ValueRange | None = None,
    frame: NumberedFrame = None,
    facts: FileFacts | None = None,
) -> np.ndarray:
    """Decode any other file with Pillow at full size, uint8 (H, W, channels).

    Args:
        channels: 1 for grey and 3 for RGB, both over `background` if the file is transparent; any other number must be
            the file's own, and its channels are kept.
        white: the values of black and white in files of more than 8 bits; None takes the file's own, or 16 bits.
        frame: frame of an animation or page to decode; None takes the first.
        facts: receives the brightness of a file of more than 8 bits.

    Raises:
        ValueError: it cannot be decoded, is larger than `max_pixels`, or its white value is unknown.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            _seek(image, frame)
            check_pixels(image.width, image.height, max_pixels)
            depth = None if white is None and facts is None else read_depth(image, content)
            stored = image.tag_v2.get(_ORIENTATION, 1) if isinstance(image, TiffImageFile) else 1  # `load` drops it
            image.load()
            if depth is not None and depth.white > 255:
                _treat_depth(image, content, depth, white, facts)
            # A TIFF may have 12 bits, which Pillow leaves in the lower part of 16.
            bits = image.tag_v2.get(258, (16,))[0] if isinstance(image, TiffImageFile) else 16
            upright = _oriented(image) if orient else _as_stored(image, stored)
            if white is not None and depth is not None and is_grey(upright) and channels in (1, 3):
                grey = white.scale(grey_values(upright, depth))
                return np.repeat(grey[:, :, None], channels, 2)
            known = channels in (1, 3)
            pixels = _eight_bit(upright, channels, background, bits) if known else _unchanged(upright, channels)
            deep = depth is None or depth.white > LARGEST_8
            return pixels if white is None or deep else white.scale_eight_bits(pixels)
    except Image.DecompressionBombError:
        raise ValueError(f"it has more than {MAX_PIXELS} pixels, Pillow's limit") from None
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # Pillow raises SyntaxError, struct.error and others besides OSError
        raise ValueError(_describe_error(error, content)) from None


def decode_numbers(content: bytes, frame: NumberedFrame = None) -> np.ndarray:
    """Return the unscaled values of a picture, (H, W) or (H, W, channels); for a palette, its colours.

    Args:
        frame: see `decode_any`.

    Raises:
        ValueError: it cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            _seek(image, frame)
            depth = read_depth(image, content)
            image.load()
            if depth.white > LARGEST_8 and is_grey(image):
                return grey_values(image, depth)
            colours = read_colours(image, content) if depth.white > LARGEST_8 else None
            if colours is None:
                colours = np.asarray(image.convert("RGB") if image.mode in ("P", "PA") else image)
            return colours[:, :, :-1] if image.mode in ("RGBA", "LA") else colours  # alpha is not brightness
    except Exception as error:  # Pillow raises SyntaxError, struct.error and others besides OSError
        raise ValueError(_describe_error(error, content)) from None


def _seek(image: Image.Image, frame: NumberedFrame) -> None:
    """Go to the selected frame or page; without a selection it is the first."""
    if frame is not None:
        image.seek(choose_frame(getattr(image, "n_frames", 1), frame))


def _treat_depth(
    image: Image.Image, content: bytes, depth: Depth, white: ValueRange | None, facts: FileFacts | None
) -> None:
    """Record in `facts` how bright a deep image is; with `white`, scale its colours in place."""
    known = white or ValueRange(0, depth.white)
    if is_grey(image):
        if facts is not None:
            facts.note_brightness(float(np.max(grey_values(image, depth))), known)
        return
    values = read_colours(image, content)
    if values is not None and facts is not None:
        facts.note_brightness(float(values[:, :, :3].max()), known)
    if values is not None and white is not None:
        put_colours(image, values, white)
    elif white is not None:
        raise ValueError(
            f"only 8 bits of its channels can be read ({image.mode}), so `images.white` cannot scale it: convert it to "
            "a 16-bit PNG"
        )


def check_size(header: Header, max_pixels: int) -> None:
    """Raise ValueError if an image has no pixels, or more than the limit."""
    check_pixels(header.width, header.height, max_pixels)


def is_image(path: str) -> bool:
    """Return whether a file can be decoded, whatever its name; non-image formats are judged by their first bytes."""
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            image.load()
    except Exception:  # Pillow raises SyntaxError, struct.error and others besides OSError
        return _begins_as_numbers(path)
    return True


def _begins_as_numbers(path: str) -> bool:
    """Return whether a file begins like a format with its own row in IMAGE_READERS."""
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError:
        return False
    return any(kind.is_start(head) for kind in IMAGE_READERS.values())


def find_fault(content: bytes) -> str | None:
    """Return why these bytes are no complete image, or None; slower than OpenCV, which may return half an image."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except Exception as error:
        return _describe_error(error, content)
    return None


def _oriented(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF is common and no reason to refuse an image
        return image


def _as_stored(image: Image.Image, orientation: int) -> Image.Image:
    """Undo the orientation that Pillow applied to a TIFF when it loaded it; the tag itself is gone by then."""
    exif = image.getexif()
    if orientation == 1 or _ORIENTATION in exif:
        return image
    exif[_ORIENTATION] = {6: 8, 8: 6}.get(orientation, orientation)  # all others are their own inverse
    return _oriented(image)


def _eight_bit(image: Image.Image, channels: int, background: tuple[int, ...], bits: int) -> np.ndarray:
    if image.mode.startswith("I"):  # 16 bits, in one of several modes; Pillow's `convert` would clip values above 255
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(
                "its values exceed 16 bits, so its white value is unknown: set `images.white`, or convert it"
            )
        return np.repeat((values >> (bits - 8 if 8 < bits < 16 else 8)).astype(np.uint8)[:, :, None], channels, 2)
    if image.mode == "F":
        raise ValueError("its values are floats, so its white value is unknown: set `images.white`, or convert it")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        colour = background * 3 if len(background) == 1 else background[:3]
        below = Image.new("RGBA", image.size, (*colour, 255))
        image = Image.alpha_composite(below, image.convert("RGBA"))
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels[:, :, None] if channels == 1 else pixels


def _unchanged(image: Image.Image, channels: int) -> np.ndarray:
    pixels = np.asarray(image)
    has = 1 if pixels.ndim == 2 else pixels.shape[2]
    if has != channels:
        raise ValueError(f"it has {has} channel{'s' if has > 1 else ''}, but `images.channels` is {channels}")
    return pixels


def _describe_error(error: Exception, content: bytes) -> str:
    """Return one line about why a file cannot be read; name what it is instead if that is recognised."""
    if isinstance(error, UnidentifiedImageError) and (stranger := describe_foreign_file(content)):
        return stranger
    text = " ".join(str(error).split())
    # Pillow names the object that it was given, whose address is useless.
    return text.split(" <_io.BytesIO")[0] or type(error).__name__
