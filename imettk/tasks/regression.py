"""One number a row, or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from imettk.tasks.scale import Kind, Scale
from imettk.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor

BINS = 10  # of a target's numbers: with as many rows each for folds, equally wide for the balanced sampler


class Regression(Task):
    """Numbers; targets float32 (N, T), whose labels are the names of their columns; an output a target."""

    targets, loss, rule, stratifier = "values", "mse", "value", "labels"
    numeric = True
    reported: ClassVar[Mapping[str, tuple[str, Mapping[str, object]]]] = {
        "RMSE": ("rmse", {}),
        "MAE": ("mae", {}),
        "R2": ("r2", {}),
    }

    def make_targets(self, cells: Sequence[Sequence[str]], column: Mapping[str, int], num_labels: int) -> np.ndarray:
        """Return the numbers of each row, float32 (N, T)."""
        return np.array([[float(cell) for cell in row] for row in cells], np.float32).reshape(len(cells), num_labels)

    def fit_scale(self, targets: np.ndarray, kind: Kind) -> Scale:
        return Scale.fit(targets, kind)

    def grade_weights(self, grades: np.ndarray) -> tuple[float, np.ndarray]:
        return 0.0, np.ones(1)

    def grade_places(self, targets: np.ndarray, grades: np.ndarray) -> np.ndarray:
        return np.searchsorted(grades, targets[:, 0])

    def activate(self, logits: Tensor) -> Tensor:
        """Leave them as they are: a fold's own scale makes numbers of them."""
        return logits

    def soften(self, targets: Tensor, num_outputs: int) -> Tensor:
        return targets.float()

    def is_soft(self, targets: np.ndarray) -> bool:
        return False

    def soft_answers(self, answers: np.ndarray, num_outputs: int) -> np.ndarray:
        return answers.astype(np.float32)

    def smooth(self, targets: Tensor, share: float) -> Tensor:
        raise NotImplementedError("a recipe refuses it: there is nothing to spread")

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """Return in which tenth of its numbers each target lies, as labels, uint8 (N, T * BINS); equal numbers lie in
        the same."""
        parts = []
        for column in targets.T:
            edges = np.quantile(column, np.linspace(0, 1, BINS + 1)[1:-1])
            parts.append(np.arange(BINS) == np.searchsorted(edges, column, side="right")[:, None])
        return np.concatenate(parts, axis=1).astype(np.uint8)

    def label_matrix(self, values: np.ndarray, num_labels: int) -> np.ndarray:
        return np.ones((len(values), num_labels), bool)

    def labels_of(self, value: np.ndarray) -> np.ndarray:
        return np.arange(len(value))

    def chances(self, targets: np.ndarray) -> np.ndarray:
        """The mean over targets of 1 / rows in the same tenth of the range."""
        shares = np.zeros(len(targets))
        for column in targets.T:
            edges = np.linspace(column.min(), column.max(), BINS + 1)[1:-1]
            places = np.searchsorted(edges, column, side="right")
            shares += 1 / np.bincount(places)[places]
        return shares / targets.shape[1]

    def agreement(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The share of targets with the same number, of (M, A, T) and (M, B, T)."""
        return (first[:, :, None] == second[:, None]).mean(3, dtype=np.float32)

    def cells(self, answers: np.ndarray, labels: Sequence[str]) -> list[list[str]]:
        """Return nine digits of each number, which are all that float32 has."""
        return [[f"{number:.9g}" for number in row] for row in answers.tolist()]

    def row_losses(self, probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The mean over targets of the distance, in the targets' standard deviations."""
        spread = targets.std(0, dtype=np.float64)
        return (np.abs(probs.astype(np.float64) - targets) / np.where(spread > 0, spread, 1)).mean(1)
