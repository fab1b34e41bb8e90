"""Folds and submission of a run folder as data frames, read without torch: a notebook need not load it for them."""

from __future__ import annotations

import pandas as pd

from imettk.data.folds import read_fold_file
from imettk.data.table_files import read_rows
from imettk.tracking.run_dir import RunDir

PLAIN_NUMBER = r"-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?"  # 007 is a label


def fold_frame(run: RunDir) -> pd.DataFrame:
    """Return the folds that `prepare` made: `id`, and `fold` as int64.

    A row that never validates has -1 (it only trains), -2 (it is left out) or -3 (it is only in the gallery).

    Raises:
        MissingFileError: `prepare` has not run.
    """
    return read_fold_file(run.find("folds.csv", written_by="prepare"))


def submission_frame(run: RunDir) -> pd.DataFrame:
    """Return the submission that `infer` wrote: as text the first column and each that is not all plain numbers.

    Raises:
        MissingFileError: `infer` has not written it.
    """
    frame = read_rows(run.find("submission.csv", written_by="infer"))
    numbers = [name for name in frame.columns[1:] if frame[name].str.fullmatch(PLAIN_NUMBER).all()]
    return frame.assign(**{name: pd.to_numeric(frame[name]) for name in numbers})
