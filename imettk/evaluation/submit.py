"""Answers in the competition's own format, checked against its sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imettk.config import Recipe
from imettk.data.submission import write_submission
from imettk.progress import say
from imettk.tracking.run_dir import RunDir


def label_rows(answers: np.ndarray, labels: Sequence[str]) -> list[list[str]]:
    """The labels of each row: answers bool (N, C), int64 (N,), or ranked int64 (N, k), where -1 is none."""
    if answers.dtype == bool:
        return [[labels[label] for label in np.flatnonzero(row).tolist()] for row in answers]
    ranked = answers[:, None] if answers.ndim == 1 else answers
    return [[labels[label] for label in row if label >= 0] for row in ranked.tolist()]


def submit(recipe: Recipe, data_dir: Path, run: RunDir, ids: np.ndarray, answers: list[list[str]], what: str) -> None:
    """Write `submission.csv`; without the sample say that there is none to write it for.

    Args:
        what: where the answers come from, for the line that is printed.

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
        num_answers=recipe.ranking.num_answers if recipe.rule.kind == "rank" else None,
    )
    say(f"{path}: {len(ids)} answers, {what}, checked against {form.sample_csv}")
