"""Write a submission, and check it against the competition's sample before anyone spends one on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from imettk.errors import DataError
from imettk.tracking.files import write_atomically


def write_submission(
    path: Path, sample_csv: Path, *, id_column: str, label_column: str, ids: np.ndarray, cells: list[str]
) -> None:
    """Write `cells` (one a sample) for `ids` in the columns and the order of the sample, checked first.

    Raises:
        DataError: the submission would not fit the sample; nothing is written.
    """
    sample = _read(sample_csv)
    answers = pd.DataFrame({id_column: list(ids), label_column: cells}, dtype=object)
    _check(answers, sample, f"the submission for {sample_csv}", id_column)
    ordered = answers.set_index(id_column)[label_column].loc[list(sample[id_column])]
    submission = sample.assign(**{label_column: ordered.to_numpy()})
    write_atomically(path, submission.to_csv(index=False).encode())


def check_submission(path: Path, sample_csv: Path, *, id_column: str) -> None:
    """Compare a submission file with the sample.

    Raises:
        DataError: other columns, ids missing, unknown or twice.
    """
    submission, sample = _read(path), _read(sample_csv)
    if list(submission.columns) != list(sample.columns):
        has, wants = ", ".join(submission.columns), ", ".join(sample.columns)
        raise DataError(f"{path} has columns {has}; the sample has {wants}")
    _check(submission, sample, str(path), id_column)


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _check(submission: pd.DataFrame, sample: pd.DataFrame, what: str, id_column: str) -> None:
    """Columns are among the sample's, and the ids are its ids, each once."""
    absent = [column for column in submission.columns if column not in sample.columns]
    if absent:
        raise DataError(f"{what}: the sample has no column {', '.join(absent)}; it has {', '.join(sample.columns)}")
    ids, wanted = submission[id_column], sample[id_column]
    faults = {
        "missing": sorted(set(wanted) - set(ids)),
        "not in the sample": sorted(set(ids) - set(wanted)),
        "there twice": sorted(ids[ids.duplicated()].unique()),
        "twice in the sample": sorted(wanted[wanted.duplicated()].unique()),
    }
    for fault, names in faults.items():
        if names:
            raise DataError(f"{what}: {len(names)} ids are {fault}, first {names[0]}")
