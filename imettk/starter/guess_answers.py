"""The result of guessing: a competition's training rows, and the answers that its sample submission asks for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import require_filled
from imettk.errors import DataError
from imettk.starter.finding import Finding
from imettk.starter.guess_columns import Choices
from imettk.starter.guess_linked import LinkedTests
from imettk.starter.guess_sample import Sample
from imettk.starter.guess_test_rows import find_test_images, find_test_rows
from imettk.starter.guess_units import UnitRows
from imettk.starter.judging import Judging, judge
from imettk.starter.look import Contents
from imettk.starter.questions import Question, Ranked


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A competition's training rows, and the format by which they are read.

    Attributes:
        frame: the training table, with at least the columns of ids and labels.
        files: the image of each row, by its path within the folder, str (N,); "" for none.
        labels: the number of training rows of each label.
        label_groups: names of labels start with a group, as in `culture::french`.
        sample: the sample submission, if there is one.
        ranked: its answers, if each row has several in order.
        remarks: files and folders that were passed over, one line each.
        units: how images form units, if several of them get one answer.
        linked: the table that links the sample submission's ids to images, if they name none themselves.
    """

    question: Question
    table: TableFormat
    frame: pd.DataFrame
    files: np.ndarray
    labels: Counter[str]
    label_groups: bool = False
    sample: Sample | None
    ranked: Ranked | None
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...] = ()
    units: UnitRows | None = None
    linked: LinkedTests | None = None

    @property
    def found(self) -> np.ndarray:
        """Mask of the rows whose image was found, bool (N,)."""
        return self.files != ""

    @property
    def is_nested(self) -> bool:
        """True if images lie in folders that their ids do not name."""
        pairs = zip(self.frame[self.table.id_column].tolist(), self.files.tolist(), strict=True)
        return any("/" in file and "/" not in name for name, file in pairs)

    @property
    def num_images(self) -> int:
        """Number of images of all rows."""
        return int(self.found.sum()) if self.units is None else self.units.num_images


@dataclass(frozen=True, kw_only=True)
class Guess(Rows):
    """A competition's training rows, test images, and metric.

    Attributes:
        test_files: the image of each row of the sample submission, as `files`, (M,).
        judging: the metric, and the rule that makes the answers it judges.
    """

    test_files: np.ndarray
    judging: Judging

    @property
    def has_test(self) -> bool:
        """True if there is a test set, with or without a sample submission."""
        return self.sample is not None or len(self.test_files) > 0

    @property
    def test_found(self) -> np.ndarray:
        """Mask of the sample submission's rows whose image was found, bool (M,)."""
        return self.test_files != ""


def with_answers(contents: Contents, choices: Choices, rows: Rows) -> Guess:
    """Return the rows together with their test images, the columns to fill, and the metric."""
    names = list(rows.table.label_columns) or sorted({*rows.labels} - {rows.table.unknown_label})
    form, test_files, test_findings = _with_test(rows, names, contents)
    every_row = bool((rows.frame[form.label_column].str.strip() != "").all())
    judging = judge(rows.question, names, form, rows.sample, rows.ranked, choices, every_row=every_row)
    findings = (*rows.findings, *test_findings, *contents.containers.findings(form), judging.finding)
    form = replace(form, pixel_shape=choices.pixel_shape)
    return Guess(**vars(rows) | {"table": form, "findings": findings}, test_files=test_files, judging=judging)


def _with_test(rows: Rows, labels: list[str], contents: Contents) -> tuple[TableFormat, np.ndarray, list[Finding]]:
    """Return the format with the sample submission and the test images, the image of each test row, and findings."""
    form, sample, ranked = rows.table, rows.sample, rows.ranked
    if sample is None:
        return find_test_rows(form, contents, nested=rows.is_nested)
    form = replace(form, **_answer_fields(sample, ranked, labels, form))
    require_filled(sample.frame, Path(sample.csv), [sample.id_column, *form.filled_columns], ())
    if rows.units is not None:
        form, files, reason = rows.units.with_test(form, sample)
    elif rows.linked is not None:
        form, files, reason = rows.linked.with_test(form, sample)
    else:
        form, files, reason = find_test_images(form, sample, contents, nested=rows.is_nested)
    filled = form.filled_columns
    columns = f"column {filled[0]}" if len(filled) == 1 else f"columns {filled[0]} to {filled[-1]}"
    value = f"{sample.csv}, answers in {columns}"
    return form, files, [Finding("sample submission", value, reason, "table.sample_csv, .test_images")]


def _answer_fields(sample: Sample, ranked: Ranked | None, labels: list[str], form: TableFormat) -> dict[str, Any]:
    """Return the columns of the sample submission to fill, as fields of the format.

    Raises:
        DataError: it has several columns that are neither labels nor numbered.
    """
    changes: dict[str, Any] = {"sample_csv": sample.csv}
    if sample.id_column != form.id_column:
        changes["sample_id_column"] = sample.id_column
    answers = sample.answers
    if ranked is not None and ranked.columns:
        changes["answer_columns"] = ranked.columns
    elif len(answers) > 1 and set(answers) == set(labels):
        if answers != form.label_columns:
            changes["answer_columns"] = answers
    elif form.label_column not in answers:
        if len(answers) != 1:
            listed = ", ".join(answers[:4]) + (", ..." if len(answers) > 4 else "")
            raise DataError(
                f"{sample.csv} has {len(answers)} columns beside {sample.id_column} ({listed}), which are neither the "
                f"labels ({', '.join(labels[:4])}{', ...' if len(labels) > 4 else ''}) nor numbered, so their answers "
                "cannot be guessed: name them after the labels, or write the recipe by hand with table.answer_columns"
            )
        changes["answer_column"] = answers[0]
    if sample.long is not None:
        changes["sample_rows"] = sample.long.rows
        if sample.long.value_column != form.label_column:
            changes["answer_column"] = sample.long.value_column
    return changes
