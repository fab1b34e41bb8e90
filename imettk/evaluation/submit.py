"""Answers in the competition's own format, checked against its sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imettk.config import Recipe
from imettk.data.submission import write_submission
from imettk.progress import say
from imettk.tracking.run_dir import RunDir


def label_rows(ranked: np.ndarray, labels: Sequence[str]) -> list[list[str]]:
    """Return the labels of each row of ranked answers, int64 (N, k), where -1 is none."""
    return [[labels[label] for label in row if label >= 0] for row in ranked.tolist()]


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
    """Write `submission.csv`; without the sample say that there is none to write it for.

    Args:
        what: where the answers come from, for the line that is printed.
        num_answers: the most answers of a row, which stand in order; None where they have none.

    Raises:
        DataError: the submission would not fit the sample.
    """
    form, path = recipe.table, run.path / "submission.csv"
    sample = data_dir / form.sample_csv
    if not sample.is_file():
        say(f"note: no submission.csv: {sample} is missing; give --data")
        return
    write_submission(
        path,
        sample,
        id_column=form.id_column,
        answer_columns=form.answer_columns or (form.answer_column or form.label_column,),
        kept_columns=form.kept_columns,
        ids=ids,
        answers=answers,
        separator=form.label_separator,
        num_answers=num_answers,
        numbers=recipe.rule_row.answers_numbers,
    )
    say(f"{path}: {len(ids)} answers, {what}, checked against {form.sample_csv}")
