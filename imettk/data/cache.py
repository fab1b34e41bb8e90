"""Images decoded once, kept in a few large files, and read back by position.

A part is a safetensors file of consecutive images: `pixels` uint8 (n, H, W, channels), or `bytes` and `offsets` of
JPEGs one after the other, and a `checksums` uint32 (n,) of each. Its header says what made it. `index.json` is written
last, in one piece, so a cache that has one is whole. No zips, at most `MAX_PARTS` files: it can be a Kaggle dataset as
it is.
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

MAX_PARTS = 900  # Kaggle takes 1,000 files at the top of a dataset
PART_BYTES = 256_000_000
INDEX = "index.json"


class PartPlan(NamedTuple):
    """How N images are cut into parts: every part but the last holds `rows_per_part`."""

    num_images: int
    rows_per_part: int

    @property
    def num_parts(self) -> int:
        return math.ceil(self.num_images / self.rows_per_part)

    def rows(self, part: int) -> range:
        """Positions of the images of a part."""
        return range(part * self.rows_per_part, min((part + 1) * self.rows_per_part, self.num_images))


def plan_parts(num_images: int, image_bytes: float) -> PartPlan:
    """Parts of about `PART_BYTES`, so that a kill loses little and one part fits in memory; never too many files."""
    fitting = max(1, int(PART_BYTES / image_bytes))
    return PartPlan(num_images, max(1, min(num_images, max(fitting, math.ceil(num_images / MAX_PARTS)))))


def encode_jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """A JPEG of uint8 (H, W, channels); other numbers of channels than 1 and 3 as grey planes below each other."""
    height, width, channels = pixels.shape
    if channels == 3:
        pixels = pixels[:, :, ::-1]
    elif channels != 1:
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1)).reshape(channels * height, width, 1)
    done, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise DataError(f"OpenCV cannot write a JPEG of {pixels.shape}; use --cache.kind pixels")
    return encoded.tobytes()


def decode_jpeg(content: np.ndarray, size: tuple[int, int], channels: int) -> np.ndarray:
    """Pixels of what `encode_jpeg` wrote, given as uint8 (bytes,): uint8 (H, W, channels)."""
    pixels = decode_pixels(content, 3 if channels == 3 else 1)
    if pixels is None:
        raise DataError(
            "the cache is damaged: a JPEG in it cannot be decoded; delete it and run `imettk prepare` again"
        )
    if channels in (1, 3):
        return pixels.reshape(*size, channels)
    return np.ascontiguousarray(pixels.reshape(channels, *size).transpose(1, 2, 0))


def part_path(folder: Path, part: int) -> Path:
    """Where a part lies."""
    return folder / f"part-{part:03d}.safetensors"


def write_part(path: Path, images: Sequence[np.ndarray | bytes], size: tuple[int, int], values: dict[str, Any]) -> None:
    """Write a part under another name, then rename it: what has its name is whole.

    Args:
        images: uint8 (H, W, channels) each, or JPEGs.
        size: (height, width) of an image.
        values: kept in the header, as JSON.
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
        os.fsync(file.fileno())
    os.replace(temporary, path)


class _PartFile(NamedTuple):
    """Byte offsets of a part's tensors, what its header says, and which file it is.

    Attributes:
        identity: device, inode, size and time of the file: where one differs, another file has taken its name.
    """

    values: dict[str, Any]
    starts: dict[str, int]
    ends: dict[str, int]
    identity: tuple[int, ...]

    def read(self, path: str, name: str, dtype: type[np.generic]) -> np.ndarray:
        """A whole tensor of one dimension."""
        count = (self.ends[name] - self.starts[name]) // np.dtype(dtype).itemsize
        return np.fromfile(path, dtype, count, offset=self.starts[name])


def read_part_values(path: Path) -> dict[str, Any] | None:
    """What the header of a part says; None where it is not there or not whole."""
    try:
        return _open_part(path).values
    except (OSError, ValueError, KeyError, MismatchError):
        return None


def _open_part(path: Path) -> _PartFile:
    """The header of a safetensors file: its length (uint64), JSON, and then the tensors."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > 100_000_000:
            raise MismatchError(f"{path} is no part of a cache; run `imettk prepare` again")
        header = json.loads(file.read(length))
        identity = _identity(file.fileno())
    values = json.loads(header.pop("__metadata__")["cache"])
    starts = {name: 8 + length + tensor["data_offsets"][0] for name, tensor in header.items()}
    ends = {name: 8 + length + tensor["data_offsets"][1] for name, tensor in header.items()}
    if (size := identity[2]) < max(ends.values()):
        raise MismatchError(f"{path} is cut ({size} of {max(ends.values())} bytes); run `imettk prepare` again")
    return _PartFile(values, starts, ends, identity)


def _identity(file: int) -> tuple[int, ...]:
    status = os.fstat(file)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def read_stamps(folder: Path) -> tuple[np.ndarray, FileStamps] | None:
    """Return the names of a cache's images, str (N,), and the stamps of their files; None where it has none."""
    try:
        images = json.loads((folder / INDEX).read_text(encoding="utf-8"))["images"]
        return np.array(images["names"], np.str_), _stamps(images)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _stamps(images: dict[str, Any]) -> FileStamps:
    return FileStamps(*(np.array(images[name], np.int64) for name in FileStamps._fields))


class ImageCache:
    """Reads the images of a finished cache; holds little, and nothing a process could not inherit or be sent.

    Attributes:
        names: what each image is, str (N,); see `image_names`.
        sizes: bytes of each image's file when it was read, int64 (N,); -1 where there was none.
        stamps: of each image's file when it was read; None for a cache of version 0.1.0, which knew sizes alone.
        kind: `pixels` or `jpeg`.
        key: of the settings that made it.
        bad: why `prepare` could not read an image, by its position.

    Raises:
        MismatchError: a file of it is missing or damaged.
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
            raise MismatchError(f"{path} is missing: the cache is not whole; run `imettk prepare` again") from None
        except (ValueError, KeyError, TypeError) as error:
            what = f"{type(error).__name__}: {error}"
            raise MismatchError(f"{folder} is damaged ({what}): run `imettk prepare` again") from None

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
        else:  # of version 0.1.0
            self.names = np.array((folder / "names.txt").read_text(encoding="utf-8").split("\n"), np.str_)
            self.sizes = np.array((folder / "bytes.txt").read_text(encoding="utf-8").split("\n"), np.int64)
        if len(self.sizes) != len(self.names):
            raise ValueError(f"{len(self.names)} names, and sizes of {len(self.sizes)} files")
        self._plan = PartPlan(len(self.names), index["rows_per_part"])
        self._shape = (*index["size"], index["channels"])
        self._paths = [str(part_path(folder, part)) for part in range(self._plan.num_parts)]
        for path, contents in zip(self._paths, index.get("parts", [None] * len(self._paths)), strict=True):
            part = _open_part(Path(path))
            if contents not in (None, part.values["contents"]):
                raise ValueError(f"{path} is of another `prepare` than {INDEX}")
            self._identities.append(part.identity)
            self._starts.append(part.starts["pixels" if self.kind == "pixels" else "bytes"])
            self._checksums.append(part.read(path, "checksums", np.uint32) if "checksums" in part.starts else None)
            if self.kind == "jpeg":
                self._offsets.append(part.read(path, "offsets", np.int64))
        self._checked = np.zeros(len(self.names), bool)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open_files": {}}

    def read(self, row: int) -> np.ndarray:
        """One image, uint8 (H, W, channels).

        Raises:
            DataError: `prepare` could not read it, and says why.
            MismatchError: the cache was made anew since it was opened, or is damaged.
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
        if not self._checked[row]:
            self._check(row, part, place, content)
        return decode_jpeg(content, self._shape[:2], self._shape[2]) if self.kind == "jpeg" else content

    def _check(self, row: int, part: int, place: int, content: np.ndarray) -> None:
        """Compare what was read with its checksum, once in each process."""
        checksums = self._checksums[part]
        if checksums is not None and zlib.crc32(content.data) != checksums[place]:
            raise MismatchError(
                f"{self._paths[part]} is damaged: image {self.names[row]} does not match its checksum; "
                "delete the cache and run `imettk prepare` again"
            )
        self._checked[row] = True

    def _read_into(self, array: np.ndarray, part: int, start: int) -> None:
        """Read, not mapped: the pages stay the system's, and a process does not grow with what it has seen."""
        if part not in self._open_files:
            self._open_files[part] = self._open_same(part)
        if _read_at(self._open_files[part], array, start) != array.nbytes:
            raise MismatchError(f"{self._paths[part]} is shorter than it was; run `imettk prepare` again")

    def _open_same(self, part: int) -> int:
        """Open the part that was there when the cache was opened; another one has other offsets."""
        path = self._paths[part]
        try:
            file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise MismatchError(f"{path} cannot be read any more: {error.strerror}") from None
        if _identity(file) != self._identities[part]:
            os.close(file)
            raise MismatchError(f"{path} was made anew while it was in use: start again, when `prepare` is done")
        return file


def _read_at(file: int, array: np.ndarray, start: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(file, [array.data], start)
    with _READING, open(file, "rb", buffering=0, closefd=False) as opened:  # Windows
        opened.seek(start)
        return opened.readinto(array.data) or 0


_READING = threading.Lock()
