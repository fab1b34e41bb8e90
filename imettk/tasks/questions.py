"""Several questions a row, each answered with a class of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from imettk.tasks.multilabel import Multilabel

if TYPE_CHECKING:
    from torch import Tensor


def label_of(column: str, cell: str) -> str:
    """Return what a class of a question is called among all labels."""
    return f"{column}={cell.strip()}"


def class_of(column: str, label: str) -> str:
    """Return the class of such a label, as a cell holds it."""
    return label.removeprefix(f"{column}=")


def classes_among(labels: Sequence[str], column: str) -> list[str]:
    """Return the classes of a question, of all labels."""
    return [class_of(column, label) for label in labels if label.startswith(label_of(column, ""))]


class Questions(Multilabel):
    """A label is a column and a class in it; targets uint8 (N, C), a 1 for each column; one softmax a column.

    The network knows which labels are of one column, and gives logarithms of probabilities: all else is a matter of
    single labels.
    """

    targets, loss, rule = "questions", "question_cross_entropy", "argmax_each"
    separable = False
    asks_columns = True
    watched: ClassVar[Mapping[str, str]] = {}
    reported: ClassVar[Mapping[str, tuple[str, Mapping[str, object]]]] = {"accuracy": ("accuracy", {})}

    def activate(self, logits: Tensor) -> Tensor:
        return logits.exp()

    def parts(self, label_groups: tuple[str, ...]) -> tuple[int, ...]:
        starts = [at for at, group in enumerate(label_groups) if at == 0 or group != label_groups[at - 1]]
        return tuple(np.diff([*starts, len(label_groups)]).tolist())

    def smooth(self, targets: Tensor, share: float) -> Tensor:
        raise NotImplementedError("a recipe refuses it: columns of labels do not say which of them are of one question")

    def chances(self, targets: np.ndarray) -> np.ndarray:
        """The mean over questions of 1 / rows with the same class."""
        rows, labels = np.nonzero(targets)
        shares = 1 / np.bincount(labels)[labels]
        return np.bincount(rows, shares, len(targets)) / np.bincount(rows, minlength=len(targets))

    def row_losses(self, probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The sum over questions."""
        return -np.log(np.where(targets > 0, np.maximum(probs, 1e-7), 1)).sum(1, dtype=np.float64)
