"""Data frames of numbers in csv and parquet files, whose floats come back as they were.

Competitions' own tables are read by `data.table_files`, every cell as text: too much for a prediction of each of a
thousand labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from imettk.config.file_kinds import TABLE_READERS, kind_of_name
from imettk.data.csv_files import list_names, require_columns
from imettk.data.table_files import as_cell, as_id
from imettk.errors import DataError
from imettk.files import replace_atomically

Format = Literal["csv", "parquet"]


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame in the format of its ending, `.csv` or `.parquet`, without an index; equal content, equal bytes.

    A csv holds the fewest digits that give the same float32, or float64, back.

    Raises:
        MissingLibraryError: parquet needs pyarrow, which is not installed.
    """
    if not _is_parquet(path):
        with replace_atomically(path) as temporary:
            frame.to_csv(temporary, index=False, lineterminator="\n")
        return
    TABLE_READERS["parquet"].load_for(path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replace_atomically(path) as temporary:
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False, nthreads=1), temporary)


def read_header(path: Path) -> list[str]:
    """Return the names of a file's columns.

    Raises:
        DataError: the file is missing, is no csv or parquet, or has two columns of one name.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing, or is not a file")
    if _is_parquet(path):
        TABLE_READERS["parquet"].load_for(path)
        names = list(_parquet(path).schema_arrow.names)
    else:
        names = _read_csv(path, header=None, nrows=1, dtype=str).iloc[0].tolist()
    if doubles := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: {list_names(doubles, 'name')} of more than one column: rename them to be unique")
    return names


def read_frame(path: Path, *, text: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    """Read some columns of a csv or parquet file.

    Args:
        text: columns to read as text; '' for a missing cell, and whole numbers without a point.
        numbers: columns to read as float64; NaN for a missing cell.

    Raises:
        DataError: a column is missing, or a cell that should hold a number does not.
    """
    header, columns = read_header(path), [*text, *numbers]
    require_columns(pd.DataFrame(columns=header), path, columns)
    if _is_parquet(path):
        # Without pandas' metadata, which would make the index of a saved frame of an `id` column.
        frame = _parquet(path).read(columns, use_threads=False).to_pandas(use_threads=False, ignore_metadata=True)
    else:
        try:
            return _read_csv(path, dtype=dict.fromkeys(header, str) | dict.fromkeys(numbers, np.float64))[columns]
        except ValueError:  # a cell is no number; pandas does not say which
            frame = _read_csv(path, dtype=str)
    cells = {name: [as_cell(as_id(value)) for value in frame[name]] for name in text}
    return pd.DataFrame(cells | {name: _as_numbers(path, name, frame[name]) for name in numbers})


def _as_numbers(path: Path, name: str, column: pd.Series) -> np.ndarray:
    """Return a column as float64 (N,), NaN for a missing cell; raise `DataError` if a cell is something else."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    cells = map(as_cell, column[np.isnan(numbers)])
    if wrong := [cell for cell in cells if cell.lower() not in ("", "nan")]:
        raise DataError(f"{path}: column {name} holds {list_names(map(repr, wrong), 'cell')} that are not numbers")
    return numbers


def _is_parquet(path: Path) -> bool:
    kind = kind_of_name(TABLE_READERS, path.name)
    if kind not in (TABLE_READERS["csv"], TABLE_READERS["parquet"]):
        raise DataError(f"{path}: its name must end in .csv or .parquet")
    return kind is TABLE_READERS["parquet"]


def _parquet(path: Path):  # type: ignore[no-untyped-def]
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise DataError(f"{path} cannot be read as parquet: {' '.join(str(error).split())}") from None


def _read_csv(path: Path, **how: object) -> pd.DataFrame:
    # Without `usecols`, with which pandas drops the rest of a row that has too many cells: `0,5` would be 0.
    how = {"encoding": "utf-8-sig", "keep_default_na": False, "index_col": False} | how
    if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):  # by default it got the last digits of floats wrong
        how["float_precision"] = "round_trip"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(path, **how)  # type: ignore[call-overload]
    except pd.errors.ParserWarning:
        raise DataError(f"{path} is not a readable csv table: its first row has more cells than its header") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a readable csv table: {' '.join(str(error).split())}") from None
