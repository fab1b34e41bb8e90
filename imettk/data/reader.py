"""Image files -> pixels of one size; everything that reads images (loaders, cache, duplicates) reads here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np

from imettk.config.choices import READERS, Choice
from imettk.config.file_kinds import image_kind
from imettk.config.own import Own, describe
from imettk.data.decode import (
    check_size,
    decode_any,
    decode_fast,
    decode_numbers,
    read_content,
)
from imettk.data.file_facts import FileFacts
from imettk.data.framing import Aspect, Frame, frame_image
from imettk.data.header import Header, has_broken_profile, read_header
from imettk.data.pixel_values import LARGEST_8, MAX_PIXELS, PixelValues, ValueRange, check_pixels, to_pixels
from imettk.errors import DataError

PIXELS_VERSION = 2  # raised when the same settings give other pixels, so that caches are rebuilt


@dataclass(frozen=True, kw_only=True)
class ImageReader:
    """Reads images as uint8 of one size.

    Attributes:
        size: (height, width) of the result, in pixels.
        channels: 1 for grey, 3 for RGB; others for several grey files as one image, or a file with so many channels.
        channel_files: replacements of `*` in a path, one per channel; empty if an image is one file.
        aspect: see `frame_image`.
        aspect_limit: see `frame_image`.
        box_margin: margin on each side of a box, in percent of the box.
        boxes_relative: boxes are fractions of the image's width and height, not pixels.
        background: value behind transparent pixels and around padded images, one or one per channel.
        orient: apply the orientation of EXIF, or of a TIFF's own tag.
        reduce: decode a large JPEG at 1/2, 1/4 or 1/8 as long as no side falls below the wanted size.
        fast_resize: see `resize`.
        max_pixels: larger images are refused before they are decoded.
        white: values of black and white in files of more than 8 bits per channel; None takes each file's own.
        frame: frame of a file that holds several; see `images.frame`.
        pixel_shape: shape of images stored as flat rows of numbers; see `table.pixel_shape`.
        decoder: decoder of files: a row of READERS, or a user's own.
    """

    size: tuple[int, int]
    channels: int = 3
    channel_files: tuple[str, ...] = ()
    aspect: Aspect = "stretch"
    aspect_limit: float = 1.0
    box_margin: float = 0.0
    boxes_relative: bool = False
    background: tuple[int, ...] = (0,)
    orient: bool = True
    reduce: bool = True
    fast_resize: bool = True
    max_pixels: int = MAX_PIXELS
    white: ValueRange | None = None
    frame: int | Literal["middle"] | None = None
    pixel_shape: tuple[int, ...] | None = None
    decoder: Choice = READERS["files"]

    def read(
        self, path: str, *, box: np.ndarray | None = None, turned: bool = False, facts: FileFacts | None = None
    ) -> np.ndarray:
        """Read one image, uint8 (height, width, channels).

        Args:
            box: (left, top, right, bottom), float (4,); NaN or None is the whole image.
            turned: turn the result by 180 degrees.
            facts: receives facts about its files, which takes time.

        Raises:
            DataError: the file is missing, damaged or too large, or its box lies outside; the message names it.
        """
        if self.channel_files:
            paths = [path.replace("*", name) for name in self.channel_files]
            pixels = np.concatenate([self._open(file, 1, box, facts=facts) for file in paths], axis=2)
        else:
            pixels = self._open(path, self.channels, box, facts=facts)
        return np.ascontiguousarray(pixels[::-1, ::-1]) if turned else pixels

    def read_whole(self, path: str, *, facts: FileFacts | None = None) -> np.ndarray:
        """Read all pixels of an image at its own size, uint8 (H, W, channels); see `read`."""
        if self.channel_files:
            paths = [path.replace("*", name) for name in self.channel_files]
            return np.concatenate([self._open(file, 1, None, whole=True, facts=facts) for file in paths], axis=2)
        return self._open(path, self.channels, None, whole=True, facts=facts)

    def read_numbers(self, path: str) -> np.ndarray:
        """Return all numbers in an image's files, of any type and shape, before scaling to 8 bits.

        Raises:
            DataError: see `read`.
        """
        if self.channel_files:
            files = [path.replace("*", name) for name in self.channel_files]
            return np.concatenate(
                [replace(self, channel_files=(), channels=1).read_numbers(file).ravel() for file in files]
            )
        if (decode := self.decoder.load()) is not None:
            return self._call_own(decode, path, self.channels).numbers
        content = read_content(path, self.pixel_shape)
        try:
            values = self.read_values(content, path, self.channels, as_shown=False)
            return decode_numbers(content, self.frame) if values is None else values.numbers
        except ValueError as error:
            raise DataError(f"{path} ({len(content)} bytes): {error}") from None

    def settings(self) -> dict[str, Any]:
        """Return everything that determines the pixels as JSON values, for the key of a cache."""
        settings = {"version": PIXELS_VERSION, **asdict(self)}
        # Settings at their defaults are left out: a new option must not change the keys of existing caches.
        for name in ("white", "frame", "pixel_shape"):
            if getattr(self, name) is None:
                del settings[name]
        if self.white is not None:
            settings["white"] = self.white.setting()
            if self.white.white <= LARGEST_8:  # earlier versions applied it only to deeper images
                settings["eight_bits"] = True
        del settings["decoder"]
        if isinstance(own := self.decoder.make, Own):
            settings["decoder"] = {"name": own.name, "code": own.code()}
        return settings

    def _open(
        self,
        path: str,
        channels: int,
        box: np.ndarray | None,
        *,
        whole: bool = False,
        facts: FileFacts | None = None,
    ) -> np.ndarray:
        if (decode := self.decoder.load()) is not None:
            pixels = self._decode_own(decode, path, channels, facts)
            return pixels if whole else self._fit_whole(pixels, box)
        content = read_content(path, self.pixel_shape)
        if facts is not None and has_broken_profile(content):
            facts.broken_profiles = 1
        try:
            values = self.read_values(content, path, channels, as_shown=self.white is None)
            if values is None:
                return self._decode(content, channels, box, whole, facts)
            pixels = to_pixels(values, channels, self.white, facts=facts)
            return pixels if whole else self._fit_whole(pixels, box)
        except ValueError as error:
            raise DataError(f"{path} ({len(content)} bytes): {error}") from None
        except (cv2.error, MemoryError) as error:
            raise DataError(f"{path} ({len(content)} bytes): {' '.join(str(error).split())}") from None

    def read_values(self, content: bytes, path: str, channels: int, *, as_shown: bool) -> PixelValues | None:
        """Return the values of a file in a format of its own; None if it is an ordinary picture.

        Args:
            as_shown: use the file's black and white instead of `images.white`.

        Raises:
            DataError: the library for the format is not installed.
            ValueError: it cannot be read.
        """
        kind = image_kind(content, path)
        if kind is None:
            return None
        values: PixelValues | None = kind.read(
            path, content, channels=channels, frame=self.frame, as_shown=as_shown, max_pixels=self.max_pixels
        )
        return values.upright() if values is not None and self.orient else values

    def _call_own(self, decode: Callable[[str], np.ndarray], path: str, channels: int) -> PixelValues:
        """Call a user's reader on a file; every exception becomes an error about this file."""
        try:
            numbers = decode(path)
        except Exception as error:
            raise DataError(f"{path}: {describe(error) or f'{type(error).__name__}: {error}'}") from None
        if not isinstance(numbers, np.ndarray) or numbers.dtype.kind not in "buif" or numbers.ndim not in (2, 3):
            given = f"{numbers.dtype} {numbers.shape}" if isinstance(numbers, np.ndarray) else type(numbers).__name__
            raise DataError(f"{path}: `images.reader` must return numbers (H, W) or (H, W, {channels}), got {given}")
        try:
            check_pixels(numbers.shape[1], numbers.shape[0], self.max_pixels)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None
        return PixelValues(numbers)

    def _decode_own(
        self, decode: Callable[[str], np.ndarray], path: str, channels: int, facts: FileFacts | None
    ) -> np.ndarray:
        values = self._call_own(decode, path, channels)
        white = None if values.numbers.dtype == np.uint8 else self.white  # uint8 is taken as ready pixels
        try:
            return to_pixels(values, channels, white, facts=facts)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None

    def _decode(
        self, content: bytes, channels: int, box: np.ndarray | None, whole: bool, facts: FileFacts | None
    ) -> np.ndarray:
        # OpenCV reads only the first frame, so any selection goes to Pillow.
        header = read_header(content) if channels in (1, 3) and self.frame is None else None
        if header is None:  # rare or suspicious: Pillow is slower but right
            pixels = decode_any(
                content,
                channels=channels,
                orient=self.orient,
                background=self.background,
                max_pixels=self.max_pixels,
                white=self.white,
                frame=self.frame,
                facts=facts,
            )
            return pixels if whole else self._fit_whole(pixels, box)
        check_size(header, self.max_pixels)
        if whole:
            return self._decode_fast(content, header, channels, 1, facts)
        swap = header.transposed and self.orient
        # The region is known before decoding, so a large JPEG is decoded just above the size that is needed.
        frame = self._frame((header.width, header.height) if swap else (header.height, header.width), box)
        reduction = _choose_reduction(frame) if self.reduce and header.reducible else 1
        return self._fit(self._decode_fast(content, header, channels, reduction, facts), frame, reduction)

    def _decode_fast(
        self, content: bytes, header: Header, channels: int, reduction: int, facts: FileFacts | None
    ) -> np.ndarray:
        return decode_fast(
            content,
            header,
            channels=channels,
            orient=self.orient,
            reduction=reduction,
            white=self.white,
            facts=facts,
        )

    def _frame(self, source: tuple[int, ...], box: np.ndarray | None) -> Frame:
        height, width = source
        corners = None
        if box is not None and not np.isnan(box[0]):
            scale = (width, height, width, height) if self.boxes_relative else (1, 1, 1, 1)
            left, top, right, bottom = (float(corner) * factor for corner, factor in zip(box, scale, strict=True))
            corners = (left, top, right, bottom)
        return frame_image(
            (height, width),
            self.size,
            aspect=self.aspect,
            aspect_limit=self.aspect_limit,
            box=corners,
            margin=self.box_margin,
        )

    def _fit_whole(self, pixels: np.ndarray, box: np.ndarray | None) -> np.ndarray:
        """Crop and resize the full-size pixels of an image."""
        return self._fit(pixels, self._frame(pixels.shape[:2], box), 1)

    def _fit(self, pixels: np.ndarray, frame: Frame, reduction: int) -> np.ndarray:
        """Crop decoded pixels to the frame's region and resize it onto the canvas."""
        height, width = pixels.shape[:2]
        top, left = int(frame.top / reduction), int(frame.left / reduction)
        bottom = min(height, max(top + 1, round(frame.bottom / reduction)))
        right = min(width, max(left + 1, round(frame.right / reduction)))
        if (bottom - top, right - left) != (
            height,
            width,
        ):  # after decoding: OpenCV decodes only whole images
            pixels = pixels[top:bottom, left:right]
        pixels = resize(pixels, (frame.height, frame.width), fast=self.fast_resize)
        if (frame.height, frame.width) == self.size:
            return pixels
        channels = pixels.shape[2]
        canvas = np.empty((*self.size, channels), np.uint8)
        canvas[:] = self.background[:channels]
        top, left = round((self.size[0] - frame.height) / 2), round((self.size[1] - frame.width) / 2)
        canvas[top : top + frame.height, left : left + frame.width] = pixels
        return canvas


def resize(pixels: np.ndarray, size: tuple[int, int], *, fast: bool) -> np.ndarray:
    """Resize uint8 (H, W, channels) to `size` (height, width).

    Args:
        fast: bilinear, after halving sides that are more than twice too long. Bilinear reads two pixels in each
            direction, so up to a factor of 2 it skips none, and a halving is the mean of two. Otherwise the area mean,
            wherever the image shrinks.
    """
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    if fast or (height <= size[0] and width <= size[1]):
        while height > 2 * size[0] or width > 2 * size[1]:
            height = (height + 1) // 2 if height > 2 * size[0] else height
            width = (width + 1) // 2 if width > 2 * size[1] else width
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        return cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR).reshape(*size, -1)
    # OpenCV's area mean applies only if both sides shrink.
    shrunk = min(height, size[0]), min(width, size[1])
    pixels = cv2.resize(pixels, shrunk[::-1], interpolation=cv2.INTER_AREA).reshape(*shrunk, -1)
    return resize(pixels, size, fast=True)


def _choose_reduction(frame: Frame) -> int:
    """Return the largest reduction at which the region is not smaller than its resized size."""
    spare = min((frame.bottom - frame.top) / frame.height, (frame.right - frame.left) / frame.width)
    return 8 if spare >= 8 else 4 if spare >= 4 else 2 if spare >= 2 else 1


def visible(image: np.ndarray) -> np.ndarray:
    """Return grey or RGB for display, uint8 (H, W, 3): the first three channels, or the first repeated."""
    return image[:, :, :3] if image.shape[2] >= 3 else np.repeat(image[:, :, :1], 3, 2)
