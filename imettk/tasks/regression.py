"""One or more numbers a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from imettk.tasks.scale import Kind, Scale
from imettk.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor

BINS = 10  # of a target's numbers: equally filled for folds, equally wide for the balanced sampler


class Regression(Task):
    """Numbers; targets float32 (N, T), labels are the names of their columns; one output per target."""

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
        """Return them unchanged: the scale of the fold turns them into numbers."""
        return logits

    def soften(self, targets: Tensor, num_outputs: int) -> Tensor:
        return targets.float()

    def is_soft(self, targets: np.ndarray) -> bool:
        return False

    def soft_answers(self, answers: np.ndarray, num_outputs: int) -> np.ndarray:
        return answers.astype(np.float32)

    def smooth(self, targets: Tensor, share: float) -> Tensor:
        raise NotImplementedError("a recipe refuses it: numbers cannot be smoothed")

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """Return the decile of each target as labels, uint8 (N, T * BINS); equal numbers share a decile."""
        parts = []
        for column in targets.T:
            # Inner edges only, so that the extremes fall into the outer bins and no number lies outside.
            edges = np.quantile(column, np.linspace(0, 1, BINS + 1)[1:-1])
            parts.append(np.arange(BINS) == np.searchsorted(edges, column, side="right")[:, None])
        return np.concatenate(parts, axis=1).astype(np.uint8)

    def label_matrix(self, values: np.ndarray, num_labels: int) -> np.ndarray:
        return np.ones((len(values), num_labels), bool)  # labels are columns, and every row has a number in each

    def labels_of(self, value: np.ndarray) -> np.ndarray:
        return np.arange(len(value))

    def chances(self, targets: np.ndarray) -> np.ndarray:
        """Return the mean over targets of 1 / (rows in the same tenth of the range)."""
        shares = np.zeros(len(targets))
        for column in targets.T:
            edges = np.linspace(column.min(), column.max(), BINS + 1)[1:-1]
            places = np.searchsorted(edges, column, side="right")
            shares += 1 / np.bincount(places)[places]
        chances: np.ndarray = shares / targets.shape[1]
        return chances

    def agreement(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the share of targets with the same number, of (M, A, T) and (M, B, T)."""
        alike: np.ndarray = (first[:, :, None] == second[:, None]).mean(3, dtype=np.float32)
        return alike

    def cells(self, answers: np.ndarray, labels: Sequence[str]) -> list[list[str]]:
        """Return each number with nine digits, enough to read the same float32 back."""
        return [[f"{number:.9g}" for number in row] for row in answers.tolist()]

    def row_losses(self, probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the mean over targets of the absolute error, in standard deviations of the target, float64 (N,)."""
        spread = targets.std(0, dtype=np.float64)
        errors = np.abs(probs.astype(np.float64) - targets) / np.where(spread > 0, spread, 1)
        return np.asarray(errors.mean(1))
