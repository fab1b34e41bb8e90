"""One label a row: a class, or an identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from imettk.tasks.task import REPORTED_EPS, Task

if TYPE_CHECKING:
    from torch import Tensor


class Multiclass(Task):
    """Classes that exclude each other; targets int64 (N,), -1 for an unknown identity; one softmax over all."""

    targets, loss, rule, stratifier = "classes", "cross_entropy", "argmax", "classes"
    exclusive = sums_to_one = True
    reported: ClassVar[Mapping[str, tuple[str, Mapping[str, object]]]] = {"log_loss": ("log_loss", REPORTED_EPS)}

    def make_targets(self, cells: Sequence[Sequence[str]], column: Mapping[str, int], num_labels: int) -> np.ndarray:
        return np.array([column[cell[0]] for cell in cells], np.int64)

    def activate(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1)

    def soften(self, targets: Tensor, num_outputs: int) -> Tensor:
        if targets.is_floating_point():
            return targets.float()
        return targets.new_zeros((len(targets), num_outputs)).float().scatter_(1, targets[:, None], 1.0)

    def soft_answers(self, answers: np.ndarray, num_outputs: int) -> np.ndarray:
        return answers if self.is_soft(answers) else np.eye(num_outputs, dtype=np.float32)[answers]

    def smooth(self, targets: Tensor, share: float) -> Tensor:
        """Spread the share over all classes (Szegedy et al., arXiv 1512.00567)."""
        return targets * (1 - share) + share * (1 / targets.shape[1])

    def learnable(self, targets: np.ndarray) -> np.ndarray:
        # An unknown identity is -1 and can only be learned from a teacher's probabilities.
        return np.ones(len(targets), bool) if self.is_soft(targets) else np.asarray(targets >= 0)

    def identities(self, targets: np.ndarray) -> np.ndarray | None:
        return targets

    def label_matrix(self, values: np.ndarray, num_labels: int) -> np.ndarray:
        return np.asarray(np.arange(num_labels) == values[:, None])

    def labels_of(self, value: np.ndarray) -> np.ndarray:
        return np.asarray(value)[None]

    def label_counts(self, targets: np.ndarray, num_labels: int) -> np.ndarray:
        return np.bincount(targets[targets >= 0], minlength=num_labels)

    def chances(self, targets: np.ndarray) -> np.ndarray:
        """Return 1 / (rows of the row's class)."""
        return np.asarray(1 / np.bincount(targets)[targets])

    def agreement(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return 1 for equal classes, otherwise 0, of (M, A) and (M, B)."""
        alike: np.ndarray = (first[:, :, None] == second[:, None, :]).astype(np.float32)
        return alike

    def row_losses(self, probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        # Clipped: a probability that float32 rounds to 0 would have an infinite loss.
        losses: np.ndarray = -np.log(np.maximum(probs[np.arange(len(probs)), targets], 1e-7).astype(np.float64))
        return losses
