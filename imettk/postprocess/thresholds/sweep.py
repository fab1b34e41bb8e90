"""Scores of every possible threshold at once, and the best one: exact, without a grid.

Lowering a threshold chooses one (row, label) pair after another. Each pair changes the counts of its own *unit*: its
row for a mean over samples, its label for macro, everything for micro. A running sum of the units' changes gives the
score at every threshold. Pairs with probabilities too low to matter are never sorted: a bound on the score of lower
thresholds ends the search, or skips to where it has to look again.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from imettk.metrics.labels import Average, f_beta_from_counts, sum_units
from imettk.postprocess.thresholds.sorting import falling_order, rising_order

ABOVE_ALL = 2.0  # a threshold that no probability reaches
TOLERANCE = 1e-12  # of a score: sums in another order differ by less
SAMPLE = 1 << 20  # probabilities sampled to guess how many lie above a level
LEAST_BLOCK = 1 << 14  # pairs in the first sorted block
ROWS = 4096  # of a matrix processed at a time
LARGE = 1 << 24  # pairs from which on a sample of the rows is searched first


class Counts(NamedTuple):
    """Hits, chosen and true labels of each unit, int64 (U,)."""

    hits: np.ndarray
    chosen: np.ndarray
    true: np.ndarray

    def scores(self, beta: float) -> np.ndarray:
        """Return F-beta of each unit, float64 (U,)."""
        return f_beta_from_counts(*self, beta=beta)

    def add(self, units: np.ndarray, hits: np.ndarray) -> Counts:
        """Return the counts after choosing M more pairs, given the unit of each and whether it is a hit."""
        size = len(self.true)
        more_hits = np.bincount(units[hits], minlength=size)
        return Counts(self.hits + more_hits, self.chosen + np.bincount(units, minlength=size), self.true)


class Best(NamedTuple):
    """A threshold and its score."""

    threshold: float
    score: float


def true_counts(targets: np.ndarray, average: Average) -> Counts:
    """Return the counts with nothing chosen yet; targets bool or uint8 (N, C)."""
    true = sum_units(targets.astype(bool, copy=False), average)
    return Counts(np.zeros_like(true), np.zeros_like(true), true)


def units_of(flat: np.ndarray, num_labels: int, average: Average) -> np.ndarray:
    """Return the unit of each pair, given as positions in the flattened matrix, int64 (M,)."""
    if average == "micro":
        return np.zeros(len(flat), np.int64)
    return flat // num_labels if average == "samples" else flat % num_labels


def pairs_between(
    probs: np.ndarray, low: np.ndarray | np.floating | float, high: np.floating | float = np.inf
) -> np.ndarray:
    """Return the pairs with a probability in [low, high), as rising positions in the flattened matrix, int64 (M,).

    Args:
        low: one for all labels, or one per label, (C,).
    """

    def find(first: int) -> np.ndarray:
        part = probs[first : first + ROWS]
        mask = part >= low
        if high < np.inf:
            mask &= part < high
        return np.asarray(np.flatnonzero(mask) + first * probs.shape[1])

    # In parts that fit a cache; threads help because numpy releases the GIL.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.concatenate([np.zeros(0, np.int64), *pool.map(find, range(0, len(probs), ROWS))])


def running_scores(
    units: np.ndarray, chosen: np.ndarray, hits: np.ndarray, start: Counts, *, beta: float
) -> np.ndarray:
    """Return the mean F-beta over units after each of M changes, float64 (M,).

    Args:
        units: the unit of each change, int64 (M,).
        chosen: change of its number of chosen labels, int (M,).
        hits: change of its number of hits, int (M,).
    """
    # Sorted by unit, running sums restart at each unit; the differences of its scores are then put back in order.
    order = rising_order(units)
    unit = units[order]
    first = np.flatnonzero(np.append(True, unit[1:] != unit[:-1])[: len(unit)])
    lengths = np.diff(np.append(first, len(unit)))
    after = []
    for changes, base in ((hits, start.hits), (chosen, start.chosen)):
        total = np.cumsum(changes[order], dtype=np.int64)
        before_unit = np.append(0, total[first[1:] - 1])[: len(first)]
        after.append(total + np.repeat(base[unit[first]] - before_unit, lengths))
    scores = f_beta_from_counts(after[0], after[1], start.true[unit], beta=beta)
    before = np.append(0.0, scores[:-1])[: len(scores)]
    before_all = start.scores(beta)
    before[first] = before_all[unit[first]]
    changes = np.empty(len(scores))
    changes[order] = scores - before
    return np.asarray(before_all.mean() + np.cumsum(changes) / len(start.true))


def best_threshold(
    probs: np.ndarray,
    targets: np.ndarray,
    *,
    beta: float,
    average: Average,
    start: Counts | None = None,
    taken: np.ndarray | None = None,
) -> Best:
    """Return the threshold with the highest F-beta if all labels at or above it are chosen: the exact optimum.

    Args:
        probs: float (N, C).
        targets: uint8 or bool (N, C).
        start: counts of labels that are chosen at every threshold, such as other labels of the same rows.
        taken: pairs that are already chosen, flat positions int64 (M,); `start` must include them.

    Returns:
        A number halfway between two probabilities, so that tiny differences in a new sample decide nothing.
    """
    search = _Search(probs, targets, beta, average, start, taken)
    return search.run()


class _Search:
    """A search down the probabilities: sorts a block of pairs, or skips to where lower thresholds might still win."""

    def __init__(
        self,
        probs: np.ndarray,
        targets: np.ndarray,
        beta: float,
        average: Average,
        start: Counts | None,
        taken: np.ndarray | None,
    ) -> None:
        # For a mean over labels the best threshold often lies deeper than the number of hits suggests.
        is_deep, start = average == "macro" and probs.size > LARGE, start or true_counts(targets, average)
        self._probs = np.ascontiguousarray(probs)
        self._values = self._probs.reshape(-1)
        self._targets, self._beta, self._average = (np.ascontiguousarray(targets) != 0).reshape(-1), beta, average
        self._taken = taken if taken is not None and len(taken) else None
        self._start = self._counts = start
        self._best = Best(ABOVE_ALL, float(start.scores(beta).mean()))
        hits = self._untaken(np.flatnonzero(self._targets))
        values = self._values[hits]
        order = falling_order(values)
        self._hits, self._hit_values = hits[order], values[order]
        self._hit_units = units_of(self._hits, probs.shape[1], average)
        self._stride = max(1, len(self._values) // SAMPLE)
        self._sample = np.sort(self._values[:: self._stride])[::-1]
        self._deepest: np.floating | float = np.inf  # the lowest sorted level
        self._guess: np.floating | float = self._level_below(np.inf, max(LEAST_BLOCK, 3 * len(self._hits)))
        if is_deep:  # a search of a sample of the rows suggests how deep to go
            sample = slice(None, None, 16 * -(-probs.size // LARGE))
            small = _Search(probs[sample], targets[sample], beta, average, None, None)
            small.run()
            self._guess = small._deepest if small._deepest < np.inf else self._guess

    def run(self) -> Best:
        """Return the best threshold and its score."""
        level: np.floating | float = np.inf
        done = 0  # number of hits at or above the level
        block = max(LEAST_BLOCK, 3 * len(self._hits))
        while done < len(self._hits):
            safe = self._safe(done)
            if done + safe == len(self._hits):
                break
            if done and safe > 0.05 * (len(self._hits) - done):
                level = self._hit_values[done + safe - 1]
                until = self._count_hits(level)
                self._skip(done, until, sum_units(self._probs >= level, self._average))
            else:
                low = self._guess if level == np.inf else self._level_below(level, block)
                low = max(low, self._hit_values[-1]) if low < level else self._hit_values[-1]
                self._sort_block(low, level)
                level, block = low, 2 * block
                until = self._count_hits(level)
            done = until
        return self._best

    def _level_below(self, level: np.floating | float, count: int) -> np.floating:
        """Return a level with about `count` more pairs above it."""
        place = np.searchsorted(-self._sample, -level, "right") + count // self._stride
        lower: np.floating = self._sample[min(place, len(self._sample) - 1)]
        return lower

    def _count_hits(self, level: np.floating | float) -> int:
        """Count the hits at or above a level."""
        return int(np.searchsorted(-self._hit_values, -level, "right"))

    def _safe(self, done: int) -> int:
        """Count the next hits that can be skipped: even if only they were chosen, no threshold among them would win."""
        units = self._hit_units[done:]
        ones = np.ones(len(units), np.int64)
        bound = running_scores(units, ones, ones, self._counts, beta=self._beta)
        over = np.flatnonzero(bound > self._best.score + TOLERANCE)
        if not len(over):
            return len(units)
        safe = int(over[0])
        values = self._hit_values[done:]
        # A level includes all pairs of equal probability, so it must not share one with the first unsafe hit.
        return (
            safe if safe and values[safe - 1] > values[safe] else int(np.searchsorted(-values, -values[safe], "left"))
        )

    def _sort_block(self, low: np.floating | float, level: np.floating | float) -> None:
        """Score every threshold in [low, level), and count its pairs as chosen."""
        pairs = self._untaken(pairs_between(self._probs, low, level))
        values = self._values[pairs]
        order = falling_order(values)
        pairs, values = pairs[order], values[order]
        hits = self._targets[pairs]
        units = units_of(pairs, self._probs.shape[1], self._average)
        scores = running_scores(units, np.ones(len(pairs), np.int64), hits, self._counts, beta=self._beta)
        self._counts, self._deepest = self._counts.add(units, hits), low
        if not len(pairs):
            return
        # Equal probabilities are chosen together: only the last of a run is a threshold.
        scores = np.where(np.append(values[1:] < values[:-1], True), scores, -1)
        best = int(scores.argmax())
        if scores[best] > self._best.score + TOLERANCE:
            lower = values[best + 1] if best + 1 < len(values) else self._next_lower(values[best])
            self._best = Best(between(lower, values[best]), float(scores[best]))

    def _next_lower(self, value: np.floating) -> np.floating | None:
        """Return the largest probability below this one, or None."""
        lower = np.max(self._values, where=self._values < value, initial=-1)
        return lower if lower >= 0 else None

    def _skip(self, done: int, until: int, chosen: np.ndarray) -> None:
        """Count everything down to a lower level as chosen, without scoring the thresholds on the way.

        Args:
            done, until: number of hits at or above the old level and the new one.
            chosen: pairs at or above the new level in each unit, int64 (U,).
        """
        hits = self._counts.hits + np.bincount(self._hit_units[done:until], minlength=len(self._counts.true))
        if self._taken is not None:  # already in `start`, so those above the level must not be counted again
            again = self._taken[self._values[self._taken] >= self._hit_values[until - 1]]
            units = units_of(again, self._probs.shape[1], self._average)
            chosen = chosen - np.bincount(units, minlength=len(chosen))
        self._counts = Counts(hits, self._start.chosen + chosen, self._counts.true)

    def _untaken(self, pairs: np.ndarray) -> np.ndarray:
        return pairs if self._taken is None else pairs[~np.isin(pairs, self._taken)]


def between(low: np.floating | None, high: np.floating) -> float:
    """Return a number of their dtype in (low, high]: the middle, or `high` if they are adjacent or `low` is None."""
    if low is None:
        return float(high)
    middle = type(high)((float(low) + float(high)) / 2)
    return float(middle if low < middle else high)
