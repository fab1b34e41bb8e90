"""What is guessed of a competition: its training rows, and with what the sample submission says, its answers."""

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
    """How the training rows of a competition are read.

    Attributes:
        frame: the training table, with at least the columns of ids and labels.
        files: the image of each row, by its name from the folder, str (N,); "" where it has none.
        labels: how many rows each label has, in the training table.
        label_groups: whether the names of labels begin with a group, as in `culture::french`.
        sample: the sample submission, None where there is none.
        ranked: what it says of answers in order.
        remarks: what was passed over.
        units: where several images give one answer; else None.
        linked: where a table leads from the ids of the sample submission to images; else None.
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
        """Which rows have an image, bool (N,)."""
        return self.files != ""

    @property
    def is_nested(self) -> bool:
        """Whether images lie in folders below theirs, of which their ids say nothing."""
        pairs = zip(self.frame[self.table.id_column].tolist(), self.files.tolist(), strict=True)
        return any("/" in file and "/" not in name for name, file in pairs)

    @property
    def num_images(self) -> int:
        """How many images these rows have."""
        return int(self.found.sum()) if self.units is None else self.units.num_images


@dataclass(frozen=True, kw_only=True)
class Guess(Rows):
    """How a competition's files are read, those of the test set among them.

    Attributes:
        test_files: the image of each row of the sample submission, as `files`, (M,).
        judging: by which metric, and what answers.
    """

    test_files: np.ndarray
    judging: Judging

    @property
    def has_test(self) -> bool:
        """Whether there is a test set."""
        return self.sample is not None or len(self.test_files) > 0

    @property
    def test_found(self) -> np.ndarray:
        """Which rows of the sample submission have an image, bool (M,)."""
        return self.test_files != ""


def with_answers(contents: Contents, choices: Choices, read: Rows) -> Guess:
    """Return the rows with what the sample submission says: where test images lie, what is answered, and how judged."""
    names = list(read.table.label_columns) or sorted({*read.labels} - {read.table.unknown_label})
    form, test_files, found = _with_test(read, names, contents)
    every_row = bool((read.frame[form.label_column].str.strip() != "").all())
    judging = judge(read.question, names, form, read.sample, read.ranked, choices, every_row=every_row)
    in_files = contents.containers.findings(form)
    form = replace(form, pixel_shape=choices.pixel_shape)
    known = vars(read) | {"table": form, "findings": (*read.findings, *found, *in_files, judging.finding)}
    return Guess(**known, test_files=test_files, judging=judging)


def _with_test(read: Rows, labels: list[str], contents: Contents) -> tuple[TableFormat, np.ndarray, list[Finding]]:
    """The format with the sample submission and the folder of test images, the image of each of its rows, and what was
    found."""
    form, sample, ranked = read.table, read.sample, read.ranked
    if sample is None:
        return find_test_rows(form, contents, nested=read.is_nested)
    form = replace(form, **_answer_fields(sample, ranked, labels, form))
    require_filled(sample.frame, Path(sample.csv), [sample.id_column, *form.filled_columns], ())
    if read.units is not None:
        form, files, where = read.units.with_test(form, sample)
    elif read.linked is not None:
        form, files, where = read.linked.with_test(form, sample)
    else:
        form, files, where = find_test_images(form, sample, contents, nested=read.is_nested)
    filled = form.filled_columns
    asked = filled[0] if len(filled) == 1 else f"{filled[0]} to {filled[-1]}"
    finding = Finding("sample submission", f"{sample.csv}, answers in {asked}", where, "table.sample_csv, .test_images")
    return form, files, [finding]


def _answer_fields(sample: Sample, ranked: Ranked | None, labels: list[str], form: TableFormat) -> dict[str, Any]:
    """Which columns of the sample submission wait for answers, as fields of the format."""
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
                f"labels ({', '.join(labels[:4])}{', ...' if len(labels) > 4 else ''}) nor numbered: what goes into "
                "which of them cannot be told"
            )
        changes["answer_column"] = answers[0]
    if sample.long is not None:
        changes["sample_rows"] = sample.long.rows
        if sample.long.value_column != form.label_column:
            changes["answer_column"] = sample.long.value_column
    return changes
