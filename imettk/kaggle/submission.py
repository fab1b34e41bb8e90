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
    sample = pd.read_csv(sample_csv, dtype=str, keep_default_na=False)
    answers = pd.Series(cells, index=list(ids), dtype=object)
    if answers.index.has_duplicates:
        raise DataError(f"the predictions hold {answers.index.duplicated().sum()} ids more than once")
    absent = sample.loc[~sample[id_column].isin(answers.index), id_column]
    if len(absent):
        raise DataError(f"{sample_csv}: no prediction for {len(absent)} ids, first {absent.iloc[0]}")
    submission = sample.assign(**{label_column: answers.loc[sample[id_column]].to_numpy()})
    write_atomically(path, submission.to_csv(index=False).encode())
    check_submission(path, sample_csv, id_column=id_column)


def check_submission(path: Path, sample_csv: Path, *, id_column: str) -> None:
    """Compare a submission file with the sample.

    Raises:
        DataError: other columns, ids missing, unknown or twice.
    """
    submission, sample = (pd.read_csv(file, dtype=str, keep_default_na=False) for file in (path, sample_csv))
    if list(submission.columns) != list(sample.columns):
        raise DataError(
            f"{path} has columns {', '.join(submission.columns)}; the sample has {', '.join(sample.columns)}"
        )
    ids, wanted = submission[id_column], sample[id_column]
    faults = {
        "missing": sorted(set(wanted) - set(ids)),
        "not in the sample": sorted(set(ids) - set(wanted)),
        "there twice": sorted(ids[ids.duplicated()].unique()),
    }
    for fault, names in faults.items():
        if names:
            raise DataError(f"{path}: {len(names)} ids are {fault}, first {names[0]}")
