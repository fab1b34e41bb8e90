"""The labels of a training table: the column or columns that hold them, and the way to read their cells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import LISTED, list_names, require_columns
from imettk.data.label_cells import YES, is_flag, read_cells
from imettk.data.part_names import is_held_out
from imettk.errors import DataError
from imettk.metrics import find_metric
from imettk.starter.guess_columns import (
    GROUP_NAME,
    LABEL_NAME,
    Choices,
    TrainingRows,
    are_numbers,
    label_candidates,
    may_be_numbers,
    number_columns,
    plain_name,
)
from imettk.starter.guess_labels import Reading, find_separator, labels_of, read_labels
from imettk.starter.guess_questions import asks_columns, question_columns, read_questions, why_questions
from imettk.starter.guess_sample import Sample
from imettk.starter.guess_votes import asks_votes, count_rows, vote_columns, why_votes
from imettk.starter.judging import judges_grades
from imettk.starter.look import Contents
from imettk.starter.questions import QUESTIONS, LabelKind
from imettk.tasks import TASKS
from imettk.tasks.task import NUMBER

AS_GRADES = "--task grades learns them as a chain of questions, --task multiclass as classes"


@dataclass(frozen=True)
class Targets:
    """The labels of the rows of a table.

    Attributes:
        frame: the table, with all labels of a row in `form["label_column"]`, as `data.label_cells` reads them.
        labels: the number of rows of each label.
        kind: what a row holds; labels of numbers and votes are the names of their columns.
        reason: why cells are read as that.
        found: a description of the columns of labels, and why they were chosen.
        form: fields of `TableFormat`.
    """

    frame: pd.DataFrame
    labels: Counter[str]
    kind: LabelKind
    reason: str
    found: tuple[str, str]
    form: dict[str, Any] = field(default_factory=dict)


def find_targets(
    frame: pd.DataFrame,
    rows: TrainingRows,
    sample: Sample | None,
    contents: Contents,
    choices: Choices,
    *,
    gathered: tuple[str, ...] = (),
) -> Targets:
    """Find the labels of a training table, and read them.

    Args:
        gathered: columns that were gathered from rows of one label each.

    Raises:
        DataError: several columns qualify, or cells may be classes or numbers.
    """
    if gathered:
        columns, reason = _require_fitting(frame, rows.csv, gathered, sample, choices), "rows are named after them"
    else:
        columns, reason = _find_columns(frame, rows, sample, contents, choices)
    if (why := why_votes(frame, columns, sample, choices)) is not None:
        return _from_votes(frame, rows, columns, reason, why)
    if (why := _why_numbers(frame, columns, sample, choices)) is not None:
        return _from_numbers(frame, rows, columns, reason, why)
    if (why := why_questions(frame, columns, sample, choices)) is not None:
        # In the order of the training table: a metric's weights per question follow the order of these columns.
        columns = tuple(column for column in frame.columns if column in columns)
        frame, labels, what = read_questions(frame, rows.id_column, columns, rows.csv)
        return Targets(frame, labels, LabelKind.CLASSES, why, (what, reason), {"label_columns": columns})
    if len(columns) > 1:
        return _from_flags(frame, rows, columns, reason, choices)
    if choices.question is None:
        _refuse_numbers(rows.csv, columns[0], frame[columns[0]].str.strip(), sample)
    return _from_cells(frame, rows, columns[0], reason, sample, several=choices.several)


def _from_cells(
    frame: pd.DataFrame, rows: TrainingRows, column: str, reason: str, sample: Sample | None, *, several: bool | None
) -> Targets:
    """Return the labels of a single column, one or several in a cell."""
    reading = read_labels(frame[column].str.strip(), column, several=several)
    form: dict[str, Any] = {"label_column": column}
    if reading.lists:
        form["label_lists"] = True
        frame = read_cells(frame, TableFormat(**form), Path(rows.csv))
    elif reading.separator is not None:
        form["label_separator"] = reading.separator
    separator = TableFormat(**form).cell_separator if reading.several else None
    labels = labels_of(frame[column].tolist(), separator)
    form |= _sign_of_answers(reading, sample, labels)
    if not labels:
        raise DataError(f"{rows.csv}: every cell of column {column} is empty: give another --label-column")
    found = f"column {column}, {len(labels)} distinct labels", reason
    kind = LabelKind.SEVERAL if reading.several else LabelKind.ONE
    return Targets(frame, labels, kind, reading.reason, found, form)


def _sign_of_answers(reading: Reading, sample: Sample | None, labels: Counter[str]) -> dict[str, str]:
    """Return the sign that joins labels in the sample submission, as a field of the format, if cells are lists."""
    sign = find_separator(sample.cells, labels) if reading.lists and sample is not None else None
    return {} if sign is None else {"label_separator": sign}


def _why_numbers(frame: pd.DataFrame, columns: tuple[str, ...], sample: Sample | None, choices: Choices) -> str | None:
    """Return the reason why these columns hold numbers to learn; None without one."""
    cells = [frame[column].str.strip() for column in columns]
    if not all(part[part != ""].str.fullmatch(NUMBER).all() for part in cells):
        return None
    if choices.question is not None:
        return "as requested" if TASKS[QUESTIONS[choices.question].task].numeric else None
    if choices.metric is not None and (metric := find_metric(choices.metric)) is not None:
        if len(columns) == 1 and judges_grades(choices.metric, cells[0][cells[0] != ""].unique()):
            return f"{choices.metric} depends on the distance between grades; {AS_GRADES}"
        return f"{choices.metric} judges numbers" if metric[0].needs == "values" else None
    if _shows_numbers(sample) and all(are_numbers(part) or _are_whole(part) for part in cells):
        return "the sample submission has fractions that are not probabilities"
    numbers = np.concatenate([pd.to_numeric(part[part != ""]).to_numpy(np.float64) for part in cells])
    if (len(columns) == 1 and are_numbers(cells[0])) or ((numbers % 1 != 0).any() and (numbers > 1).any()):
        return f"cells hold numbers with a decimal point, such as {next(cell for cell in cells[0] if cell)}"
    return None


def _from_numbers(frame: pd.DataFrame, rows: TrainingRows, columns: tuple[str, ...], reason: str, why: str) -> Targets:
    """Return the numbers of one column, or of several."""
    form: dict[str, Any] = {"label_columns": columns} if len(columns) > 1 else {"label_column": columns[0]}
    frame = read_cells(frame, TableFormat(task="regression", id_column=rows.id_column, **form), Path(rows.csv))
    numbers = frame[columns[0]].str.strip()
    numbers = numbers[numbers != ""]
    values = pd.to_numeric(numbers)
    what = f"column {columns[0]}, {numbers.nunique()} distinct numbers from {values.min():g} to {values.max():g}"
    if len(columns) > 1:
        what = f"{len(columns)} columns of numbers ({', '.join(columns[:3])}{', ...' if len(columns) > 3 else ''})"
    labels = Counter(dict.fromkeys(columns, len(frame)))
    return Targets(frame, labels, LabelKind.NUMBERS, why, (what, reason), form)


def _from_votes(frame: pd.DataFrame, rows: TrainingRows, columns: tuple[str, ...], reason: str, why: str) -> Targets:
    """Return the votes of several columns, one for each label."""
    form = TableFormat(task="votes", id_column=rows.id_column, label_columns=columns)
    labels = count_rows(frame, columns)
    what = f"{len(columns)} columns of votes ({', '.join(columns[:3])}{', ...' if len(columns) > 3 else ''})"
    frame = read_cells(frame, form, Path(rows.csv))
    return Targets(frame, labels, LabelKind.VOTES, why, (what, reason), {"label_columns": columns})


def _from_flags(
    frame: pd.DataFrame, rows: TrainingRows, columns: tuple[str, ...], reason: str, choices: Choices
) -> Targets:
    """Return labels that have a column of 0 and 1 each."""
    ones = np.sum([frame[column].str.strip().str.fullmatch(YES).to_numpy(bool) for column in columns], axis=0)
    several = choices.several if choices.several is not None else bool((ones != 1).any())
    form = TableFormat(task="multilabel" if several else "multiclass", id_column=rows.id_column, label_columns=columns)
    frame = read_cells(frame, form, Path(rows.csv))
    labels = labels_of(frame[form.label_column].tolist(), form.cell_separator)
    count = f"{len(columns)} columns of 0 and 1 ({', '.join(columns[:3])}{', ...' if len(columns) > 3 else ''})"
    why = f"{ones.min()} to {ones.max()} of {len(columns)} columns are 1 in each row"
    if not several:
        why = "one column is 1 in each row"
    kind = LabelKind.SEVERAL if several else LabelKind.ONE
    return Targets(frame, labels, kind, why, (count, reason), {"label_columns": columns})


def _find_columns(
    frame: pd.DataFrame, rows: TrainingRows, sample: Sample | None, contents: Contents, choices: Choices
) -> tuple[tuple[str, ...], str]:
    """Return the columns of labels, most often one, and the reason.

    Raises:
        DataError: several columns qualify, or the requested one does not exist.
    """
    if choices.label_column is not None:
        require_columns(frame, Path(rows.csv), [choices.label_column])
        return (choices.label_column,), "as requested"
    answers = () if sample is None else sample.answers
    asked = tuple(column for column in answers if column in frame.columns and column != rows.id_column)
    if len(asked) == 1:
        return asked, "the sample submission asks for it"
    if len(asked) > 1:
        return _require_fitting(frame, rows.csv, asked, sample, choices), "the sample submission asks for them"
    # Two columns of votes (up and down, say) beside a column that may hold labels are only features of the image.
    votes = vote_columns(frame, rows.id_column, choices)
    others = {*label_candidates(frame, rows.id_column)} - {*votes}
    if votes and (asks_votes(choices) or (sample is None and not others)):
        return votes, "there is one for each label"
    if asks_columns(choices) and (questions := question_columns(frame, rows.id_column)):
        return questions, "no other column holds a few classes"
    targets = label_candidates(frame, rows.id_column) or number_columns(frame, rows.id_column)
    columns = [column for column in targets if column != choices.group_column]
    for column in columns:
        if len(answers) > 1 and set(frame[column].str.strip()) - {""} == set(answers):
            return (column,), "the sample submission has a column for each of its values"
    known = _test_columns(rows, contents, sample)
    left = [column for column in columns if column not in known] or columns
    if len(left) == 1 < len(columns):
        shared = ", ".join(column for column in columns if column != left[0])
        return (left[0],), f"the test table lacks it, but has {shared}"
    return _choose_column(frame, rows, left, sample)


def _choose_column(
    frame: pd.DataFrame, rows: TrainingRows, columns: list[str], sample: Sample | None
) -> tuple[tuple[str, ...], str]:
    """Return one of several columns that may hold labels, or all those of 0 and 1, and the reason.

    Raises:
        DataError: several columns qualify, or there are none.
    """
    answers, cells = ((), set()) if sample is None else (sample.answers, set(sample.cells))
    if len(columns) == 1:
        return (columns[0],), "the only column that may hold labels"
    # Values decide before names: a column called `label` may not be what the sample answers with.
    holding = [] if sample is None else [column for column in columns if sample.is_answered_by(frame[column])]
    if len(holding) == 1:
        return (holding[0],), f"the sample submission answers with its values, such as {sorted(cells)[0]}"
    columns = holding or columns
    alike = [column for column in columns if plain_name(column) in map(plain_name, answers)]
    if len(alike) == 1:
        return (alike[0],), f"the sample submission asks for {', '.join(answers)}"
    flags = tuple(column for column in columns if is_flag(frame[column].str.strip()).all())
    if len(flags) > 2 and len(flags) >= len(columns) - 2:
        return flags, "there is one for each label"
    named = [column for column in columns if LABEL_NAME.fullmatch(column)]
    if len(named) == 1:
        return (named[0],), "chosen by its name"
    shown = [column for column in named if cells and cells <= set(frame[column].str.strip())]
    if len(shown) == 1:
        return (shown[0],), f"chosen by its name, and the sample submission shows its value {sorted(cells)[0]}"
    left = named or [column for column in columns if not GROUP_NAME.fullmatch(column)] or columns
    if len(left) == 1:
        return (left[0],), f"{', '.join(column for column in columns if column != left[0])} rather name groups"
    if not left:
        raise DataError(f"{rows.csv} has no labels beside {rows.id_column}: give --label-column or --train-csv")
    listed = ", ".join(f"{column} ({frame[column].nunique()} distinct values)" for column in left[:LISTED])
    listed += f" or {len(left) - LISTED} others" if len(left) > LISTED else ""
    raise DataError(f"{rows.csv}: the labels may be in {listed}: give --label-column")


def _test_columns(rows: TrainingRows, contents: Contents, sample: Sample | None) -> set[str]:
    """Return the columns that tables of test images have too: what is known about these need not be learned."""
    columns: set[str] = set()
    for csv, frame in contents.tables.items():
        if csv != rows.csv and (sample is None or csv != sample.csv) and is_held_out(Path(csv).stem):
            columns |= {str(column) for column in frame.columns} if rows.id_column in frame.columns else set()
    return columns


def _require_fitting(
    frame: pd.DataFrame, csv: str, columns: tuple[str, ...], sample: Sample | None, choices: Choices
) -> tuple[str, ...]:
    """Return the columns; raise `DataError` unless they hold numbers, votes, classes of questions, or 0 and 1."""
    reasons = (why(frame, columns, sample, choices) for why in (_why_numbers, why_votes, why_questions))
    return columns if any(reason is not None for reason in reasons) else _require_flags(frame, csv, columns)


def _require_flags(frame: pd.DataFrame, csv: str, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns; raise `DataError` unless they hold 0 and 1."""
    bad = [column for column in columns if not is_flag(frame[column].str.strip()).all()]
    if bad:
        cell = next(cell for cell in frame[bad[0]] if not is_flag(pd.Series([cell.strip()])).all())
        raise DataError(
            f"{csv}: the sample submission asks for {', '.join(columns[:4])}{', ...' if len(columns) > 4 else ''}, but "
            f"there are values other than 0 and 1, such as {cell!r}, in {list_names(bad, 'column')}: give --task "
            "regression if they are numbers, --task votes if each column holds the votes for a label, or --task "
            "questions if each column has classes of its own"
        )
    return columns


def _refuse_numbers(csv: str, column: str, cells: pd.Series, sample: Sample | None) -> None:
    """Raise `DataError` if a column holds numbers that may not be classes."""
    if are_numbers(cells) or may_be_numbers(column, cells) or (_shows_numbers(sample) and _are_whole(cells)):
        shown = f"{cells[cells != ''].nunique()} distinct numbers, such as {cells[cells != ''].iloc[0]}"
        raise DataError(
            f"{csv}: column {column} holds {shown}: are they quantities or classes? Give --task regression for "
            "quantities, --task multiclass for classes, or --task retrieval for individuals"
        )


def _shows_numbers(sample: Sample | None) -> bool:
    """Return whether a sample submission has fractions that are not probabilities."""
    return sample is not None and sample.has_fractions and not sample.shows_probabilities


def _are_whole(cells: pd.Series) -> bool:
    """Return whether all cells, except empty ones, are whole numbers."""
    return bool(cells[cells != ""].str.fullmatch(r"-?\d+").all())
