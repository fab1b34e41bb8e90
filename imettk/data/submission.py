"""Write a submission, and check it against the competition's sample before a person spends one of the day on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import list_names, require_columns, require_filled
from imettk.data.label_cells import are_lists
from imettk.data.long_rows import LongRows, sample_rows
from imettk.data.table_files import read_rows
from imettk.data.text_tables import separator_of
from imettk.errors import DataError
from imettk.files import write_atomically


def read_sample(table_format: TableFormat, csv: Path, remarks: list[str] | None = None) -> pd.DataFrame:
    """Read the sample submission as a table with one row per image, even if it has one per image and label.

    Returns:
        At least the ids and the columns of answers, as text.

    Raises:
        DataError: a column is missing, nothing would fill one, or rows do not match `sample_rows`.
    """
    frame, long, kept = read_rows(csv, remarks), sample_rows(table_format), table_format.kept_columns
    columns = (table_format.test_id_column, *table_format.filled_columns) if long is None else long.columns
    require_columns(frame, csv, [*columns, *kept])
    require_filled(frame, csv, columns, kept)
    return frame if long is None else long.gather(frame, csv)


class SubmissionForm(NamedTuple):
    """Columns and rows of a submission file.

    Attributes:
        answer_columns: one column for all answers of a row, joined by the separator; or one column per answer.
        kept_columns: columns of the sample whose values are copied.
        long: set if the sample has one row for each image and each of `answer_columns`.
    """

    id_column: str
    answer_columns: Sequence[str]
    kept_columns: Sequence[str] = ()
    separator: str = " "
    long: LongRows | None = None

    @classmethod
    def of(cls, table_format: TableFormat) -> Self:
        """Return the form that a recipe's table describes."""
        return cls(
            table_format.test_id_column,
            table_format.filled_columns,
            table_format.kept_columns,
            table_format.label_separator,
            sample_rows(table_format),
        )

    def to_frame(self, ids: np.ndarray, answers: Sequence[Sequence[str]]) -> pd.DataFrame:
        """Return answers as a table with one row per id."""
        content: dict[str, list[str]] = {self.id_column: list(ids)}
        if len(self.answer_columns) == 1:
            content[self.answer_columns[0]] = [self.separator.join(row) for row in answers]
        else:
            content |= {name: [row[place] for row in answers] for place, name in enumerate(self.answer_columns)}
        return pd.DataFrame(content, dtype=object)


class AnswerRules(NamedTuple):
    """Conditions that the answers of each row must meet.

    Attributes:
        num_answers: number of answers in a single column; None is any number.
        numbers: answers are numbers; two of a row may be equal.
        shares: numbers are probabilities, or 0 and 1.
        alike: answers belong to different questions; two of a row may be equal.
    """

    num_answers: int | None = None
    numbers: bool = False
    shares: bool = True
    alike: bool = False

    def find_fault(self, row: Sequence[str], form: SubmissionForm) -> str | None:
        """Return the reason why a row's answers are invalid, or None."""
        columns = len(form.answer_columns)
        separator, count = (form.separator, self.num_answers) if columns == 1 else (None, columns)
        fault = _fault(row, separator, count, distinct=not (self.numbers or self.alike))
        return fault or (_no_number(row, shares=self.shares) if self.numbers else None)


def write_submission(
    path: Path,
    sample_csv: Path,
    ids: np.ndarray,
    answers: Sequence[Sequence[str]],
    *,
    form: SubmissionForm,
    rules: AnswerRules | None = None,
    made: pd.DataFrame | None = None,
) -> None:
    """Check answers, then write them in the columns and the row order of the sample.

    Args:
        answers: the answers of each id, best first if their order counts.
        rules: None accepts any number of distinct answers.
        made: the sample itself, if it was made from `sample_csv` (another file or a folder).

    Raises:
        DataError: the submission does not fit the sample, or nothing fills one of its columns; nothing is written.
    """
    rules = AnswerRules() if rules is None else rules
    template = read_rows(sample_csv) if made is None else made
    sample = template if form.long is None else form.long.gather(template, sample_csv)
    where = f"the submission for {sample_csv}"
    for name, row in zip(ids, answers, strict=True):
        if fault := rules.find_fault(row, form):
            raise DataError(f"{where}: {name} {fault}")
    frame = form.to_frame(ids, answers)
    _check(frame, sample, where, form.id_column)
    filled = frame.columns if form.long is None else form.long.columns
    _refuse_unfilled(template, (*filled, *form.kept_columns), where)
    # In the sample's order, which some graders require.
    ordered = frame.set_index(form.id_column).loc[list(sample[form.id_column])]
    if form.long is None:
        submission = sample.assign(**{name: ordered[name].to_numpy() for name in form.answer_columns})
    else:
        submission = form.long.spread(template, sample_csv, ordered[list(form.answer_columns)].to_numpy())
    delimiter = "," if made is not None else separator_of(sample_csv)
    write_atomically(path, submission.to_csv(index=False, sep=delimiter).encode())


def _refuse_unfilled(template: pd.DataFrame, known: Sequence[str], where: str) -> None:
    """Raise `DataError` if the sample has columns that are neither filled nor kept."""
    if unfilled := [column for column in template.columns if column not in known]:
        raise DataError(
            f"{where}: nothing fills column {', '.join(unfilled)}, so the sample's own values would remain; list "
            "columns that should remain in table.kept_columns"
        )


def _fault(row: Sequence[str], separator: str | None, count: int | None, *, distinct: bool) -> str | None:
    """Return the reason why the answers of one row are invalid, or None.

    Args:
        separator: separator that will join them.
        count: required number of answers.
        distinct: no two answers may be equal.
    """
    if not all(answer.strip() for answer in row):
        return f"has an empty answer among {len(row)}"
    if distinct and len(set(row)) < len(row):
        return f"has a repeated answer: {' '.join(row)}"
    if count is not None and len(row) != count:
        return f"has {len(row)} answer{'s' if len(row) != 1 else ''}, but needs {count}"
    if separator is not None and len(row) > 1 and any(separator in answer for answer in row):
        return f"has an answer that contains the separator {separator!r}: {row}"
    return None


def _no_number(row: Sequence[str], *, shares: bool) -> str | None:
    numbers = _numbers(row)
    fits = (numbers >= 0) & (numbers <= 1) if shares else np.isfinite(numbers)
    bad = [answer for answer, fit in zip(row, fits, strict=True) if not fit]
    return f"has {bad[0]!r}, which is not a number{' in [0, 1]' if shares else ''}" if bad else None


def _numbers(cells: Iterable[str]) -> np.ndarray:
    """Return cells as numbers, float64 (N,), NaN for other text."""
    return pd.to_numeric(pd.Series(list(cells), dtype=object), errors="coerce").to_numpy(np.float64)


def check_kind(
    sample: pd.DataFrame,
    csv: Path,
    columns: Sequence[str],
    *,
    labels: Sequence[str] | None,
    fractions: bool = False,
    shares: bool = True,
    lists: bool = False,
) -> None:
    """Compare the cells of a sample submission with the answers that will replace them.

    The values of a sample are placeholders: the particular label means nothing, but words or numbers show the format.

    Args:
        columns: columns of the answers.
        labels: possible answers; None if answers are numbers.
        shares: numbers that are not labels are probabilities.
        fractions: whole numbers may replace fractions such as 0.5, because the user has said so.
        lists: answers are written as lists if those of the sample are.

    Raises:
        DataError: words would replace numbers or numbers words; probabilities and labels would be confused; or the
            sample has lists, and answers are not lists.
    """
    for column in columns:
        cells = sample[column][sample[column].str.strip() != ""].unique()
        numbers = _numbers(cells)
        if not len(cells):
            continue
        numeric, where = not np.isnan(numbers).any(), f"{csv}: column {column} holds {_example(cells)}"
        if labels is None:
            if not numeric:
                kind = "probabilities" if shares else "numbers"
                raise DataError(f"{where}, where {kind} would be written: are labels asked for?")
            if shares and ((numbers < 0) | (numbers > 1)).any():
                outside = cells[(numbers < 0) | (numbers > 1)]
                raise DataError(f"{csv}: column {column} holds {_example(outside)}, which is not a probability")
            continue
        if not lists and are_lists(cells) and not set(cells) & set(labels):
            raise DataError(
                f"{where}, a list, where one answer, or several joined by a separator, would be written: if rows have "
                "several labels, use --table.task multilabel, which answers with lists"
            )
        words = np.isnan(_numbers(labels)).all() or (not fractions and (numbers % 1 != 0).any())
        if numeric and words and not set(cells) & set(labels):
            raise DataError(
                f"{where}, where labels such as {labels[0]!r} would be written: for probabilities, "
                "use the rule `probability`, which `imettk new` does if a metric needs it, as in --metric roc_auc"
            )


def _example(cells: np.ndarray) -> str:
    return f"{str(cells[0])!r}" if len(cells) == 1 else f"{str(cells[0])!r} and {len(cells) - 1} others"


def check_submission(path: Path, sample_csv: Path, *, id_column: str) -> None:
    """Compare a submission file with the sample.

    Raises:
        DataError: columns differ, or ids are missing, unknown or repeated.
    """
    submission, sample = read_rows(path), read_rows(sample_csv)
    if list(submission.columns) != list(sample.columns):
        has, needs = ", ".join(submission.columns), ", ".join(sample.columns)
        raise DataError(f"{path} has columns {has}; the sample has {needs}")
    _check(submission, sample, str(path), id_column)


def _check(submission: pd.DataFrame, sample: pd.DataFrame, where: str, id_column: str) -> None:
    """Raise `DataError` unless the columns are among the sample's, and the ids are its ids, each once."""
    absent = [column for column in submission.columns if column not in sample.columns]
    if absent:
        raise DataError(f"{where}: the sample has no column {', '.join(absent)}; it has {', '.join(sample.columns)}")
    ids, wanted = submission[id_column], sample[id_column]
    faults = {
        "missing": sorted(set(wanted) - set(ids)),
        "not in the sample": sorted(set(ids) - set(wanted)),
        "repeated": sorted(ids[ids.duplicated()].unique()),
        "repeated in the sample": sorted(wanted[wanted.duplicated()].unique()),
    }
    for fault, names in faults.items():
        if names:
            raise DataError(f"{where}: {list_names(names, 'id')} {fault}")
