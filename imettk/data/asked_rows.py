"""The rows of the test set: from the sample submission, a table of test images, or their folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from imettk.config import TableFormat
from imettk.data.containers import list_members
from imettk.data.csv_files import list_names, require_columns
from imettk.data.file_tree import open_tree
from imettk.data.image_files import without_ending
from imettk.data.listings import refuse_odd_names
from imettk.data.long_rows import sample_rows
from imettk.data.submission import read_sample
from imettk.data.table_files import read_rows
from imettk.data.units import UNIT, is_image_name, join_cells, read_test_images


def find_row_source(table_format: TableFormat, data_dir: Path) -> Path | None:
    """Return the file or folder that defines the rows of the test set; None if there is none.

    Test images that lie among the training images do not count, nor do images whose units only a table could name.
    """
    sample = data_dir / table_format.sample_csv
    if sample.is_file():
        return sample
    if table_format.test_csv is not None:
        return path if (path := data_dir / table_format.test_csv).is_file() else None
    folder = data_dir / table_format.test_images
    if table_format.unit_columns or table_format.image_columns or _holds_training(table_format):
        return None
    return folder if folder.exists() and any(True for _ in _list_images(table_format, folder)) else None


def _holds_training(table_format: TableFormat) -> bool:
    """Return whether the training images lie in the folder of test images."""
    way = os.path.relpath(os.path.normpath(table_format.train_images), os.path.normpath(table_format.test_images))
    return way == "." or not way.startswith("..")


def read_test_rows(table_format: TableFormat, data_dir: Path, remarks: list[str] | None = None) -> pd.DataFrame:
    """Return a table with one row per image or unit of the test set, in the columns of a sample submission.

    Without a sample submission the table is built with empty answers, and a remark names its source.

    Raises:
        DataError: there is no source either; otherwise as `read_sample`.
    """
    sample, source = data_dir / table_format.sample_csv, find_row_source(table_format, data_dir)
    if source is None or source == sample:
        return read_sample(table_format, sample, remarks)
    if source.is_file() and table_format.test_csv is not None:
        ids = _ids_of_table(table_format, source, read_rows(source, remarks))
    else:
        ids = _ids_of_files(table_format, source)
    columns = [table_format.test_id_column, *table_format.filled_columns]
    if remarks is not None:
        kind = "unit" if table_format.has_units else "row"
        remarks.append(
            f"{sample} is missing: the test set has the {list_names(ids, kind)} of {source}, and `infer` writes "
            f"the columns {', '.join(columns)}"
        )
    frame = pd.DataFrame("", index=range(len(ids)), columns=columns, dtype=str)
    return frame.assign(**{columns[0]: ids})


def as_sample(table_format: TableFormat, asked: pd.DataFrame) -> pd.DataFrame:
    """Return such rows in the layout of the sample submission."""
    long = sample_rows(table_format)
    return asked if long is None else long.lengthen(asked)


def _ids_of_table(table_format: TableFormat, csv: Path, frame: pd.DataFrame) -> list[str]:
    """Return the ids of images or units in a table of test images, without repeats."""
    key, long = table_format.test_id_column, sample_rows(table_format)
    if long is not None and {*long.columns[:-1]} <= {*frame.columns}:
        return list(dict.fromkeys(long.images(frame, csv).tolist()))
    by_units = bool(table_format.unit_columns) and (key == table_format.id_column or key not in frame.columns)
    if by_units:
        require_columns(frame, csv, table_format.unit_columns)
        return list(dict.fromkeys(join_cells(frame, table_format.unit_columns)))
    key = key if key in frame.columns else table_format.id_column
    require_columns(frame, csv, [key])
    return list(dict.fromkeys(frame[key]))


def _ids_of_files(table_format: TableFormat, folder: Path) -> list[str]:
    """Return the ids of the images of a folder or container, sorted.

    An id includes the folder only if a file name occurs in several folders.

    Raises:
        DataError: a file name is not UTF-8.
    """
    names = list(_list_images(table_format, folder))
    refuse_odd_names(folder, names)
    if table_format.unit_folders:
        return sorted({name.partition("/")[0] for name in names})
    known = {_without_suffix(name, table_format) for name in names}
    # All ids in one form: with and without folders mixed, the same name could mean two images.
    short = {name.rpartition("/")[2] for name in known}
    return sorted(short if len(short) == len(known) else known)


def _list_images(table_format: TableFormat, folder: Path) -> Iterator[str]:
    """Yield the images of a folder and below it, the first file of each; with units only those in subfolders."""
    if (members := list_members(folder, table_format.pixel_shape)) is not None:
        yield from members
        return
    tree, suffix = open_tree(folder), _suffix_of(table_format)
    for path in tree.paths_below() if table_format.unit_folders else (*sorted(tree.files()), *tree.paths_below()):
        name = path.rpartition("/")[2]
        fits = name.endswith(suffix) if table_format.channel_files else is_image_name(name, suffix)
        if fits and not name.startswith("."):
            yield path


def _suffix_of(table_format: TableFormat) -> str:
    """Return the suffix of an image's file; of several files, that of the first channel."""
    return table_format.image_suffix.replace("*", next(iter(table_format.channel_files), ""))


def _without_suffix(name: str, table_format: TableFormat) -> str:
    """Return an image's name without its suffix."""
    suffix = _suffix_of(table_format)
    if not suffix or name.endswith(suffix):
        return name.removesuffix(suffix)
    return without_ending(name).removesuffix(without_ending("_" + suffix)[1:])


def read_test_units(table_format: TableFormat, data_dir: Path) -> dict[str, str]:
    """Return the unit of each test image by its id; raises as `read_test_images`."""
    units = read_test_rows(table_format, data_dir)[table_format.test_id_column]
    images = read_test_images(table_format, data_dir, data_dir / table_format.sample_csv, units, [])
    return dict(zip(images[table_format.id_column], images[UNIT], strict=True))
