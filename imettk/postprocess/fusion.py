"""Fusion of several models' rankings by their scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imettk.postprocess.ranking import Ranked, rank_probs

CELLS = 4_000_000  # scores held in memory at a time


def fuse(rankings: Sequence[Ranked], weights: Sequence[float] | np.ndarray, *, num_labels: int, k: int) -> Ranked:
    """Return the ranking by weighted mean score; a label missing from a ranking gets that list's lowest score.

    Args:
        rankings: of the same queries, (Q, K_i) each; labels in [0, num_labels), -1 for missing ones.
        weights: one per ranking, 0 or above.

    Returns:
        (Q, k); among equal scores the lower label comes first. A query without labels in some ranking has none.
    """
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    num_queries = len(rankings[0].labels)
    parts = []
    for first in range(0, num_queries, step := max(1, CELLS // max(1, num_labels))):
        rows = slice(first, first + step)
        total = np.zeros((len(rankings[0].labels[rows]), num_labels))
        listed = np.zeros(total.shape, bool)
        for (labels, scores), share in zip(
            ((ranking.labels[rows], ranking.scores[rows]) for ranking in rankings), shares, strict=True
        ):
            places, columns = np.nonzero(labels >= 0)
            lowest = np.where(labels >= 0, scores, np.inf).min(1, keepdims=True)
            dense = np.repeat(lowest.astype(np.float64), num_labels, axis=1)
            dense[places, labels[places, columns]] = scores[places, columns]
            listed[places, labels[places, columns]] = True
            total += share * dense
        parts.append(_only_listed(total, listed, k))
    return Ranked(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _only_listed(total: np.ndarray, listed: np.ndarray, k: int) -> Ranked:
    usable = np.isfinite(total) & listed
    ranked = rank_probs(np.where(usable, total, np.finfo(np.float32).min), k)
    places = np.arange(len(total))[:, None]
    kept = (ranked.labels >= 0) & usable[places, ranked.labels]
    return Ranked(np.where(kept, ranked.labels, -1), np.where(kept, ranked.scores, -np.inf).astype(np.float32))
