"""Several questions a row, each answered with one of its own classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from imettk.tasks.multilabel import Multilabel

if TYPE_CHECKING:
    from torch import Tensor


def label_of(column: str, cell: str) -> str:
    """Return the label, COLUMN=CLASS, of a cell in a question's column."""
    return f"{column}={cell.strip()}"


def class_of(column: str, label: str) -> str:
    """Return the class of a label as its cell holds it; the inverse of `label_of`."""
    return label.removeprefix(f"{column}=")


def classes_among(labels: Sequence[str], column: str) -> list[str]:
    """Return a question's classes, out of all labels."""
    return [class_of(column, label) for label in labels if label.startswith(label_of(column, ""))]


class Questions(Multilabel):
    """Questions with one class each; targets uint8 (N, C), a 1 for each question; one softmax per question.

    A label is a column of the table and a class in it. The network holds the grouping of labels and outputs
    log-probabilities; everything else treats each label on its own.
    """

    targets, loss, rule = "questions", "question_cross_entropy", "argmax_each"
    separable = False
    asks_columns = True
    watched: ClassVar[Mapping[str, str]] = {}
    reported: ClassVar[Mapping[str, tuple[str, Mapping[str, object]]]] = {"accuracy": ("accuracy", {})}

    def activate(self, logits: Tensor) -> Tensor:
        return logits.exp()

    def parts(self, label_groups: tuple[str, ...]) -> tuple[int, ...]:
        # Labels of a question are adjacent, because tables list them column by column.
        starts = [at for at, group in enumerate(label_groups) if at == 0 or group != label_groups[at - 1]]
        return tuple(np.diff([*starts, len(label_groups)]).tolist())

    def smooth(self, targets: Tensor, share: float) -> Tensor:
        raise NotImplementedError("a recipe refuses it: the columns do not show which labels belong to one question")

    def chances(self, targets: np.ndarray) -> np.ndarray:
        """Return the mean over questions of 1 / (rows with the same class)."""
        rows, labels = np.nonzero(targets)
        shares = 1 / np.bincount(labels)[labels]
        chances: np.ndarray = np.bincount(rows, shares, len(targets)) / np.bincount(rows, minlength=len(targets))
        return chances

    def row_losses(self, probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the sum over questions of -log p(true class), float64 (N,)."""
        losses: np.ndarray = -np.log(np.where(targets > 0, np.maximum(probs, 1e-7), 1)).sum(1, dtype=np.float64)
        return losses
