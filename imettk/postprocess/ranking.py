"""Rankings: from near neighbours, or probabilities, to distinct labels in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from imettk.postprocess.rule import top_labels

Pool = Literal["best", "mean", "vote"]


@dataclass(frozen=True)
class Pooling:
    """A way to turn a query's neighbours into scores of labels.

    Attributes:
        pool: a label's score is the similarity of its nearest neighbour (`best`), the mean of its `best_of` nearest
            ones, or of all it has if they are fewer (`mean`), or its share of the neighbours, each weighted with
            exp(similarity / temperature) (`vote`; matching networks, arXiv 1606.04080).
        num_neighbours: number of neighbours that count.
    """

    pool: Pool = "best"
    num_neighbours: int = 100
    best_of: int = 3
    temperature: float = 0.1


class Ranked(NamedTuple):
    """Distinct labels, best first, int64 (Q, k), and their scores, falling, float32 (Q, k).

    Missing places hold -1 and -inf.
    """

    labels: np.ndarray
    scores: np.ndarray


def rank_labels(
    rows: np.ndarray,
    similarities: np.ndarray,
    labels: np.ndarray,
    *,
    k: int,
    pooling: Pooling = Pooling(),
) -> Ranked:
    """Rank the labels of each query's neighbours; among equal scores the label of the nearer neighbour comes first.

    Args:
        rows: neighbours in the gallery, nearest first, int64 (Q, K), K at least 1; -1 is skipped.
        similarities: float (Q, K), falling.
        labels: labels of the gallery, int64 (G,); -1 is skipped.
        pooling: how neighbours become scores.
    """
    num_rows, num_near = rows.shape
    named = np.append(labels, -1)[rows]
    # Label and place packed into one integer: numpy sorts integers several times as fast as it finds their order.
    label, place = np.divmod(np.sort(named * num_near + np.arange(num_near), axis=1), num_near)
    starts = np.append(np.ones((num_rows, 1), bool), label[:, 1:] != label[:, :-1], axis=1)
    first = np.flatnonzero(starts)  # the nearest neighbour of each label in each row
    sizes = np.diff(np.append(first, label.size))
    if pooling.pool == "vote":
        weights = _softmax(np.where(named >= 0, similarities / pooling.temperature, -np.inf))
        scores = np.add.reduceat(np.take_along_axis(weights, place, axis=1).reshape(-1), first)
    else:
        most = 1 if pooling.pool == "best" else pooling.best_of
        values = np.take_along_axis(similarities.astype(np.float64), place, axis=1).reshape(-1)
        counted = np.arange(label.size) - np.repeat(first, sizes) < most
        scores = np.add.reduceat(np.where(counted, values, 0), first) / np.minimum(sizes, most)
    # Each label's score is put at the place of its nearest neighbour, so that a stable sort breaks ties by nearness.
    scattered = np.full(rows.shape, -np.inf, np.float32)
    known = label[starts] >= 0
    scattered[first[known] // num_near, place[starts][known]] = scores[known]
    best = top_labels(scattered, k)
    scores = np.take_along_axis(scattered, best, axis=1)
    return _widened(np.where(scores > -np.inf, np.take_along_axis(named, best, axis=1), -1), scores, k)


def _softmax(values: np.ndarray) -> np.ndarray:
    """Return the softmax of each row, float64 (Q, K); zeros for a row of -inf."""
    weights: np.ndarray = np.exp(values - np.maximum(values.max(1, keepdims=True), np.finfo(np.float32).min))
    return np.asarray(weights / np.maximum(weights.sum(1, keepdims=True), np.finfo(np.float64).tiny))


def _widened(labels: np.ndarray, scores: np.ndarray, k: int) -> Ranked:
    """Pad a ranking to k columns."""
    missing = ((0, 0), (0, k - labels.shape[1]))
    return Ranked(
        np.pad(labels, missing, constant_values=-1),
        np.pad(scores.astype(np.float32, copy=False), missing, constant_values=-np.inf),
    )


def rank_probs(probs: np.ndarray, k: int) -> Ranked:
    """Return the k likeliest classes, the first among equals; probs float (N, C), a row that is not finite has none."""
    finite = np.isfinite(probs).all(1, keepdims=True)
    best = top_labels(np.where(finite, probs, 0), k)
    scores = np.where(finite, np.take_along_axis(probs, best, axis=1), -np.inf)
    return _widened(np.where(finite, best, -1), scores, k)


def to_scored(ranked_labels: np.ndarray, scored: np.ndarray, unknown: int, k: int) -> np.ndarray:
    """Map unscored labels to the unknown label: the first in a row becomes it, the others are dropped.

    Args:
        ranked_labels: best first, int64 (Q, K), distinct within a row; -1 is skipped.
        scored: labels that may be answered, bool (C,).
        unknown: the label for all others.

    Returns:
        int64 (Q, k), padded with -1.
    """
    known = np.append(scored, False)[ranked_labels]  # -1 indexes the appended one
    answers = np.where(known | (ranked_labels < 0), ranked_labels, unknown)
    return _widened(drop_repeats(answers, unknown)[:, :k], np.zeros((len(answers), 0)), k).labels


def drop_repeats(answers: np.ndarray, label: int) -> np.ndarray:
    """Keep only the first occurrence of this label in each row; the rest moves up, padded with -1, int64 (Q, K)."""
    same = answers == label
    gone = (same & (same.cumsum(1) > 1)) | (answers < 0)
    order = np.argsort(gone, axis=1, kind="stable")
    return np.take_along_axis(np.where(gone, -1, answers), order, axis=1)
