"""Candidates of a fit of thresholds: the labels of each row that some threshold could choose.

With a limit on labels per row, these are the likeliest labels of each group that shares a threshold: a label that is
less likely than that many of its own group is never chosen. Of iMet's 1,103 labels in two groups, 20 are left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from imettk.postprocess.rule import relative_to_row, top_labels
from imettk.postprocess.thresholds.goal import Goal
from imettk.postprocess.thresholds.sweep import Counts, true_counts


@dataclass(frozen=True)
class Candidates:
    """N rows with K candidates each.

    Attributes:
        probs: order for the limits, float (N, K): probabilities or, if only some labels are kept, numbers in that
            order.
        scale: values that thresholds apply to, float (N, K).
        targets: uint8 or bool (N, K).
        groups: group of each column, int64 (K,), 0 to G - 1; a group shares a threshold.
        missed: number of the row's true labels that are not candidates, int64 (N,).
        groups_of_labels: group of each label, int64 (C,).
        relative: whether the scale is relative to the row.
        ranked: whether a group's columns are in order of likelihood, so that the scale falls from left to right.
    """

    probs: np.ndarray
    scale: np.ndarray
    targets: np.ndarray
    groups: np.ndarray
    missed: np.ndarray
    groups_of_labels: np.ndarray
    relative: bool
    ranked: bool

    def take(self, rows: np.ndarray) -> Candidates:
        """Return the candidates of some rows, int64 (M,)."""
        probs = self.probs[rows]
        scale = probs if self.scale is self.probs else self.scale[rows]
        return replace(self, probs=probs, scale=scale, targets=self.targets[rows], missed=self.missed[rows])

    def counts(self, goal: Goal) -> Counts:
        """Return hits, chosen and true labels while nothing is chosen."""
        counts = true_counts(self.targets, goal.average)
        if goal.average == "macro":
            return counts
        missed = self.missed if goal.average == "samples" else self.missed.sum(keepdims=True)
        return counts._replace(true=counts.true + missed)


def find_candidates(
    probs: np.ndarray, targets: np.ndarray, goal: Goal, *, groups: np.ndarray | None = None, relative: bool = False
) -> Candidates:
    """Return all labels, or only the likeliest of each row and group if that changes no fit and makes it cheaper.

    Args:
        probs: float (N, C).
        targets: uint8 (N, C).
        groups: group of each label, int64 (C,), 0 to G - 1; None for a single group.
        relative: thresholds apply to probabilities divided by the largest of their row.
    """
    scale = relative_to_row(probs) if relative else probs
    groups = np.zeros(probs.shape[1], np.int64) if groups is None else groups
    num_groups, most = groups.max(initial=0) + 1, goal.max_labels
    # For a mean over labels each column must remain one label.
    if goal.average == "macro" or most is None or 2 * num_groups * most > probs.shape[1]:
        missed = np.zeros(len(probs), np.int64)
        return Candidates(probs, scale, targets, groups, missed, groups, relative=relative, ranked=False)
    members = [np.flatnonzero(groups == group) for group in range(num_groups)]
    likely = [member[top_labels(probs[:, columns_of(member)], most)] for member in members]
    labels = np.concatenate(likely, axis=1)
    # Among equal probabilities the first label counts as likelier, wherever its column is now: ranks replace
    # probabilities, because a limit would break ties by column.
    order = np.lexsort((labels, -np.take_along_axis(probs, labels, 1)), axis=1)
    ranks = np.empty(labels.shape, np.float32)
    np.put_along_axis(ranks, order, np.arange(labels.shape[1], dtype=np.float32), axis=1)
    kept = np.take_along_axis(targets, labels, 1)
    return Candidates(
        probs=1 - ranks / labels.shape[1],
        scale=np.take_along_axis(scale, labels, 1),
        targets=kept,
        groups=np.repeat(np.arange(num_groups), [columns.shape[1] for columns in likely]),
        missed=np.count_nonzero(targets, axis=1) - np.count_nonzero(kept, axis=1),
        groups_of_labels=groups,
        relative=relative,
        ranked=True,
    )


def columns_of(labels: np.ndarray) -> slice | np.ndarray:
    """Return an index of these columns, int64 (L,): a slice, which copies nothing, if they are adjacent."""
    if labels[-1] - labels[0] == len(labels) - 1:
        return slice(int(labels[0]), int(labels[-1]) + 1)
    return labels
