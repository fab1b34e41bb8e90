"""One grade a row, learned as a chain of thresholds: is it above the lowest grade; if so, above the next; and so on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from imettk.tasks.multiclass import Multiclass
from imettk.tasks.task import numbers_of

if TYPE_CHECKING:
    from torch import Tensor


class Ordinal(Multiclass):
    """Grades in the order of their labels; targets int64 (N,), one output for each grade except the lowest.

    An output is the logit of being above a grade, given that the row reaches it (CORN, Shi et al., arXiv 2111.08851).
    Products of these probabilities fall from grade to grade, whatever the network outputs.
    """

    targets, loss, rule = "grades", "corn", "cutpoints"
    sums_to_one = False
    reported: ClassVar[Mapping[str, tuple[str, Mapping[str, object]]]] = {"macro F1": ("f1_macro", {})}

    def order(self, labels: Iterable[str]) -> list[str]:
        """Return numbers in rising order, 2 before 10, and other labels alphabetically."""
        names = sorted(labels)
        numbers = numbers_of(names)
        return names if numbers is None else [names[place] for place in np.argsort(numbers, kind="stable")]

    def num_outputs(self, num_labels: int) -> int:
        return max(1, num_labels - 1)

    def activate(self, logits: Tensor) -> Tensor:
        """Turn logits (..., O) into the probabilities of being above each grade except the highest."""
        return logits.sigmoid().cumprod(-1)

    def soften(self, targets: Tensor, num_outputs: int) -> Tensor:
        if targets.is_floating_point():
            return targets.float()
        return (targets[:, None] > targets.new_tensor(range(num_outputs))).float()

    def smooth(self, targets: Tensor, share: float) -> Tensor:
        """Spread the share evenly over both answers at each threshold."""
        return targets * (1 - share) + share * 0.5

    def soft_answers(self, answers: np.ndarray, num_outputs: int) -> np.ndarray:
        return answers if self.is_soft(answers) else (answers[:, None] > np.arange(num_outputs)).astype(np.float32)

    def grade_weights(self, grades: np.ndarray) -> tuple[float, np.ndarray]:
        return float(grades[0]), np.diff(grades)

    def label_probs(self, probs: np.ndarray) -> np.ndarray:
        # P(grade) = P(above the one before) - P(above it), with 1 before the lowest grade and 0 behind the highest.
        ends = np.ones((len(probs), 1), probs.dtype), np.zeros((len(probs), 1), probs.dtype)
        return -np.diff(np.concatenate([ends[0], probs, ends[1]], axis=1), axis=1)

    def outputs_of(self, label_probs: np.ndarray) -> np.ndarray:
        reached = label_probs[:, ::-1].cumsum(1)[:, ::-1]  # the probability of each grade or a higher one
        return np.asarray(reached[:, 1:] / reached[:, :1])  # 1 at the lowest, whatever digits the sum lacks

    def row_losses(self, probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return super().row_losses(self.label_probs(probs), targets)
