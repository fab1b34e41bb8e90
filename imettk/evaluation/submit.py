"""Answers in the competition's own format, checked against its sample."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imettk.config import Recipe
from imettk.data.asked_rows import as_sample, find_row_source, read_test_rows
from imettk.data.label_cells import are_lists, as_flags, write_list
from imettk.data.submission import AnswerRules, SubmissionForm, check_kind, read_sample, write_submission
from imettk.progress import say
from imettk.tasks.questions import classes_among
from imettk.tracking.run_dir import RunDir


def label_rows(ranked: np.ndarray, labels: Sequence[str]) -> list[list[str]]:
    """Return the labels of each row of ranked answers, int64 (N, k); -1 is no answer."""
    return [[labels[label] for label in row if label >= 0] for row in ranked.tolist()]


def gives_flags(recipe: Recipe) -> bool:
    """Return whether the submission has a column for each label, filled with 1 and 0."""
    task = recipe.task
    flags = recipe.rule_row.gives[0] == "answers" and not (task.numeric or task.asks_columns)
    return flags and bool(recipe.table.label_answers)


def may_give_lists(recipe: Recipe) -> bool:
    """Return whether several labels of a row go into one cell of the submission, which may hold a list."""
    one_cell = len(recipe.table.filled_columns) == 1 and recipe.rule_row.gives[0] == "answers"
    return one_cell and recipe.task.splits_cells


def check_sample(recipe: Recipe, data_dir: Path, labels: Sequence[str]) -> None:
    """Raise `DataError` if the sample submission asks for other answers than the recipe gives.

    Args:
        labels: those of the training table, (C,).
    """
    form, row = recipe.table, recipe.rule_row
    path = data_dir / form.sample_csv
    if not path.is_file() or recipe.answers_images or recipe.rule.pairs is not None:
        return
    if recipe.task.asks_columns:
        frame = read_sample(form, path)
        for column in form.filled_columns:
            check_kind(frame, path, [column], labels=classes_among(labels, column))
        return
    answers: Sequence[str] | None = labels
    if row.answers_numbers or recipe.task.numeric:
        answers = None
    elif gives_flags(recipe):
        answers = ("0", "1")
    elif form.unknown_label is not None:
        answers = (*labels, form.unknown_label)
    metric_is_given = recipe.score.metric is not None  # it may judge labels by fractions
    check_kind(
        read_sample(form, path),
        path,
        form.filled_columns,
        labels=answers,
        fractions=metric_is_given,
        shares=not recipe.task.numeric,
        lists=may_give_lists(recipe),
    )


def submit(
    recipe: Recipe,
    data_dir: Path,
    run: RunDir,
    ids: np.ndarray,
    answers: list[list[str]],
    what: str,
    *,
    num_answers: int | None = None,
) -> None:
    """Write `submission.csv`, or print a note if no file says which rows the test set has.

    Args:
        what: origin of the answers, for the line that is printed.
        num_answers: the most answers of a row, if they are in order; None if they have no order.

    Raises:
        DataError: the submission would not fit the sample.
    """
    form, path = recipe.table, run.path / "submission.csv"
    source, sample = find_row_source(form, data_dir), data_dir / form.sample_csv
    if source is None:
        say(f"note: no submission.csv: {sample} is missing; give --data")
        return
    made = None if source == sample else as_sample(form, read_test_rows(form, data_dir))
    flags = gives_flags(recipe)
    if flags:
        answers = as_flags(answers, form.label_answers)
    elif recipe.rule.pairs is not None:  # the cell is text, though it contains numbers
        answers = [[form.label_separator.join(row)] for row in answers]
    elif may_give_lists(recipe):
        shown = are_lists(read_test_rows(form, data_dir)[form.filled_columns[0]])
        if form.label_lists if shown is None else shown:
            answers = [[write_list(row)] for row in answers]

    submission = SubmissionForm.of(form)
    rules = AnswerRules(
        num_answers=num_answers,
        numbers=flags or recipe.task.numeric or (recipe.rule_row.answers_numbers and recipe.rule.pairs is None),
        shares=not recipe.task.numeric,
        alike=recipe.task.asks_columns,
    )
    write_submission(path, source, ids, answers, form=submission, rules=rules, made=made)
    rows = len(ids) * (1 if submission.long is None else len(submission.long.labels))
    say(f"{path}: {rows} answers, {what}, checked against {os.path.relpath(source, data_dir)}")
