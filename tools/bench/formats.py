"""DICOM, TIFF, HDF5 and the like decoded and resized on one core, beside a loop of plain library calls.

`python tools/bench/formats.py [--check] [--quick]`; a row of KINDS is one kind of file: what writes it, and what nearly
every kernel does to read it as bytes.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import h5py
import numpy as np
import pydicom
import tifffile
from input import make_cache, rates, table_of
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless
from table import Row, arguments_of, finish, print_machine

from imettk.data.pixel_values import ValueRange
from imettk.data.reader import ImageReader

SIZE = 256
FILES_BAR, CACHE_BAR = 0.9, 4.0  # times the plain loop's rate


class Kind(NamedTuple):
    """One kind of file.

    Attributes:
        name: in the table.
        ending: of its files.
        write: (path, values uint16 (H, W) of 12 bits) -> nothing.
        plain: path -> uint8 of `SIZE`, by library calls alone.
        channels: of its images.
        white: what `images.white` has to say.
        side: of an image, in pixels.
        container: the file that holds all of them, whose members these are.
    """

    name: str
    ending: str
    write: Callable[[str, np.ndarray], None]
    plain: Callable[[str], np.ndarray]
    channels: int = 1
    white: ValueRange | None = None
    side: int = 1024
    container: str = ""


def write_dicom(path: str, values: np.ndarray, syntax: str | None = None) -> None:
    """Write a radiograph of 12 bits with a rescale and a window."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.WindowCenter, dataset.WindowWidth = 1000, 3000
    dataset.PixelData = values.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax is not None:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)


def plain_dicom(path: str) -> np.ndarray:
    """Read a radiograph as nearly every kernel does."""
    dataset = pydicom.dcmread(path)
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    return as_bytes(values, values.min(), values.max())


def as_bytes(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """Scale to 8 bits, and resize."""
    pixels = ((values - black) / (white - black) * 255).astype(np.uint8)
    return cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def as_channels(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return five channels (H, W, 5) of one image."""
    scale = 4095 if dtype.startswith("f") else 1
    return np.stack([np.roll(values, 7 * number, 0) / scale for number in range(5)], axis=2).astype(dtype)


def write_tiff(path: str, values: np.ndarray) -> None:
    tifffile.imwrite(path, values << 4, photometric="minisblack", compression="lzw", predictor=True)


def write_channels(path: str, values: np.ndarray) -> None:
    tifffile.imwrite(path, as_channels(values << 4, "u2"), photometric="minisblack", planarconfig="contig")


def write_member(path: str, values: np.ndarray, jpeg: bool = False) -> None:
    """Read a dataset of the file that is the path's folder."""
    content: Any = np.void(cv2.imencode(".jpg", (values >> 4).astype(np.uint8))[1].tobytes()) if jpeg else values
    with h5py.File(Path(path).parent, "a") as file:
        file[Path(path).name] = content


@functools.cache
def open_hdf5(path: str) -> Any:
    """Keep the file open, as a dataset of torch does."""
    return h5py.File(path, "r")


def plain_hdf5(path: str) -> np.ndarray:
    return as_bytes(open_hdf5(str(Path(path).parent))[Path(path).name][()], 0, 4095)


def plain_hdf5_jpeg(path: str) -> np.ndarray:
    content = open_hdf5(str(Path(path).parent))[Path(path).name][()]
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


KINDS = [
    Kind("DICOM, 12 bits", ".dcm", write_dicom, plain_dicom),
    Kind("DICOM, JPEG 2000", ".j2k.dcm", functools.partial(write_dicom, syntax=JPEG2000Lossless), plain_dicom),
    Kind("DICOM, 12 bits, 2560 px", ".l.dcm", write_dicom, plain_dicom, side=2560),
    Kind("TIFF, 16 bits, LZW", ".tif", write_tiff, lambda path: as_bytes(tifffile.imread(path), 0, 65535)),
    Kind(
        "TIFF, 5 channels of 16 bits",
        ".5.tif",
        write_channels,
        lambda path: as_bytes(tifffile.imread(path), 0, 65535),
        channels=5,
    ),
    Kind(
        ".npy, 16 bits",
        ".npy",
        lambda path, values: np.save(path, values),
        lambda path: as_bytes(np.load(path), 0, 4095),
        white=ValueRange(0, 4095),
    ),
    Kind(
        ".npy, 5 channels of float32",
        ".5.npy",
        lambda path, values: np.save(path, as_channels(values, "f4")),
        lambda path: as_bytes(np.load(path), 0, 1),
        channels=5,
        white=ValueRange(0, 1),
    ),
    Kind(
        "HDF5, JPEG bytes",
        "",
        functools.partial(write_member, jpeg=True),
        plain_hdf5_jpeg,
        container="all.h5",
    ),
    Kind("HDF5, 16 bits", "", write_member, plain_hdf5, white=ValueRange(0, 4095), container="all.h5"),
    Kind(
        "HDF5, 16 bits, 256 px",
        "",
        write_member,
        plain_hdf5,
        white=ValueRange(0, 4095),
        container="all.h5",
        side=256,
    ),
]


def make_files(kind: Kind, folder: Path, count: int) -> list[str]:
    """Draw images as smooth as radiographs, with some noise."""
    paths = []
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 4000, (24, 24)).astype(np.float32)
        smooth = cv2.resize(coarse, (kind.side, kind.side), interpolation=cv2.INTER_CUBIC)
        values = np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 4095).astype(np.uint16)
        paths.append(str(folder / kind.container / f"{number:03d}{kind.ending}"))
        kind.write(paths[-1], values)
    return paths


def rows_of(kind: Kind, folder: Path, count: int, rounds: int) -> Iterator[Row]:
    """Time files of one kind, and their cache, beside the plain loop."""
    folder.mkdir()
    paths = make_files(kind, folder, count)
    reader = ImageReader(size=(SIZE, SIZE), channels=kind.channels, white=kind.white)
    cached = make_cache(folder / "cache", table_of(paths), reader, "pixels")
    places = {path: row for row, path in enumerate(paths)}
    work = {"plain": kind.plain, "files": reader.read, "pixel cache": lambda path: cached.read(places[path])}
    measured = rates(work, paths, rounds)
    for name, bar in (("files", FILES_BAR), ("pixel cache", CACHE_BAR)):
        yield Row(f"{kind.name}: {name}", measured[name], "", measured["plain"], bar, True)


def main() -> None:
    arguments = arguments_of(__doc__).parse_args()
    cv2.setNumThreads(0)
    if hasattr(os, "sched_setaffinity"):  # some decoders start threads, which in loader processes have no core to spare
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print_machine("opencv-python-headless", "pydicom", "pylibjpeg-openjpeg", "python-gdcm", "tifffile", "numpy")
    print(f"images a second (more is better), one core; {KINDS[0].side} pixels a side unless said, to {SIZE}\n")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, kind in enumerate(KINDS):
            small = kind._replace(side=64) if arguments.quick else kind
            count, rounds = (2, 1) if arguments.quick else (8, 5)
            rows += rows_of(small, Path(scratch) / str(number), count, rounds)
    finish(rows, arguments)


if __name__ == "__main__":
    main()
