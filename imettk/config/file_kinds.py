"""File formats of tables and images: one row a format, with the libraries that it needs; importing it loads none."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from imettk.config.choices import Choice
from imettk.errors import DataError
from imettk.extras import how_to_install

if TYPE_CHECKING:
    from imettk.config.recipe import Recipe


Kind = TypeVar("Kind", bound="FileKind")


class MissingLibraryError(DataError):
    """The library that reads a file is not installed; the message has the command that installs it."""


@dataclass(frozen=True, kw_only=True)
class FileKind(Choice):
    """A file format; `make` reads it.

    Attributes:
        title: the format's name in messages.
        endings: of file names, in lower case.
        starts: (offset, bytes) of a file's content; any of them identifies the format.
        without_start: a file with none of these bytes has this format if its name ends so.
        needs: modules that `make` imports beyond the packages that imettk requires.
        extra: of imettk that installs them.
        rarely: most files of the format are read without these modules.
    """

    title: str
    endings: tuple[str, ...]
    starts: tuple[tuple[int, bytes], ...] = ()
    without_start: bool = False
    needs: tuple[str, ...] = ()
    extra: str = ""
    rarely: bool = False

    def is_start(self, content: bytes) -> bool:
        """Return whether a file that begins with `content` has this format."""
        for offset, start in self.starts:  # noqa: SIM110 - asked of every image, in half the time of `any`
            if content.startswith(start, offset):
                return True
        return False

    def load_for(self, path: object) -> Any:
        """Return `make`, imported; raise `MissingLibraryError` as `read` does."""
        return self._guard(path, self.load)

    def read(self, path: object, content: bytes, **settings: Any) -> Any:
        """Read a file's content with `make`.

        Raises:
            MissingLibraryError: a library that it needs is not installed; the message has the command that installs it.
        """
        return self._guard(path, lambda: self.load()(content, **settings))

    def _guard(self, path: object, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except ModuleNotFoundError as error:
            name = (error.name or "").partition(".")[0]
            if name not in self.needs:  # a module of imettk, or of the library itself: a fault that must be seen whole
                raise
            raise MissingLibraryError(
                f"{path}: {self.title} is read by {name}, which is not installed: {how_to_install(self.extra, name)}"
            ) from None


# Readers of single images: `make` is (content, *, channels, frame, as_shown, max_pixels) -> PixelValues | None. None
# leaves the file to the readers of pictures, which also get every file that no row here recognises. `channels`, `frame`
# and `max_pixels` are fields of `images`; an image with more pixels is refused by its header, before it takes memory.
# `as_shown` is False if `images.white` replaces the file's own black and white.
IMAGE_READERS: dict[str, FileKind] = {
    "npy": FileKind(
        make="imettk.data.arrays:read_npy", title="an array of numpy", endings=(".npy",), starts=((0, b"\x93NUMPY"),)
    ),
    "tiff": FileKind(
        make="imettk.data.tiff:read_tiff",
        title="a TIFF of this kind",
        endings=(".tif", ".tiff"),
        starts=((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")),
        needs=("tifffile",),
        extra="tiff",
        rarely=True,
    ),
    "dicom": FileKind(
        make="imettk.data.dicom:read_dicom",
        title="a DICOM file",
        endings=(".dcm", ".dicom"),
        # A file without the preamble begins with its first group, and this with its length or its character set.
        starts=((128, b"DICM"), (0, b"\x02\0\0\0UL"), (0, b"\x08\0\x05\0"), (0, b"\x08\0\0\0\x04\0\0\0")),
        without_start=True,
        needs=("pydicom", "gdcm", "pylibjpeg", "openjpeg"),
        extra="dicom",
    ),
    "npz": FileKind(
        make="imettk.data.arrays:read_npz", title="an array of numpy", endings=(".npz",), without_start=True
    ),
}


def image_kind(content: bytes, path: str) -> FileKind | None:
    """Return the row for an image, found by its content, else by its ending; None for pictures such as JPEG."""
    for kind in IMAGE_READERS.values():
        if kind.is_start(content):
            return kind
    ending = os.path.splitext(path)[1].lower()
    for kind in IMAGE_READERS.values():
        if kind.without_start and ending in kind.endings:
            return kind
    return None


def kind_of_name(rows: Mapping[str, Kind], name: str) -> Kind | None:
    """Return the row with this file name's ending; None if there is none."""
    lower = name.lower()
    return next((kind for kind in rows.values() if lower.endswith(kind.endings)), None)


# Readers of tables, all cells as text: `make` is (path, remarks) -> `data.table_files.FileRows`.
TABLE_READERS: dict[str, FileKind] = {
    "csv": FileKind(
        make="imettk.data.text_tables:read_text", title="csv", endings=(".csv", ".tsv", ".csv.gz", ".tsv.gz")
    ),
    "text": FileKind(make="imettk.data.text_tables:read_lines_of_text", title="text", endings=(".txt",)),
    "json": FileKind(make="imettk.data.json_tables:read_json", title="JSON", endings=(".json", ".json.gz")),
    "json_lines": FileKind(
        make="imettk.data.json_tables:read_json_lines",
        title="JSON lines",
        endings=(".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"),
    ),
    "parquet": FileKind(
        make="imettk.data.parquet_tables:read_parquet",
        title="parquet",
        endings=(".parquet", ".pq"),
        needs=("pyarrow",),
        extra="parquet",
    ),
    "arrow": FileKind(
        make="imettk.data.parquet_tables:read_arrow",
        title="Arrow",
        endings=(".feather", ".arrow"),
        needs=("pyarrow",),
        extra="parquet",
    ),
}
TABLE_ENDINGS = tuple(ending for kind in TABLE_READERS.values() for ending in kind.endings)


@dataclass(frozen=True, kw_only=True)
class ContainerKind(FileKind):
    """A format of files that hold many images.

    Attributes:
        in_order: images can only be decoded in order, so a random one costs all before it.
    """

    in_order: bool = False


# Readers of files with many images: `make` is (path) -> `data.containers.Container`.
CONTAINERS: dict[str, ContainerKind] = {
    "hdf5": ContainerKind(
        make="imettk.data.hdf5_files:Hdf5File",
        title="HDF5",
        endings=(".hdf5", ".h5", ".hdf", ".he5"),
        starts=((0, b"\x89HDF\r\n\x1a\n"),),
        needs=("h5py",),
        extra="hdf5",
    ),
    "npy": ContainerKind(make="imettk.data.array_files:ArrayFile", title="arrays of numpy", endings=(".npy",)),
    "npz": ContainerKind(make="imettk.data.array_files:ArrayArchive", title="arrays of numpy", endings=(".npz",)),
    "csv": ContainerKind(make="imettk.data.text_pixels:open_csv", title="a table of pixels", endings=(".csv", ".tsv")),
    "json": ContainerKind(
        make="imettk.data.text_pixels:open_json",
        title="a table of pixels",
        endings=(".json", ".jsonl", ".ndjson"),
    ),
    "parquet": ContainerKind(
        make="imettk.data.parquet_pixels:open_parquet",
        title="parquet",
        endings=(".parquet", ".pq"),
        needs=("pyarrow",),
        extra="parquet",
        in_order=True,
    ),
}


def extras_of(recipe: Recipe) -> tuple[str, ...]:
    """Return the extras of imettk that install the readers of a recipe's files, sorted."""
    form = recipe.table
    tables = [form.train_csv, form.sample_csv, form.labels_csv, form.test_csv, form.boxes_csv, form.merged_csv]
    tables += [form.turned_csv, form.left_out_csv, *(extra.csv for extra in form.extra)]
    suffixes = [form.image_suffix, form.image_path, *(extra.image_suffix for extra in form.extra)]
    kinds = [kind_of_name(TABLE_READERS, name) for name in tables if name]
    kinds += [kind_of_name(IMAGE_READERS, name) for name in suffixes if name]
    places = [form.train_images, form.test_images, *(extra.images for extra in form.extra)]
    kinds += [kind_of_name(CONTAINERS, name) for name in places]
    return tuple(sorted({kind.extra for kind in kinds if kind is not None and kind.extra and not kind.rarely}))
