"""How image files become pixels of one size: everything that reads images (loaders, cache, duplicates) reads here."""

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

PIXELS_VERSION = 2  # of what a file becomes: goes up when the same settings give other pixels, and caches are remade


@dataclass(frozen=True, kw_only=True)
class ImageReader:
    """Reads images as uint8 of one size.

    Attributes:
        size: (height, width) of what is read, in pixels.
        channels: 1 for grey, 3 for RGB; more for several grey files as one image, or one file that has so many.
        channel_files: what stands for `*` in a path, one name a channel; empty where an image is one file.
        aspect: see `frame_image`.
        aspect_limit: see `frame_image`.
        box_margin: in percent of the box, on each side.
        boxes_relative: boxes are shares of the image's width and height, not pixels.
        background: behind transparent pixels and around padded images, one value or one a channel.
        orient: turn images as EXIF, or a TIFF's own tag, says.
        reduce: decode a large JPEG at 1/2, 1/4 or 1/8, as long as no side falls below what is wanted.
        fast_resize: see `resize`.
        max_pixels: larger images are refused before they are decoded.
        white: the values that are black and white in files of more than 8 bits a channel; None takes what each says.
        frame: which one of a file that holds several; see `images.frame`.
        pixel_shape: of images whose numbers stand in a row; see `table.pixel_shape`.
        decoder: turns a file into pixels: a row of READERS, or a user's own.
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
        """One image, uint8 (height, width, channels).

        Args:
            box: (left, top, right, bottom), float (4,); NaN or None is the whole image.
            turned: turn the result by 180 degrees.
            facts: is told what is noticed of its file or files, which takes time.

        Raises:
            DataError: the file is missing, damaged, too large, or its box lies outside; the message names it.
        """
        if self.channel_files:
            paths = [path.replace("*", name) for name in self.channel_files]
            pixels = np.concatenate([self._open(each, 1, box, facts=facts) for each in paths], axis=2)
        else:
            pixels = self._open(path, self.channels, box, facts=facts)
        return np.ascontiguousarray(pixels[::-1, ::-1]) if turned else pixels

    def read_whole(self, path: str, *, facts: FileFacts | None = None) -> np.ndarray:
        """All pixels of an image at its own size, uint8 (H, W, channels); `facts` and errors as in `read`."""
        if self.channel_files:
            paths = [path.replace("*", name) for name in self.channel_files]
            return np.concatenate([self._open(each, 1, None, whole=True, facts=facts) for each in paths], axis=2)
        return self._open(path, self.channels, None, whole=True, facts=facts)

    def read_numbers(self, path: str) -> np.ndarray:
        """All numbers that an image's file or files hold, of any type and shape, before they are scaled to 8 bits.

        Raises:
            DataError: as in `read`.
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
        """Everything that decides the pixels, as JSON values: the key of a cache."""
        settings = {"version": PIXELS_VERSION, **asdict(self)}
        for name in ("white", "frame", "pixel_shape"):
            if getattr(self, name) is None:  # as before there was such a setting
                del settings[name]
        if self.white is not None:
            settings["white"] = self.white.setting()
            if self.white.white <= LARGEST_8:  # which earlier versions kept to deeper images
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
        """Return what a file holds that is no picture; None where its row leaves it to pictures' readers.

        Args:
            as_shown: black and white are those of the file, not of `images.white`.

        Raises:
            DataError: a library that reads it is not installed.
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
        """Return what such a function gives for a file; all that it raises is about this file."""
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
        white = None if values.numbers.dtype == np.uint8 else self.white  # bytes are what is seen already
        try:
            return to_pixels(values, channels, white, facts=facts)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None

    def _decode(
        self, content: bytes, channels: int, box: np.ndarray | None, whole: bool, facts: FileFacts | None
    ) -> np.ndarray:
        # OpenCV reads one picture of a file, and Pillow counts them.
        header = read_header(content) if channels in (1, 3) and self.frame is None else None
        if header is None:
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
            left, top, right, bottom = (float(corner) * each for corner, each in zip(box, scale, strict=True))
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
        """Resize the wanted part of all pixels of an image."""
        return self._fit(pixels, self._frame(pixels.shape[:2], box), 1)

    def _fit(self, pixels: np.ndarray, frame: Frame, reduction: int) -> np.ndarray:
        """The frame's part of decoded pixels, resized onto the canvas."""
        height, width = pixels.shape[:2]
        top, left = int(frame.top / reduction), int(frame.left / reduction)
        bottom = min(height, max(top + 1, round(frame.bottom / reduction)))
        right = min(width, max(left + 1, round(frame.right / reduction)))
        if (bottom - top, right - left) != (height, width):
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
        fast: bilinear, after sides more than twice too long were halved: it reads two pixels each way, so up to a
            factor of 2 none is passed over, and a halving is the mean of two. Else the mean of all pixels that fall
            together, where it shrinks.
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
    # OpenCV's area mean takes only what shrinks both ways.
    shrunk = min(height, size[0]), min(width, size[1])
    pixels = cv2.resize(pixels, shrunk[::-1], interpolation=cv2.INTER_AREA).reshape(*shrunk, -1)
    return resize(pixels, size, fast=True)


def _choose_reduction(frame: Frame) -> int:
    """The largest that leaves the part no smaller than what it is resized to."""
    spare = min((frame.bottom - frame.top) / frame.height, (frame.right - frame.left) / frame.width)
    return 8 if spare >= 8 else 4 if spare >= 4 else 2 if spare >= 2 else 1


def visible(image: np.ndarray) -> np.ndarray:
    """Grey or RGB for the eye, uint8 (H, W, 3); of more channels the first three, of two the first."""
    return image[:, :, :3] if image.shape[2] >= 3 else np.repeat(image[:, :, :1], 3, 2)
