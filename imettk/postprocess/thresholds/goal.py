"""The goal that thresholds are fitted for, and the best threshold given the changes that lowering it makes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from imettk.metrics.labels import Average, f_beta
from imettk.postprocess.rule import limit_labels
from imettk.postprocess.thresholds.sweep import ABOVE_ALL, TOLERANCE, Best, Counts, between, running_scores, units_of


class Goal(NamedTuple):
    """An F-beta to maximise, and the limits of labels a row."""

    beta: float = 2.0
    average: Average = "samples"
    min_labels: int = 0
    max_labels: int | None = None

    def limit(self, chosen: np.ndarray, probs: np.ndarray) -> np.ndarray:
        """Apply the limits to chosen labels, in place; see `limit_labels`."""
        return limit_labels(chosen, probs, min_labels=self.min_labels, max_labels=self.max_labels)

    def score(self, chosen: np.ndarray, targets: np.ndarray) -> float:
        """Return the F-beta of answers, bool (N, C)."""
        return f_beta(chosen, targets, beta=self.beta, average=self.average)


def best_change(
    pairs: np.ndarray, added: np.ndarray, values: np.ndarray, start: Counts, targets: np.ndarray, goal: Goal
) -> Best:
    """Return the best threshold if lowering it past `values`, falling (M,), adds (+1) or removes (-1) these pairs."""
    best = Best(ABOVE_ALL, float(start.scores(goal.beta).mean()))
    if not len(pairs):
        return best
    units = units_of(pairs, targets.shape[1], goal.average)
    hits = added * (targets.reshape(-1)[pairs] != 0)
    scores = running_scores(units, added, hits, start, beta=goal.beta)
    # Equal probabilities change together: only the last of a run is a threshold.
    scores = np.where(np.append(values[1:] < values[:-1], True), scores, -1)
    place = int(scores.argmax())
    if scores[place] <= best.score + TOLERANCE:
        return best
    return Best(between(values[place + 1] if place + 1 < len(values) else None, values[place]), float(scores[place]))
