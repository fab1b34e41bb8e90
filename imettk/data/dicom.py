"""DICOM files as a viewer shows them, or their rescaled values (HU of a CT) if `images.white` defines black and white.

Values of at most 16 bits go through a table of pydicom's result for each possible value: it is much smaller than an
image, so the rescale and the window are computed for 65,536 values at most instead of for every pixel.
"""

from __future__ import annotations

import functools
import io
import warnings
from typing import Any, NamedTuple

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import (
    apply_color_lut,
    apply_modality_lut,
    apply_voi,
    apply_windowing,
    get_decoder,
    pixel_array,
)
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
)

from imettk.data.arrays import NumberedFrame, choose_frame
from imettk.data.pixel_values import MAX_PIXELS, PixelValues, ValueRange, all_levels, check_pixels, look_up

_GREY = ("MONOCHROME1", "MONOCHROME2")
_FASTEST = "pylibjpeg"  # the fastest of pydicom's decoders of JPEG 2000
_PREAMBLE = (128, b"DICM")


def read_dicom(
    content: bytes, *, channels: int, frame: NumberedFrame, as_shown: bool, max_pixels: int = MAX_PIXELS
) -> PixelValues | None:
    """Return the image of a DICOM file; None if it has no preamble and is not DICOM.

    As shown, the image is 0 to 255: rescaled, then through the file's table or first window (without either, through
    the range of its bits); inverted if small values are bright; palettes and YBR as RGB. Otherwise the rescaled values.

    Raises:
        ValueError: it is damaged, has no pixels or too many, or holds several frames and `frame` selects none.
        ModuleNotFoundError: no installed plugin of pydicom reads its compression.
    """
    # pydicom warns about files that it reads nevertheless. `catch_warnings` would not do: it is not thread-safe.
    warnings.filterwarnings("ignore", module=r"pydicom|imettk\.data\.dicom")
    try:
        dataset = dcmread(io.BytesIO(content), force=True)
    except Exception as error:  # arbitrary bytes can make the parser raise anything
        raise ValueError(f"it is a damaged DICOM file: {_one_line(error)}") from None
    if "Rows" not in dataset and not content.startswith(_PREAMBLE[1], _PREAMBLE[0]):
        return None
    place = _find_frame(dataset, frame)
    # Before decoding: the header alone shows whether the image is too large.
    check_pixels(int(dataset.get("Columns") or 0), int(dataset.get("Rows") or 0), max_pixels)
    try:
        _take_from_groups(dataset, place)
        return _show(dataset, _decode(dataset, place), as_shown=as_shown)
    except MemoryError:
        raise
    except Exception as error:  # codecs raise errors of their own
        text = _one_line(error)
        if "missing dependencies" in text:
            raise ModuleNotFoundError(text, name="gdcm") from None
        raise ValueError(f"its pixels cannot be read: {text}") from None


def _find_frame(dataset: Dataset, frame: NumberedFrame) -> int:
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        title = dataset.get("Modality") or "unknown"
        raise ValueError(f"it is a DICOM file without pixels (its modality is {title}), or truncated before them")
    return choose_frame(int(dataset.get("NumberOfFrames") or 1), frame)


def _take_from_groups(dataset: Dataset, place: int) -> None:
    """Move the rescale and window of one frame to where older files have them (enhanced files, PS3.3 C.7.6.16)."""
    groups = [*(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]]
    groups += [*(dataset.get("PerFrameFunctionalGroupsSequence") or [])[place : place + 1]]
    for group in groups:
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for element in [element for item in (group.get(name) or [])[:1] for element in item]:
                dataset[element.tag] = element


def _decode(dataset: Dataset, place: int) -> np.ndarray:
    """Return the stored values of a frame, (H, W) or (H, W, 3), with YBR converted to RGB."""
    meta = getattr(dataset, "file_meta", None)
    if meta is None or "TransferSyntaxUID" not in meta:  # a file without a preamble, which is never compressed
        is_little = dataset.original_encoding[1]
        dataset.ensure_file_meta()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
    syntax = dataset.file_meta.TransferSyntaxUID
    # By default pydicom takes gdcm first, which needs 1.2 times as long.
    if syntax in JPEG2000TransferSyntaxes and _FASTEST in get_decoder(syntax).available_plugins:
        return pixel_array(dataset, index=place, decoding_plugin=_FASTEST)
    return pixel_array(dataset, index=place)


def _show(dataset: Dataset, stored: np.ndarray, *, as_shown: bool) -> PixelValues:
    photometric = str(dataset.PhotometricInterpretation)
    if photometric == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
    if photometric not in _GREY or stored.ndim == 3:
        bits = 8 * stored.itemsize if photometric == "PALETTE COLOR" else int(dataset.BitsStored)
        return PixelValues(stored, white=2**bits - 1)
    inverted = photometric == "MONOCHROME1"
    if not as_shown:
        return PixelValues(_rescale(dataset, stored), inverted=inverted)
    shades = _Shades.of(dataset)
    if stored.dtype.kind not in "ui" or stored.itemsize > 2:
        return PixelValues(shades.apply(stored, dataset), inverted=inverted)
    # Tables inside a file are its own, so only a plain rescale and window can be cached across files.
    is_plain = not (dataset.get("ModalityLUTSequence") or dataset.get("VOILUTSequence"))
    table = _make_table(shades, stored.dtype) if is_plain else shades.apply(all_levels(stored.dtype), dataset)
    return PixelValues(look_up(stored, table), inverted=inverted)


def _rescale(dataset: Dataset, stored: np.ndarray) -> np.ndarray:
    """Return the rescaled values, (H, W), as int16 if they are whole numbers that fit."""
    if stored.dtype.kind not in "ui" or stored.itemsize > 2:
        return apply_modality_lut(stored, dataset)
    values: np.ndarray = apply_modality_lut(all_levels(stored.dtype), dataset)
    if values.dtype.kind == "f":
        ends = apply_modality_lut(np.array([stored.min(), stored.max()]), dataset)
        fits = bool((values == np.rint(values)).all()) and float(np.abs(ends).max()) < 2**15
        values = np.clip(values, -(2**15), 2**15 - 1).astype(np.int16) if fits else values.astype(np.float32)
    return look_up(stored, values)


class _Shades(NamedTuple):
    """Parameters by which a grey file is shown, as plain numbers, so that they can be the key of a cached table.

    Attributes:
        rescale: slope and intercept.
        window: centre and width of the first window.
        function: the window's VOI LUT function.
        bits: bits stored per value.
        is_signed: values are signed.
    """

    rescale: tuple[float, float] | None
    window: tuple[float, float] | None
    function: str
    bits: int
    is_signed: bool

    @classmethod
    def of(cls, dataset: Dataset) -> _Shades:
        rescale = (_first(dataset, "RescaleSlope"), _first(dataset, "RescaleIntercept"))
        window = (_first(dataset, "WindowCenter"), _first(dataset, "WindowWidth"))
        return cls(
            rescale=None if None in rescale else rescale,  # type: ignore[arg-type]
            window=None if None in window else window,  # type: ignore[arg-type]
            function=str(dataset.get("VOILUTFunction") or "LINEAR"),
            bits=int(dataset.BitsStored),
            is_signed=bool(dataset.PixelRepresentation),
        )

    def as_dataset(self) -> Dataset:
        """Return the attributes that pydicom's functions read."""
        dataset = Dataset()
        dataset.PhotometricInterpretation, dataset.VOILUTFunction = "MONOCHROME2", self.function
        dataset.BitsStored, dataset.PixelRepresentation = self.bits, int(self.is_signed)
        if self.rescale is not None:
            dataset.RescaleSlope, dataset.RescaleIntercept = self.rescale
        if self.window is not None:
            dataset.WindowCenter, dataset.WindowWidth = self.window
        return dataset

    def apply(self, stored: np.ndarray, dataset: Dataset) -> np.ndarray:
        """Return stored values as shown, uint8 of the same shape; `dataset` holds the tables of the file."""
        values = apply_modality_lut(stored, dataset)
        if table := dataset.get("VOILUTSequence"):
            white = 2 ** int(table[0].LUTDescriptor[2]) - 1
            return ValueRange(0, white).scale(apply_voi(values, dataset))
        low, high = self._ends(dataset)
        if self.window is None:
            return ValueRange(min(low, high), max(low, high)).scale(values)
        return ValueRange(low, high).scale(apply_windowing(values, dataset))

    def _ends(self, dataset: Dataset) -> tuple[float, float]:
        """Return the rescaled values of the smallest and largest stored value (DICOM PS3.3 C.11.2.1.2)."""
        if table := dataset.get("ModalityLUTSequence"):
            return 0, 2 ** int(table[0].LUTDescriptor[2]) - 1
        low = -(2 ** (self.bits - 1)) if self.is_signed else 0
        slope, intercept = self.rescale or (1.0, 0.0)
        return low * slope + intercept, (low + 2**self.bits - 1) * slope + intercept


@functools.lru_cache(maxsize=16)  # files of one scanner mostly share their parameters
def _make_table(shades: _Shades, dtype: np.dtype) -> np.ndarray:
    """Return each value of a type as shown, uint8 (256,) or (65536,)."""
    return shades.apply(all_levels(dtype), shades.as_dataset())


def _first(dataset: Dataset, name: str) -> float | None:
    """Return the first number of a tag; None if the tag is missing or empty."""
    value: Any = dataset.get(name)
    if value is None or value == "":
        return None
    values = [value] if isinstance(value, int | float | str) else list(value)
    return float(values[0]) if values else None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
