"""The score of every possible threshold at once, and which is best: exact, without a grid.

Lowering a threshold chooses one (row, label) pair after another. Each changes the counts of its own *unit* alone: its
row where the score is a mean over samples, its label for macro, all for micro. So a running sum of the units' changes
gives the score at every threshold. Pairs of probabilities too low to matter are never sorted: a bound on what lower
thresholds could still reach ends the search, or skips to where it has to look again.
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
SAMPLE = 1 << 20  # probabilities looked at to guess how many lie above a level
LEAST_BLOCK = 1 << 14  # pairs that are sorted at a time
ROWS = 4096  # of a matrix that are looked at in one go
LARGE = 1 << 24  # pairs from which on some of the rows are looked at first


class Counts(NamedTuple):
    """Hits, chosen and true labels of each unit, int64 (U,)."""

    hits: np.ndarray
    chosen: np.ndarray
    true: np.ndarray

    def scores(self, beta: float) -> np.ndarray:
        """F-beta of each unit, float64 (U,)."""
        return f_beta_from_counts(*self, beta=beta)

    def add(self, units: np.ndarray, hits: np.ndarray) -> Counts:
        """With pairs (M,) more chosen, of these units, and whether each is a hit."""
        size = len(self.true)
        more_hits = np.bincount(units[hits], minlength=size)
        return Counts(self.hits + more_hits, self.chosen + np.bincount(units, minlength=size), self.true)


class Best(NamedTuple):
    """A threshold, and the score at it."""

    threshold: float
    score: float


def true_counts(targets: np.ndarray, average: Average) -> Counts:
    """With nothing chosen yet; targets bool or uint8 (N, C)."""
    true = sum_units(targets.astype(bool, copy=False), average)
    return Counts(np.zeros_like(true), np.zeros_like(true), true)


def units_of(flat: np.ndarray, num_labels: int, average: Average) -> np.ndarray:
    """The unit of each pair, given as positions in the flattened matrix, int64 (M,)."""
    if average == "micro":
        return np.zeros(len(flat), np.int64)
    return flat // num_labels if average == "samples" else flat % num_labels


def pairs_between(
    probs: np.ndarray, low: np.ndarray | np.floating | float, high: np.floating | float = np.inf
) -> np.ndarray:
    """Pairs whose probability lies in [low, high), as positions in the flattened matrix, rising, int64 (M,).

    Args:
        low: one for all, or one a label, (C,).
    """

    def find(first: int) -> np.ndarray:
        part = probs[first : first + ROWS]
        mask = part >= low
        if high < np.inf:
            mask &= part < high
        return np.flatnonzero(mask) + first * probs.shape[1]

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # in parts that fit a cache, for numpy lets go of the lock
        return np.concatenate([np.zeros(0, np.int64), *pool.map(find, range(0, len(probs), ROWS))])


def running_scores(
    units: np.ndarray, chosen: np.ndarray, hits: np.ndarray, start: Counts, *, beta: float
) -> np.ndarray:
    """The mean F-beta over units after each of M changes, float64 (M,).

    Args:
        units: which unit changes, int64 (M,).
        chosen: by how many more (or fewer) labels, int (M,).
        hits: and how many of these are true, int (M,).
    """
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
    return before_all.mean() + np.cumsum(changes) / len(start.true)


def best_threshold(
    probs: np.ndarray,
    targets: np.ndarray,
    *,
    beta: float,
    average: Average,
    start: Counts | None = None,
    taken: np.ndarray | None = None,
) -> Best:
    """The threshold at or above which labels are chosen for the highest F-beta: the exact optimum.

    Args:
        probs: float (N, C).
        targets: uint8 or bool (N, C).
        start: counts of what is chosen whatever the threshold, such as other labels of the same rows.
        taken: pairs that are chosen already, flat positions int64 (M,); `start` must count them.

    Returns:
        A number halfway between two probabilities, so that a new sample's tiny difference decides nothing.
    """
    search = _Search(probs, targets, beta, average, start, taken)
    return search.run()


class _Search:
    """Walks down the probabilities: sorts a block of pairs, or skips to where lower thresholds might yet win."""

    def __init__(
        self,
        probs: np.ndarray,
        targets: np.ndarray,
        beta: float,
        average: Average,
        start: Counts | None,
        taken: np.ndarray | None,
    ) -> None:
        # In a mean over labels the best threshold lies deeper than the number of hits tells.
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
        self._deepest: np.floating | float = np.inf  # where sorting ended
        self._guess: np.floating | float = self._level_below(np.inf, max(LEAST_BLOCK, 3 * len(self._hits)))
        if is_deep:  # some of the rows say how deep to look
            some = slice(None, None, 16 * -(-probs.size // LARGE))
            small = _Search(probs[some], targets[some], beta, average, None, None)
            small.run()
            self._guess = small._deepest if small._deepest < np.inf else self._guess

    def run(self) -> Best:
        level: np.floating | float = np.inf
        done = 0  # hits at or above the level are done
        block = max(LEAST_BLOCK, 3 * len(self._hits))
        while done < len(self._hits):
            safe = self._safe(done)
            if done + safe == len(self._hits):
                break
            if done and safe > 0.05 * (len(self._hits) - done):
                level = self._hit_values[done + safe - 1]
                chosen = sum_units(self._probs >= level, self._average)
            else:
                low = self._guess if level == np.inf else self._level_below(level, block)
                low = max(low, self._hit_values[-1]) if low < level else self._hit_values[-1]
                self._sort_block(low, level)
                level, chosen, block = low, None, 2 * block
            until = int(np.searchsorted(-self._hit_values, -level, "right"))
            self._move(done, until, chosen)
            done = until
        return self._best

    def _level_below(self, level: np.floating | float, count: int) -> np.floating:
        """A level with about so many more pairs above it."""
        place = np.searchsorted(-self._sample, -level, "right") + count // self._stride
        return self._sample[min(place, len(self._sample) - 1)]

    def _safe(self, done: int) -> int:
        """How many of the next hits can be passed: if only they were chosen, no threshold on the way would win."""
        units = self._hit_units[done:]
        ones = np.ones(len(units), np.int64)
        bound = running_scores(units, ones, ones, self._counts, beta=self._beta)
        over = np.flatnonzero(bound > self._best.score + TOLERANCE)
        if not len(over):
            return len(units)
        safe = int(over[0])
        values = self._hit_values[done:]
        # A level takes all pairs of equal probability: those of the first unsafe hit may not be among them.
        return (
            safe if safe and values[safe - 1] > values[safe] else int(np.searchsorted(-values, -values[safe], "left"))
        )

    def _sort_block(self, low: np.floating | float, level: np.floating | float) -> None:
        """Look at every threshold in [low, level)."""
        pairs = self._untaken(pairs_between(self._probs, low, level))
        values = self._values[pairs]
        order = falling_order(values)
        pairs, values = pairs[order], values[order]
        hits = self._targets[pairs]
        units = units_of(pairs, self._probs.shape[1], self._average)
        scores = running_scores(units, np.ones(len(pairs), np.int64), hits, self._counts, beta=self._beta)
        self._block, self._deepest = (units, hits), low
        if not len(pairs):
            return
        # Equal probabilities are chosen together: only the last of a run is a threshold.
        scores = np.where(np.append(values[1:] < values[:-1], True), scores, -1)
        best = int(scores.argmax())
        if scores[best] > self._best.score + TOLERANCE:
            lower = values[best + 1] if best + 1 < len(values) else self._next_lower(values[best])
            self._best = Best(between(lower, values[best]), float(scores[best]))

    def _next_lower(self, value: np.floating) -> np.floating | None:
        """The largest probability below this one."""
        lower = np.max(self._values, where=self._values < value, initial=-1)
        return lower if lower >= 0 else None

    def _move(self, done: int, until: int, chosen: np.ndarray | None) -> None:
        """Count what lies between the old level and the new one."""
        if chosen is None:
            self._counts = self._counts.add(*self._block)
            return
        hits = self._counts.hits + np.bincount(self._hit_units[done:until], minlength=len(self._counts.true))
        if self._taken is not None:  # counted from the start, and now once more where they lie above the level
            again = self._taken[self._values[self._taken] >= self._hit_values[until - 1]]
            units = units_of(again, self._probs.shape[1], self._average)
            chosen = chosen - np.bincount(units, minlength=len(chosen))
        self._counts = Counts(hits, self._start.chosen + chosen, self._counts.true)

    def _untaken(self, pairs: np.ndarray) -> np.ndarray:
        return pairs if self._taken is None else pairs[~np.isin(pairs, self._taken)]


def between(low: np.floating | None, high: np.floating) -> float:
    """A number of their dtype in (low, high]: the middle, or `high` where they are neighbours or nothing is lower."""
    if low is None:
        return float(high)
    middle = type(high)((float(low) + float(high)) / 2)
    return float(middle if low < middle else high)
