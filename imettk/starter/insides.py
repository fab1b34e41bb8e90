"""Files that are not plain pictures (TIFF, DICOM, arrays): their channels, their frames, and their black and white."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from imettk.config.file_kinds import MissingLibraryError, image_kind
from imettk.config.white import parse_white
from imettk.data.decode import decode_numbers, read_content
from imettk.data.depth import FULL_16
from imettk.data.pixel_values import PixelValues, ValueRange
from imettk.data.reader import ImageReader
from imettk.data.tiff import read_tiff_header
from imettk.data.value_survey import sample_numbers
from imettk.errors import DataError
from imettk.starter.finding import Finding

NUM_INSPECTED = 8  # files, evenly spaced among all
MAX_CHANNELS = 16  # more planes than this are a stack of frames
WHITE_PERCENTILES = 0.5, 99.5  # black and white, if neither the type nor the range of numbers tells them
_Layout = tuple[int, Literal["middle"] | None]  # `images.channels` and `images.frame`
_PLAIN: _Layout = (3, None)


@dataclass(frozen=True)
class Insides:
    """The way to read files that are not plain pictures.

    Attributes:
        channels: number of channels; None if images are grey or RGB, as pictures are.
        frame: the frame to read of several.
        white: a value of `images.white`; None if the type of the numbers or the file tells it.
        findings: a line about each of these.
        pixel_shape: the shape of images stored as rows of pixels, as the user gave it.
    """

    channels: int | None = None
    frame: Literal["middle"] | None = None
    white: int | str | None = None
    findings: list[Finding] = field(default_factory=list)
    pixel_shape: tuple[int, ...] | None = None

    def reader(self, white: ValueRange | None = None) -> ImageReader:
        """Return a reader of whole images, with another white if one is given."""
        parsed = None if self.white is None else parse_white(self.white)
        known = white or (None if parsed is None else ValueRange(parsed.black, parsed.white))
        reader = ImageReader(size=(8, 8), channels=self.channels or 3, frame=self.frame, white=known)
        return replace(reader, pixel_shape=self.pixel_shape)


def look_inside(paths: Sequence[str], shape: tuple[int, ...] | None = None) -> Insides:
    """Inspect some of the files that are not plain pictures.

    Args:
        shape: the shape of images stored as rows of pixels; see `table.pixel_shape`.

    Raises:
        DataError: the library that reads them is not installed.
    """
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(NUM_INSPECTED, len(paths))).astype(int)).tolist()
    layouts: dict[str, _Layout] = {}
    for path in (paths[row] for row in chosen):
        try:
            content = read_content(path, shape)
            if image_kind(content, path) is not None and (layout := _find_layout(content, path)) is not None:
                layouts[path] = layout
        except MissingLibraryError as error:
            ending = os.path.splitext(path)[1].lower()
            number = sum(other.lower().endswith(ending) for other in paths)
            kind = f"have the extension {ending}" if ending else "have no extension"
            raise MissingLibraryError(f"{number} of {len(paths)} images {kind}; {error}") from None
        except DataError:
            continue  # named later: `look_at` decodes more images, and `prepare` all of them
    if not layouts:
        return Insides(pixel_shape=shape)
    channels, frame = _agree(list(layouts.values()))
    findings = _explain(channels, frame, len(layouts))
    white, reason = _choose_white(_unknown_numbers(list(layouts), shape, channels, frame))
    if white is not None:
        findings.append(Finding("white", str(white), reason, "images.white"))
    return Insides(None if channels in (1, 3) else channels, frame, white, findings, shape)


def _find_layout(content: bytes, path: str) -> _Layout | None:
    """Return the first channels and frame by which a file can be read; None if it cannot."""
    layouts: list[_Layout] = [_PLAIN, *((number, None) for number in range(2, MAX_CHANNELS + 1)), (3, "middle")]
    header = read_tiff_header(content)
    if header is not None and header.samples == 1 < header.num_pages:
        layouts = [(3, "middle"), _PLAIN]
        if header.num_pages != 3 and header.num_pages <= MAX_CHANNELS:
            layouts.insert(0, (header.num_pages, None))
    for channels, frame in layouts:
        try:
            values = ImageReader(size=(8, 8), frame=frame).read_values(content, path, channels, as_shown=False)
        except ValueError:
            continue
        if values is None:  # a picture
            return 3, frame
        shape = values.numbers.shape
        num_planes = shape[2] if len(shape) == 3 else 1
        if channels == 3 or num_planes == channels:
            return (3 if num_planes in (1, 3) else num_planes), frame
    return None


def _agree(layouts: list[_Layout]) -> _Layout:
    """Return the layout that fits all files, the most common one if they differ."""
    counts = Counter(layouts)
    # Files with different numbers of planes are stacks of frames: the channels of one data set are always as many.
    if len(counts) > 1 and _PLAIN not in counts:
        return 3, "middle"
    return counts.most_common(1)[0][0]


def _explain(channels: int, frame: str | None, number: int) -> list[Finding]:
    """Return a line for each of these that differs from plain pictures.

    Args:
        number: of files that were inspected.
    """
    findings = []
    if channels != 3:
        findings.append(Finding("channels", str(channels), f"read from {number} of the files", "images.channels"))
    if frame is not None:
        reason = "each file holds several frames, and nothing tells which one counts"
        findings.append(Finding("frame", frame, reason, "images.frame"))
    return findings


def _unknown_numbers(
    paths: list[str], shape: tuple[int, ...] | None, channels: int, frame: Literal["middle"] | None
) -> np.ndarray:
    """Return a sample of the numbers of those files that do not tell what is white, float64 (M,)."""
    reader = ImageReader(size=(8, 8), channels=channels, frame=frame)
    samples = []
    for path in paths:
        try:
            content = read_content(path, shape)
            values = reader.read_values(content, path, channels, as_shown=True)
            is_picture = values is None
            values = PixelValues(decode_numbers(content, frame)) if values is None else values
        except (DataError, ValueError):
            continue
        numbers = values.numbers
        if values.white is None and _is_unknown(numbers, is_picture=is_picture):
            samples.append(sample_numbers(numbers))
    return np.concatenate(samples) if samples else np.zeros(0)


def _is_unknown(numbers: np.ndarray, *, is_picture: bool) -> bool:
    """Return whether the type of some numbers does not tell their white."""
    if numbers.dtype in (np.bool_, np.uint8, np.uint16):
        return False
    # Decoders return 16-bit pictures as 32-bit integers at times: their white is that of 16 bits.
    return numbers.dtype.kind == "f" or not is_picture or not 0 <= numbers.min() <= numbers.max() <= FULL_16


def _choose_white(numbers: np.ndarray) -> tuple[int | str | None, str]:
    """Return a value of `images.white` for such numbers, and the reason; None if there are no numbers."""
    if not numbers.size:
        return None, ""
    low, high = float(numbers.min()), float(numbers.max())
    if low >= 0 and 0.5 < high <= 1:
        return 1, f"all values lie between 0 and 1, the largest is {high:.3g}"
    if low >= 0 and 127 < high <= 255:
        return 255, f"all values lie between 0 and 255, like those of bytes, the largest is {high:.4g}"
    ends = [
        float(np.format_float_positional(end, 3, fractional=False)) for end in np.percentile(numbers, WHITE_PERCENTILES)
    ]
    black, white = ends if ends[0] < ends[1] else (low, high if high > low else low + 1)
    return f"{black:.6g}..{white:.6g}", f"values lie between {low:.4g} and {high:.4g}, 99% of them in this range"
