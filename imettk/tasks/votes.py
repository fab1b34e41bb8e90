"""Votes of several people a row, who may disagree: each label has a share of the votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from imettk.tasks.multiclass import Multiclass
from imettk.tasks.task import REPORTED_EPS

if TYPE_CHECKING:
    from torch import Tensor


class Votes(Multiclass):
    """Exclusive labels that several people voted on; targets float32 (N, C), rows sum to 1.

    The single label of a row is the one with most votes, the first among equals. Answers may also be such labels,
    int64 (N,).
    """

    targets, loss, rule, stratifier = "votes", "kl_divergence", "probability", "classes"
    votes = True
    reported: ClassVar[Mapping[str, tuple[str, Mapping[str, object]]]] = {"log_loss": ("log_loss", REPORTED_EPS)}

    def split(self, cell: str, separator: str) -> list[str]:
        """Return the numbers in a cell."""
        return [part.strip() for part in cell.split(separator)]

    def make_targets(self, cells: Sequence[Sequence[str]], column: Mapping[str, int], num_labels: int) -> np.ndarray:
        """Return each label's share of a row's votes; every row has at least one vote."""
        counts = np.array([[float(cell) for cell in row] for row in cells], np.float64).reshape(len(cells), num_labels)
        shares: np.ndarray = counts / counts.sum(1, keepdims=True)
        return shares.astype(np.float32)

    def soften(self, targets: Tensor, num_outputs: int) -> Tensor:
        return targets.float()

    def strata(self, targets: np.ndarray) -> np.ndarray:
        return self._first(targets)

    def learnable(self, targets: np.ndarray) -> np.ndarray:
        return np.ones(len(targets), bool)

    def identities(self, targets: np.ndarray) -> np.ndarray | None:
        return None  # people may disagree, so a row has no single label

    def label_matrix(self, values: np.ndarray, num_labels: int) -> np.ndarray:
        return super().label_matrix(self._first(values), num_labels)

    def label_shares(self, values: np.ndarray, num_labels: int) -> np.ndarray:
        return self.soft_answers(values, num_labels)

    def labels_of(self, value: np.ndarray) -> np.ndarray:
        return self._first(np.asarray(value)[None])

    def label_counts(self, targets: np.ndarray, num_labels: int) -> np.ndarray:
        return super().label_counts(self._first(targets), num_labels)

    def chances(self, targets: np.ndarray) -> np.ndarray:
        """Return 1 / (rows whose label with most votes is the same)."""
        return super().chances(self._first(targets))

    def agreement(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the share of votes that rows (M, A, C) and (M, B, C) have in common."""
        return np.asarray(np.minimum(first[:, :, None], second[:, None]).sum(3, dtype=np.float32))

    def cells(self, answers: np.ndarray, labels: Sequence[str]) -> list[list[str]]:
        """Return the share of each label with nine digits, enough to read the same float32 back."""
        shares = self.soft_answers(answers, len(labels))
        return [[f"{share:.9g}" for share in row] for row in shares.tolist()]

    def wrong(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return which answers have most votes on a wrong label, bool (N,)."""
        return np.asarray(self._first(answers) != self._first(targets))

    def row_losses(self, probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the divergence of the predicted probabilities from the shares, float64 (N,)."""
        from scipy.special import rel_entr

        divergences = rel_entr(targets.astype(np.float64), np.maximum(probs, 1e-7).astype(np.float64))
        return np.asarray(divergences.sum(1))

    @staticmethod
    def _first(values: np.ndarray) -> np.ndarray:
        """Return the label with most votes, int64 (N,), of shares (N, C); labels (N,) stay unchanged."""
        return values.argmax(1) if values.ndim == 2 else values
