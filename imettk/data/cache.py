"""A cache of decoded images in a few large files, read by position.

A part is a safetensors file of consecutive images: `pixels` uint8 (n, H, W, channels), or `bytes` and `offsets` of
concatenated JPEGs, and `checksums` uint32 (n,), one per image. Its header holds the settings that made it.
`index.json` is written last and in one piece, so a cache with an index is complete. There are no zips and at most
`MAX_PARTS` files, so the folder can be uploaded as a Kaggle dataset unchanged.
"""

from __future__ import annotations

import json
import math
import os
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from imettk.data.decode import decode_pixels
from imettk.data.stamps import FileStamps
from imettk.errors import DataError, MismatchError

MAX_PARTS = 900  # Kaggle accepts 1,000 files at the top of a dataset
PART_BYTES = 256_000_000
INDEX = "index.json"


class PartPlan(NamedTuple):
    """Division of N images into parts: every part except the last holds `rows_per_part`."""

    num_images: int
    rows_per_part: int

    @property
    def num_parts(self) -> int:
        return math.ceil(self.num_images / self.rows_per_part)

    def rows(self, part: int) -> range:
        """Return the positions of the images of a part."""
        return range(part * self.rows_per_part, min((part + 1) * self.rows_per_part, self.num_images))


def plan_parts(num_images: int, image_bytes: float) -> PartPlan:
    """Plan parts of about `PART_BYTES`: a kill loses little, one part fits in memory, and files are few enough."""
    fitting = max(1, int(PART_BYTES / image_bytes))
    return PartPlan(num_images, max(1, min(num_images, max(fitting, math.ceil(num_images / MAX_PARTS)))))


def encode_jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """Encode uint8 (H, W, channels) as JPEG; with channels other than 1 or 3, as grey planes stacked vertically."""
    height, width, channels = pixels.shape
    if channels == 3:
        pixels = pixels[:, :, ::-1]  # OpenCV encodes BGR
    elif channels != 1:
        # JPEG holds 1 or 3 channels, and its chroma subsampling would blur channels that are not colours.
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1)).reshape(channels * height, width, 1)
    done, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise DataError(f"OpenCV cannot write a JPEG of {pixels.shape}; use --cache.kind pixels")
    return encoded.tobytes()


def decode_jpeg(content: np.ndarray, size: tuple[int, int], channels: int) -> np.ndarray:
    """Decode the result of `encode_jpeg`, given as uint8 (bytes,), to uint8 (H, W, channels)."""
    pixels = decode_pixels(content, 3 if channels == 3 else 1)
    if pixels is None:
        raise DataError(
            "the cache is damaged: one of its JPEGs cannot be decoded; delete it and run `imettk prepare` again"
        )
    if channels in (1, 3):
        return pixels.reshape(*size, channels)
    return np.ascontiguousarray(pixels.reshape(channels, *size).transpose(1, 2, 0))


def part_path(folder: Path, part: int) -> Path:
    """Return the path of a part."""
    return folder / f"part-{part:03d}.safetensors"


def write_part(path: Path, images: Sequence[np.ndarray | bytes], size: tuple[int, int], values: dict[str, Any]) -> None:
    """Write a part under a temporary name, then rename it, so that a part under its own name is complete.

    Args:
        images: uint8 (H, W, channels) each, or JPEGs.
        size: (height, width) of an image.
        values: stored in the header as JSON.
    """
    from safetensors.numpy import save_file

    tensors: dict[str, np.ndarray] = {}
    if jpegs := [image for image in images if isinstance(image, bytes)]:
        offsets = np.cumsum([0, *map(len, jpegs)]).astype(np.int64)
        tensors = {"bytes": np.frombuffer(b"".join(jpegs), np.uint8), "offsets": offsets}
        checksums = [zlib.crc32(jpeg) for jpeg in jpegs]
    else:
        tensors = {"pixels": np.stack(images)}
        checksums = [zlib.crc32(pixels.data) for pixels in tensors["pixels"]]
    tensors["checksums"] = np.array(checksums, np.uint32)
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata={"cache": json.dumps(values | {"size": list(size)})})
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())  # before the rename: after a power cut a complete name must not hold missing pages
    os.replace(temporary, path)


class _PartFile(NamedTuple):
    """Header of a part, byte offsets of its tensors, and identity of its file.

    Attributes:
        identity: device, inode, size and modification time; if any of them differs, the file was replaced.
    """

    values: dict[str, Any]
    starts: dict[str, int]
    ends: dict[str, int]
    identity: tuple[int, ...]

    def read(self, path: str, name: str, dtype: type[np.generic]) -> np.ndarray:
        """Return a whole tensor of one dimension."""
        count = (self.ends[name] - self.starts[name]) // np.dtype(dtype).itemsize
        return np.fromfile(path, dtype, count, offset=self.starts[name])


def read_part_values(path: Path) -> dict[str, Any] | None:
    """Return the header of a part; None if the part is missing or incomplete."""
    try:
        return _open_part(path).values
    except (OSError, ValueError, KeyError, MismatchError):
        return None


def _open_part(path: Path) -> _PartFile:
    """Read the header of a safetensors file: its length (uint64), then JSON, then the tensors."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > 100_000_000:  # safetensors' own limit
            raise MismatchError(f"{path} is not part of a cache; run `imettk prepare` again")
        header = json.loads(file.read(length))
        identity = _identity(file.fileno())
    values = json.loads(header.pop("__metadata__")["cache"])
    starts = {name: 8 + length + tensor["data_offsets"][0] for name, tensor in header.items()}
    ends = {name: 8 + length + tensor["data_offsets"][1] for name, tensor in header.items()}
    if (size := identity[2]) < max(ends.values()):
        raise MismatchError(f"{path} is truncated ({size} of {max(ends.values())} bytes); run `imettk prepare` again")
    return _PartFile(values, starts, ends, identity)


def _identity(file: int) -> tuple[int, ...]:
    status = os.fstat(file)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def read_stamps(folder: Path) -> tuple[np.ndarray, FileStamps] | None:
    """Return the names of a cache's images, str (N,), and the stamps of their files; None if the cache has none."""
    try:
        images = json.loads((folder / INDEX).read_text(encoding="utf-8"))["images"]
        return np.array(images["names"], np.str_), _stamps(images)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _stamps(images: dict[str, Any]) -> FileStamps:
    return FileStamps(*(np.array(images[name], np.int64) for name in FileStamps._fields))


class ImageCache:
    """Reader of a finished cache; small enough to inherit or pickle into loader processes.

    Attributes:
        names: name of each image, str (N,); see `image_names`.
        sizes: bytes of each image's file when it was read, int64 (N,); -1 if there was none.
        stamps: stamps of the files when they were read; None in a cache of version 0.1.0, which recorded only sizes.
        kind: `pixels` or `jpeg`.
        key: hash of the settings that made it.
        bad: reasons why `prepare` could not read an image, by position.

    Raises:
        MismatchError: one of its files is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._starts: list[int] = []
        self._offsets: list[np.ndarray] = []
        self._checksums: list[np.ndarray | None] = []
        self._identities: list[tuple[int, ...]] = []
        self._open_files: dict[int, int] = {}
        try:
            self._open(folder)
        except FileNotFoundError as error:
            path = error.filename
            raise MismatchError(f"{path} is missing: the cache is incomplete; run `imettk prepare` again") from None
        except (ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise MismatchError(f"{folder} is damaged ({reason}): run `imettk prepare` again") from None

    def _open(self, folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        self.kind: str = index["kind"]
        self.key: str = index["key"]
        self.bad: dict[int, str] = {int(row): fault for row, fault in index["bad"].items()}
        self.stamps: FileStamps | None = None
        if "images" in index:
            self.names = np.array(index["images"]["names"], np.str_)
            self.stamps = _stamps(index["images"])
            self.sizes = self.stamps.sizes
        else:  # version 0.1.0
            self.names = np.array((folder / "names.txt").read_text(encoding="utf-8").split("\n"), np.str_)
            self.sizes = np.array((folder / "bytes.txt").read_text(encoding="utf-8").split("\n"), np.int64)
        if len(self.sizes) != len(self.names):
            raise ValueError(f"{len(self.names)} names, but sizes of {len(self.sizes)} files")
        self._plan = PartPlan(len(self.names), index["rows_per_part"])
        self._shape = (*index["size"], index["channels"])
        self._paths = [str(part_path(folder, part)) for part in range(self._plan.num_parts)]
        for path, contents in zip(self._paths, index.get("parts", [None] * len(self._paths)), strict=True):
            part = _open_part(Path(path))
            if contents not in (None, part.values["contents"]):
                raise ValueError(f"{path} was written by another `prepare` than {INDEX}")
            self._identities.append(part.identity)
            self._starts.append(part.starts["pixels" if self.kind == "pixels" else "bytes"])
            self._checksums.append(part.read(path, "checksums", np.uint32) if "checksums" in part.starts else None)
            if self.kind == "jpeg":
                self._offsets.append(part.read(path, "offsets", np.int64))
        self._checked = np.zeros(len(self.names), bool)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open_files": {}}  # descriptors belong to one process

    def read(self, row: int) -> np.ndarray:
        """Return one image, uint8 (H, W, channels).

        Raises:
            DataError: `prepare` could not read it; the message repeats the reason.
            MismatchError: the cache was replaced since it was opened, or is damaged.
        """
        if row in self.bad:
            raise DataError(self.bad[row])
        part, place = divmod(row, self._plan.rows_per_part)
        if self.kind == "jpeg":
            first, last = self._offsets[part][place : place + 2]
            content = np.empty(int(last - first), np.uint8)
            self._read_into(content, part, self._starts[part] + int(first))
        else:
            content = np.empty(self._shape, np.uint8)
            self._read_into(content, part, self._starts[part] + place * content.nbytes)
        # Once per image and process: a checksum takes twice as long as the read (55 against 26 us at 224 x 224).
        if not self._checked[row]:
            self._check(row, part, place, content)
        return decode_jpeg(content, self._shape[:2], self._shape[2]) if self.kind == "jpeg" else content

    def _check(self, row: int, part: int, place: int, content: np.ndarray) -> None:
        """Compare the content of an image with its checksum."""
        checksums = self._checksums[part]
        if checksums is not None and zlib.crc32(content.data) != checksums[place]:
            raise MismatchError(
                f"{self._paths[part]} is damaged: image {self.names[row]} does not match its checksum; "
                "delete the cache and run `imettk prepare` again"
            )
        self._checked[row] = True

    def _read_into(self, array: np.ndarray, part: int, start: int) -> None:
        """Fill an array from a part, with `pread` instead of mmap.

        Mapped pages would count towards the memory of every loader process, which grew with each image it had seen.
        """
        if part not in self._open_files:
            self._open_files[part] = self._open_same(part)
        if _read_at(self._open_files[part], array, start) != array.nbytes:
            raise MismatchError(f"{self._paths[part]} has become shorter; run `imettk prepare` again")

    def _open_same(self, part: int) -> int:
        """Open a part if it is still the file of `__init__`; the offsets in memory do not fit any other."""
        path = self._paths[part]
        try:
            file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise MismatchError(f"{path} can no longer be read: {error.strerror}") from None
        if _identity(file) != self._identities[part]:
            os.close(file)
            raise MismatchError(f"{path} was replaced while in use: start again once `prepare` has finished")
        return file


def _read_at(file: int, array: np.ndarray, start: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(file, [array.data], start)
    with _READING, open(file, "rb", buffering=0, closefd=False) as opened:  # Windows
        opened.seek(start)
        return opened.readinto(array.data) or 0


_READING = threading.Lock()
