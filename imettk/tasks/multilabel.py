"""Any number of labels a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from imettk.tasks.task import REPORTED_EPS, Task

if TYPE_CHECKING:
    from torch import Tensor


class Multilabel(Task):
    """Labels that do not exclude each other; targets uint8 (N, C), one sigmoid a label."""

    targets, loss, rule, stratifier = "labels", "bce", "threshold", "labels"
    separable = True
    watched: ClassVar[Mapping[str, str]] = {"focal": "focal_loss"}
    reported: ClassVar[Mapping[str, tuple[str, Mapping[str, object]]]] = {
        "log_loss": ("log_loss", REPORTED_EPS),
        "focal_loss": ("focal_loss", {}),
    } | {
        f"{average} F{beta}": ("f_beta", {"beta": float(beta), "average": average})
        for average in ("samples", "macro", "micro")
        for beta in (1, 2)
    }

    def make_targets(self, cells: Sequence[Sequence[str]], column: Mapping[str, int], num_labels: int) -> np.ndarray:
        targets = np.zeros((len(cells), num_labels), np.uint8)
        rows = np.repeat(np.arange(len(cells)), [len(cell) for cell in cells])
        targets[rows, [column[label] for cell in cells for label in cell]] = 1
        return targets

    def activate(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def soften(self, targets: Tensor, num_outputs: int) -> Tensor:
        return targets.float()

    def soft_answers(self, answers: np.ndarray, num_outputs: int) -> np.ndarray:
        return answers.astype(np.float32)

    def smooth(self, targets: Tensor, share: float) -> Tensor:
        """Spread the share evenly over presence and absence of each label."""
        return targets * (1 - share) + share * 0.5

    def label_matrix(self, values: np.ndarray, num_labels: int) -> np.ndarray:
        return values.astype(bool, copy=False)

    def labels_of(self, value: np.ndarray) -> np.ndarray:
        return np.flatnonzero(value)

    def label_counts(self, targets: np.ndarray, num_labels: int) -> np.ndarray:
        return np.asarray(targets.sum(0))

    def chances(self, targets: np.ndarray) -> np.ndarray:
        """Return the mean over a row's labels of 1 / (rows with the label); rows without labels count as a class."""
        labels = np.column_stack([targets > 0, ~(targets > 0).any(1)])
        chances: np.ndarray = (labels / np.maximum(labels.sum(0), 1)).sum(1) / labels.sum(1)
        return chances

    def agreement(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the Jaccard index of label sets (M, A, C) and (M, B, C)."""
        # In floats: numpy multiplies matrices of integers without BLAS.
        left, right = ((labels != 0).astype(np.float32) for labels in (first, second))
        both = left @ right.transpose(0, 2, 1)
        union = left.sum(2)[:, :, None] + right.sum(2)[:, None, :] - both
        return np.where(union > 0, both / np.maximum(union, 1), 1)

    def wrong(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.asarray((answers != targets.astype(bool)).any(1))

    def row_losses(self, probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        right = np.where(targets > 0, probs, 1 - probs)
        losses: np.ndarray = -np.log(np.maximum(right, 1e-7)).sum(1, dtype=np.float64)
        return losses
