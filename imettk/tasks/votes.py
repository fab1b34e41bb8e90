"""Votes of several people a row, who need not agree: each label has a share of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from imettk.tasks.multiclass import Multiclass
from imettk.tasks.task import REPORTED_EPS

if TYPE_CHECKING:
    from torch import Tensor


class Votes(Multiclass):
    """Labels that exclude each other, of which several people said one each; targets float32 (N, C), rows sum to 1.

    Where one label is asked for, it is the one with most votes, of equal ones the first; answers may be such labels,
    int64 (N,), too.
    """

    targets, loss, rule, stratifier = "votes", "kl_divergence", "probability", "classes"
    votes = True
    reported: ClassVar[Mapping[str, tuple[str, Mapping[str, object]]]] = {"log_loss": ("log_loss", REPORTED_EPS)}

    def split(self, cell: str, separator: str) -> list[str]:
        """Return the numbers of a cell."""
        return [part.strip() for part in cell.split(separator)]

    def make_targets(self, cells: Sequence[Sequence[str]], column: Mapping[str, int], num_labels: int) -> np.ndarray:
        """Return each label's share of a row's votes, of which there is at least one."""
        counts = np.array([[float(cell) for cell in row] for row in cells], np.float64).reshape(len(cells), num_labels)
        return (counts / counts.sum(1, keepdims=True)).astype(np.float32)

    def soften(self, targets: Tensor, num_outputs: int) -> Tensor:
        return targets.float()

    def strata(self, targets: np.ndarray) -> np.ndarray:
        return self._first(targets)

    def learnable(self, targets: np.ndarray) -> np.ndarray:
        return np.ones(len(targets), bool)

    def identities(self, targets: np.ndarray) -> np.ndarray | None:
        return None

    def label_matrix(self, values: np.ndarray, num_labels: int) -> np.ndarray:
        return super().label_matrix(self._first(values), num_labels)

    def label_shares(self, values: np.ndarray, num_labels: int) -> np.ndarray:
        return self.soft_answers(values, num_labels)

    def labels_of(self, value: np.ndarray) -> np.ndarray:
        return self._first(np.asarray(value)[None])

    def label_counts(self, targets: np.ndarray, num_labels: int) -> np.ndarray:
        return super().label_counts(self._first(targets), num_labels)

    def chances(self, targets: np.ndarray) -> np.ndarray:
        """1 / rows of the label with most votes."""
        return super().chances(self._first(targets))

    def agreement(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The share of votes that rows (M, A, C) and (M, B, C) have in common."""
        return np.minimum(first[:, :, None], second[:, None]).sum(3, dtype=np.float32)

    def cells(self, answers: np.ndarray, labels: Sequence[str]) -> list[list[str]]:
        """Return the share of each label, nine digits each."""
        shares = self.soft_answers(answers, len(labels))
        return [[f"{share:.9g}" for share in row] for row in shares.tolist()]

    def wrong(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return which answers have most votes on another label, bool (N,)."""
        return self._first(answers) != self._first(targets)

    def row_losses(self, probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The divergence from the probabilities to the shares."""
        from scipy.special import rel_entr

        return rel_entr(targets.astype(np.float64), np.maximum(probs, 1e-7).astype(np.float64)).sum(1)

    @staticmethod
    def _first(values: np.ndarray) -> np.ndarray:
        """Return the label with most votes, int64 (N,), of shares (N, C); of labels themselves."""
        return values.argmax(1) if values.ndim == 2 else values
