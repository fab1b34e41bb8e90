"""Coordinate ascent with exact steps, for thresholds of labels whose answers depend on each other.

As one threshold falls, its labels pass in rows one after another. If no limit binds, a passing label is chosen. In a
full row it is chosen if it is among the likeliest, and may push another label out; in a row that nothing passes it
takes the place of the label that fills it. All these changes, in order of value, give the score of every threshold at
once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from imettk.metrics.labels import f_beta_from_counts
from imettk.postprocess.rule import top_labels
from imettk.postprocess.thresholds.candidates import Candidates, columns_of
from imettk.postprocess.thresholds.goal import Goal, best_change
from imettk.postprocess.thresholds.sorting import falling_order, rising_order
from imettk.postprocess.thresholds.sweep import ABOVE_ALL, SAMPLE, TOLERANCE, Best, pairs_between, units_of

CHUNK = 8192  # rows answered again at a time
LEAST_PAIRS = 1 << 14  # probabilities in the first search
MAX_ROUNDS = 20


def ascend(candidates: Candidates, goal: Goal, *, start: Best, tell: Callable[[int], object]) -> np.ndarray:
    """Return thresholds of groups, float64 (G,), none of which can be moved on its own for a higher score.

    Args:
        start: the best single threshold.
        tell: called with 1 after each step.
    """
    state = _State(candidates, goal, start)
    members = [np.flatnonzero(candidates.groups == group) for group in range(candidates.groups.max() + 1)]
    thresholds, score = np.full(len(members), start.threshold), start.score
    for _ in range(MAX_ROUNDS):
        before = score
        for group, member in enumerate(members):
            state.take_out(member)
            best = state.best_step(member)
            if best.score > score + TOLERANCE:
                score, thresholds[group] = best.score, best.threshold
            state.put_in(member, thresholds[group])
            tell(1)
        if score <= before + 1e-9:
            break
    return thresholds


class _Events(NamedTuple):
    """Changes of answers as a threshold falls, (M,) each.

    Attributes:
        pairs: positions in the flattened matrix.
        added: 1 for a pair that becomes chosen, -1 for one that is lost.
        values: thresholds at which that happens.
    """

    pairs: np.ndarray
    added: np.ndarray
    values: np.ndarray


class _Entries(NamedTuple):
    """Labels that pass in rows; (M,) each.

    Attributes:
        ranks: place of a label among the row's passing ones, likeliest first.
    """

    rows: np.ndarray
    ranks: np.ndarray
    labels: np.ndarray
    values: np.ndarray

    def take(self, places: np.ndarray) -> _Entries:
        """Return some of the entries, by index or mask."""
        return _Entries(*(column[places] for column in self))


def _comes_first(prob: np.ndarray, label: np.ndarray, other_prob: np.ndarray, other_label: np.ndarray) -> np.ndarray:
    """Return whether a label counts as likelier than another: among equal ones the first does."""
    first: np.ndarray = (prob > other_prob) | ((prob == other_prob) & (label < other_label))
    return first


def _level_of(scale: np.ndarray, count: int | np.integer) -> np.floating:
    """Return a level with about `count` of these probabilities above it."""
    stride = max(1, scale.size // SAMPLE)
    sample = np.sort(scale[::stride].reshape(-1))[::-1]
    level: np.floating = sample[min(int(count) // stride, len(sample) - 1)]
    return level


class _State:
    """The labels that pass their thresholds, and the rows' answers under the limits, with counts kept up to date."""

    def __init__(self, candidates: Candidates, goal: Goal, start: Best) -> None:
        probs, scale, truth = candidates.probs, candidates.scale, candidates.targets != 0
        self._probs, self._scale, self._truth, self._goal = probs, scale, truth, goal
        self._ranked = candidates.ranked
        # Under a limit a wrong label may replace another wrong label, which can raise a mean over labels.
        self._swaps_pay = goal.average == "macro" and (goal.min_labels > 0 or goal.max_labels is not None)
        self._tops: dict[int, np.ndarray] = {}
        self._most = probs.shape[1] if goal.max_labels is None else goal.max_labels
        self._passing = scale >= np.asarray(start.threshold, scale.dtype)
        self._num_passing = np.count_nonzero(self._passing, axis=1)
        self._answer = goal.limit(self._passing.copy(), probs)
        self._counts = candidates.counts(goal)
        self._count(np.flatnonzero(self._answer), 1)
        hits = np.flatnonzero(truth)
        self._num_hits = np.bincount(hits % probs.shape[1], minlength=probs.shape[1])
        self._last_hit = np.full(probs.shape[1], np.inf, scale.dtype)  # the lowest hit of each label
        np.minimum.at(self._last_hit, hits % probs.shape[1], np.ascontiguousarray(scale).reshape(-1)[hits])

    def take_out(self, member: np.ndarray) -> None:
        """Let these labels, int64 (L,), pass in no row."""
        self._change(member, np.asarray(ABOVE_ALL, self._scale.dtype))

    def put_in(self, member: np.ndarray, threshold: float) -> None:
        """Let these labels, int64 (L,), pass at this threshold."""
        self._change(member, np.asarray(threshold, self._scale.dtype))

    def best_step(self, member: np.ndarray) -> Best:
        """Return the best threshold of these labels, which are taken out, while all others stay."""
        num_hits = int(self._num_hits[member].sum())
        if not num_hits and not self._swaps_pay:
            return Best(ABOVE_ALL, float(self._counts.scores(self._goal.beta).mean()))
        scale = self._scale[:, columns_of(member)]
        # Below the last hit, lowering the threshold further cannot gain anything, unless swaps pay.
        lowest = scale.min() if self._swaps_pay else self._last_hit[member].min()
        level = lowest
        if self._goal.max_labels is None and not self._swaps_pay:
            level = max(lowest, _level_of(scale, 4 * num_hits + LEAST_PAIRS))
        while True:
            events = self._events(member, scale, level)
            order = falling_order(events.values)
            pairs, added = events.pairs[order], events.added[order]
            best = best_change(pairs, added, events.values[order], self._counts, self._truth, self._goal)
            if level <= lowest or self._bound(pairs, added) <= best.score + TOLERANCE:
                return best
            lower = _level_of(scale, 4 * np.count_nonzero(scale >= level))
            level = max(lowest, lower) if lower < level else lowest

    def _bound(self, pairs: np.ndarray, added: np.ndarray) -> float:
        """Return an upper bound of the score at lower thresholds: as if only each unit's remaining hits were chosen."""
        units = units_of(pairs, self._truth.shape[1], self._goal.average)
        size = len(self._counts.true)
        chosen = self._counts.chosen + np.bincount(units, weights=added, minlength=size)
        hits = self._counts.hits + np.bincount(units, weights=added * self._truth.reshape(-1)[pairs], minlength=size)
        most = f_beta_from_counts(
            self._counts.true, chosen + self._counts.true - hits, self._counts.true, beta=self._goal.beta
        )
        return float(most.mean())

    def _events(self, member: np.ndarray, scale: np.ndarray, level: np.floating) -> _Events:
        """Return the changes of answers as labels of `member` pass, down to this level; see the module's docstring."""
        passing = self._entries(member, scale, level)
        few, nothing = self._num_passing < self._goal.min_labels, np.zeros(0, np.int64)
        parts = [_Events(nothing, nothing, np.zeros(0, scale.dtype))]
        if self._goal.min_labels > 1 and few.any():
            for changed, sign, value in self._limited_changes(member, np.flatnonzero(few), level):
                parts.append(_Events(changed, np.full(len(changed), sign, np.int64), value))
            passing = passing.take(~few[passing.rows])
        rows, ranks, labels, values = passing
        chosen = ranks + self._num_passing[rows] < self._most  # no limit binds
        bound = np.flatnonzero(~chosen & (ranks < self._most) & (self._num_passing[rows] > 0))
        if len(bound):
            fits, events = self._displaced(passing, bound)
            chosen[bound] = fits
            parts.append(events)
        chosen |= (ranks < self._most) & (self._num_passing[rows] == 0)
        if self._goal.min_labels == 1:
            # A row that nothing passes answers with its likeliest label, until the first of these labels passes.
            first = np.flatnonzero((ranks == 0) & few[rows])
            filled = self._answer[rows[first]].argmax(1)
            chosen[first[filled == labels[first]]] = False
            other = first[filled != labels[first]]
            gone = self._pairs(rows[other], filled[filled != labels[first]])
            parts.append(_Events(gone, np.full(len(gone), -1), values[other]))
        pairs = self._pairs(rows[chosen], labels[chosen])
        parts.append(_Events(pairs, np.ones(len(pairs), np.int64), values[chosen]))
        return _Events(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _entries(self, member: np.ndarray, scale: np.ndarray, level: np.floating) -> _Entries:
        """Return the labels of `member` at or above the level, row by row in order of rank."""
        if self._ranked or len(member) == 1:
            rows, ranks = np.nonzero(scale >= level)
            return _Entries(rows, ranks, member[ranks], scale[rows, ranks])
        if self._goal.max_labels is not None and len(member) > self._most:
            # Once a row's limit is reached, further labels change nothing: the earlier ones are likelier.
            key = int(member[0])
            if key not in self._tops:
                self._tops[key] = top_labels(scale, self._most)
            places = self._tops[key]
        else:
            pairs = pairs_between(scale, level)
            rows, place = np.divmod(pairs, len(member))
            values = scale[rows, place]
            order = falling_order(values)
            order = order[rising_order(rows[order])]
            counts = np.bincount(rows, minlength=len(scale))
            # `order` only sorts within a row, so `rows`, which rises, stays unchanged.
            ranks = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
            return _Entries(rows, ranks, member[place[order]], values[order])
        values = np.take_along_axis(scale, places, 1)
        rows, ranks = np.nonzero(values >= level)
        return _Entries(rows, ranks, member[places[rows, ranks]], values[rows, ranks])

    def _displaced(self, entries: _Entries, bound: np.ndarray) -> tuple[np.ndarray, _Events]:
        """Return which entries of full rows are chosen as they pass, bool (M,), and the labels that they push out.

        Let o_1, o_2, ... be a row's other passing labels, likeliest first, and g_1, g_2, ... its entries. g_j is chosen
        if j plus the number of likelier o is within the limit; o_r is pushed out when g_(limit - r + 1) passes, if that
        one is likelier.

        Args:
            bound: positions of the entries of full rows, int64 (M,).
        """
        rows, ranks, labels, _ = entries.take(bound)
        full, member = np.unique(rows, return_inverse=True)
        row, label = np.divmod(np.flatnonzero(self._passing[full]), self._passing.shape[1])
        probs = self._probs[full[row], label]
        order = falling_order(probs)
        order = order[rising_order(row[order])]
        row, label, probs = row[order], label[order], probs[order]
        counts = np.bincount(row, minlength=len(full))
        place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
        kept = place < self._most
        others = np.full((len(full), self._most), -1.0), np.zeros((len(full), self._most), np.int64)
        others[0][row[kept], place[kept]], others[1][row[kept], place[kept]] = probs[kept], label[kept]
        before = _comes_first(others[0][member], others[1][member], self._probs[rows, labels][:, None], labels[:, None])
        fits = ranks + np.count_nonzero(before, axis=1) < self._most
        # Entries of these rows that push a label out: g_j meets o_(limit - j + 1).
        place = np.searchsorted(full, entries.rows).clip(max=len(full) - 1)
        among = np.flatnonzero((full[place] == entries.rows) & (entries.ranks < self._most))
        rows, ranks, labels, values = entries.take(among)
        place, meets = place[among], self._most - 1 - ranks
        prob, other = others[0][place, meets], others[1][place, meets]
        out = (prob >= 0) & _comes_first(self._probs[rows, labels], labels, prob, other)
        gone = self._pairs(rows[out], other[out])
        return fits, _Events(gone, np.full(len(gone), -1), values[out])

    def _pairs(self, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return np.asarray(rows * self._probs.shape[1] + labels)

    def _limited_changes(
        self, member: np.ndarray, rows: np.ndarray, lowest: np.floating
    ) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
        """Yield the changes of rows under a limit as their labels of `member` pass one by one: pairs, +1 or -1, values.

        Once the limits are reached, further labels change nothing: the earlier ones are likelier.
        """
        scale = self._scale[np.ix_(rows, member)]
        ranks = np.argsort(-scale, axis=1, kind="stable")
        answer, passing = self._answer[rows], self._passing[rows]
        for place in range(min(len(member), max(self._most, self._goal.min_labels))):
            values = np.take_along_axis(scale, ranks[:, place : place + 1], 1)[:, 0]
            passed = np.flatnonzero(values >= lowest)
            if not len(passed):
                return
            passing[passed, member[ranks[passed, place]]] = True
            after = self._goal.limit(passing[passed], self._probs[rows[passed]])
            for sign, changed in ((1, after & ~answer[passed]), (-1, answer[passed] & ~after)):
                row, label = np.nonzero(changed)
                yield self._pairs(rows[passed[row]], label), sign, values[passed[row]]
            answer[passed] = after

    def _change(self, member: np.ndarray, limit: np.ndarray) -> None:
        """Give these labels another threshold; only rows where that changes which labels pass are answered again."""
        columns = columns_of(member)
        passes = self._scale[:, columns] >= limit
        before = self._passing[:, columns]
        rows = np.flatnonzero((passes != before).any(1))
        self._num_passing[rows] += np.count_nonzero(passes[rows], axis=1) - np.count_nonzero(before[rows], axis=1)
        self._passing[:, columns] = passes
        for first in range(0, len(rows), CHUNK):
            chunk = rows[first : first + CHUNK]
            answer = self._answer[chunk]
            after = self._goal.limit(self._passing[chunk], self._probs[chunk])
            flat = np.flatnonzero(after != answer)  # several times as fast as `np.nonzero` on the matrix
            row, label = np.divmod(flat, after.shape[1])
            pairs, added = self._pairs(chunk[row], label), after.reshape(-1)[flat]
            self._count(pairs[added], 1)
            self._count(pairs[~added], -1)
            self._answer[chunk] = after

    def _count(self, pairs: np.ndarray, sign: int) -> None:
        """Add these answers to the counts (sign 1), or remove them (-1)."""
        units = units_of(pairs, self._probs.shape[1], self._goal.average)
        hits = units[self._truth.reshape(-1)[pairs]]
        for total, changed in ((self._counts.hits, hits), (self._counts.chosen, units)):
            total += sign * np.bincount(changed, minlength=len(total))
