"""Decision rules: fitted on out-of-fold probabilities, kept as a small JSON, applied to any."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from imettk.metrics import f_beta_from_counts

MAX_ROUNDS = 20
ABOVE_ALL = 2.0  # a threshold that no probability reaches


@dataclass(frozen=True)
class Rule:
    """How probabilities become answers.

    Attributes:
        kind: `threshold` takes every label at or above its threshold, `argmax` the most likely class.
        thresholds: one a label, (C,); empty for argmax.
        fill_empty: a row without any label gets its most likely one.
    """

    kind: Literal["threshold", "argmax"]
    thresholds: tuple[float, ...] = ()
    fill_empty: bool = True

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Probabilities (N, C) -> chosen labels, bool (N, C), or the class, int64 (N,)."""
        if self.kind == "argmax":
            return probs.argmax(1)
        chosen = probs >= np.asarray(self.thresholds, probs.dtype)
        if self.fill_empty:
            empty = np.flatnonzero(~chosen.any(1))
            chosen[empty, probs[empty].argmax(1)] = True
        return chosen

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Rule:
        return cls(content["kind"], tuple(content["thresholds"]), content["fill_empty"])


def fit_thresholds(
    probs: np.ndarray,
    targets: np.ndarray,
    *,
    beta: float,
    groups: tuple[str, ...] | None = None,
    fill_empty: bool = True,
) -> Rule:
    """The thresholds with the highest F-beta, averaged over samples.

    One threshold for all labels is the exact optimum, found by sorting. With `groups`, one threshold a group: each in
    turn is set to its exact optimum while the others stay (coordinate ascent), until none moves. Empty rows are filled
    after the fit.

    Args:
        probs: float (N, C).
        targets: uint8 (N, C).
        groups: the group of each label, (C,); None for one threshold.
    """
    names = np.zeros(probs.shape[1], int) if groups is None else np.unique(groups, return_inverse=True)[1]
    everything = np.ones(probs.shape[1], bool)
    start, _ = _best_threshold(probs, targets, everything, np.zeros(probs.shape, bool), beta=beta)
    thresholds = np.full(probs.shape[1], start, probs.dtype)
    for _ in range(MAX_ROUNDS if names.any() else 0):
        before = thresholds.copy()
        for group in range(names.max() + 1):
            member = names == group
            others = (probs >= thresholds) & ~member
            thresholds[member], _ = _best_threshold(probs, targets, member, others, beta=beta)
        if np.array_equal(before, thresholds):
            break
    return Rule("threshold", tuple(float(value) for value in thresholds), fill_empty)


def _best_threshold(
    probs: np.ndarray, targets: np.ndarray, member: np.ndarray, others: np.ndarray, *, beta: float
) -> tuple[float, float]:
    """The best threshold of the labels in `member` (bool (C,)), and its score, while `others` (bool (N, C)) are chosen.

    Lowering the threshold past one probability after another chooses labels in the order of all probabilities. Each
    changes the F-beta of its own row alone, so a running sum of these changes gives the score of every possible
    threshold at once.
    """
    order = np.argsort(-probs[:, member], 1, kind="stable")
    sorted_probs = np.take_along_axis(probs[:, member], order, 1)
    sorted_hits = np.take_along_axis(targets[:, member], order, 1)
    first_hits = (targets.astype(bool) & others).sum(1, keepdims=True)
    hits = np.concatenate([first_hits, first_hits + np.cumsum(sorted_hits, 1)], 1)
    num_chosen = others.sum(1, keepdims=True) + np.arange(member.sum() + 1)
    scores = f_beta_from_counts(hits, num_chosen, targets.sum(1, keepdims=True), beta=beta)
    values = sorted_probs.ravel()
    descending = np.argsort(-values, kind="stable")
    values = values[descending]
    none = float(scores[:, 0].mean())
    means = none + np.cumsum(np.diff(scores, axis=1).ravel()[descending]) / len(probs)
    # Equal probabilities are chosen together: only the last of a run is a threshold.
    is_last = np.append(values[1:] < values[:-1], True)
    best = int(np.argmax(np.where(is_last, means, -1)))
    if means[best] < none:
        return ABOVE_ALL, none
    if best + 1 == len(values):
        return float(values[best]), float(means[best])
    # Halfway to the next probability, so that a new sample's tiny difference decides nothing.
    return _between(values[best + 1], values[best]), float(means[best])


def _between(low: Any, high: Any) -> float:
    """A number of their dtype in (low, high]: the middle, or `high` where they are neighbours."""
    middle = type(high)((float(low) + float(high)) / 2)
    return float(middle if low < middle else high)
