"""Coordinate ascent on exact steps: for thresholds of labels whose answers depend on each other.

As one threshold falls, its labels pass in rows one after another. Where no limit binds, a label that passes is chosen.
In a full row it is chosen if it is among the most likely, and may push another out; in a row that nothing passes it
takes the place of the label that fills it. All these changes together, in order of value, give the score of every
threshold at once.
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

CHUNK = 8192  # rows that are answered anew in one go
LEAST_PAIRS = 1 << 14  # probabilities that are looked at first
MAX_ROUNDS = 20


def ascend(found: Candidates, goal: Goal, *, start: Best, tell: Callable[[int], object]) -> np.ndarray:
    """Thresholds of groups of which none alone can be moved for a higher score, float64 (G,).

    Args:
        start: the best single threshold.
        tell: called with 1 after each step.
    """
    state = _State(found, goal, start)
    members = [np.flatnonzero(found.groups == group) for group in range(found.groups.max() + 1)]
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
    """Pairs (flat positions) that are chosen (+1) or lost (-1) when the threshold falls to these values; (M,) each."""

    pairs: np.ndarray
    added: np.ndarray
    values: np.ndarray


def _comes_first(prob: np.ndarray, label: np.ndarray, other_prob: np.ndarray, other_label: np.ndarray) -> np.ndarray:
    """Whether a label counts as more likely than another: of equal ones the first does."""
    return (prob > other_prob) | ((prob == other_prob) & (label < other_label))


def _level_of(scale: np.ndarray, count: int | np.integer) -> np.floating:
    """A level above which about so many of these probabilities lie."""
    stride = max(1, scale.size // SAMPLE)
    sample = np.sort(scale[::stride].reshape(-1))[::-1]
    return sample[min(int(count) // stride, len(sample) - 1)]


class _State:
    """Which labels pass their thresholds, and what a row answers under the limits; counted as it changes."""

    def __init__(self, found: Candidates, goal: Goal, start: Best) -> None:
        probs, scale, truth = found.probs, found.scale, found.targets != 0
        self._probs, self._scale, self._truth, self._goal = probs, scale, truth, goal
        self._ranked = found.ranked
        # Under a limit a wrong label may take the place of another wrong one: in a mean over labels that can pay.
        self._swaps_pay = goal.average == "macro" and (goal.min_labels > 0 or goal.max_labels is not None)
        self._tops: dict[int, np.ndarray] = {}
        self._most = probs.shape[1] if goal.max_labels is None else goal.max_labels
        self._passing = scale >= np.asarray(start.threshold, scale.dtype)
        self._num_passing = np.count_nonzero(self._passing, axis=1)
        self._answer = goal.limit(self._passing.copy(), probs)
        self._counts = found.counts(goal)
        self._count(np.flatnonzero(self._answer), 1)
        hits = np.flatnonzero(truth)
        self._num_hits = np.bincount(hits % probs.shape[1], minlength=probs.shape[1])
        self._last_hit = np.full(probs.shape[1], np.inf, scale.dtype)  # the lowest one of each label
        np.minimum.at(self._last_hit, hits % probs.shape[1], np.ascontiguousarray(scale).reshape(-1)[hits])

    def take_out(self, member: np.ndarray) -> None:
        """Let these labels (int64 (L,)) pass nowhere."""
        self._change(member, np.asarray(ABOVE_ALL, self._scale.dtype))

    def put_in(self, member: np.ndarray, threshold: float) -> None:
        """Let them pass this threshold."""
        self._change(member, np.asarray(threshold, self._scale.dtype))

    def best_step(self, member: np.ndarray) -> Best:
        """The best threshold of these labels, which are out, while the others stay."""
        num_hits = int(self._num_hits[member].sum())
        if not num_hits and not self._swaps_pay:
            return Best(ABOVE_ALL, float(self._counts.scores(self._goal.beta).mean()))
        scale = self._scale[:, columns_of(member)]
        # Below the last hit no lower threshold can gain anything, unless swaps pay.
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
        """No threshold below scores more: as if each unit's other hits were all that is still to be chosen."""
        units = units_of(pairs, self._truth.shape[1], self._goal.average)
        size = len(self._counts.true)
        chosen = self._counts.chosen + np.bincount(units, weights=added, minlength=size)
        hits = self._counts.hits + np.bincount(units, weights=added * self._truth.reshape(-1)[pairs], minlength=size)
        most = f_beta_from_counts(
            self._counts.true, chosen + self._counts.true - hits, self._counts.true, beta=self._goal.beta
        )
        return float(most.mean())

    def _events(self, member: np.ndarray, scale: np.ndarray, level: np.floating) -> _Events:
        """What changes in the answers as labels of `member` pass, down to this level; see the module's docstring."""
        rows, ranks, labels, values = self._entries(member, scale, level)
        few, free = self._num_passing < self._goal.min_labels, np.zeros(0, np.int64)
        parts = [_Events(free, free, np.zeros(0, scale.dtype))]
        if self._goal.min_labels > 1 and few.any():
            for changed, sign, value in self._limited_changes(member, np.flatnonzero(few), level):
                parts.append(_Events(changed, np.full(len(changed), sign, np.int64), value))
            kept = ~few[rows]
            rows, ranks, labels, values = rows[kept], ranks[kept], labels[kept], values[kept]
        chosen = ranks + self._num_passing[rows] < self._most  # where no limit binds
        bound = np.flatnonzero(~chosen & (ranks < self._most) & (self._num_passing[rows] > 0))
        if len(bound):
            fits, events = self._displaced(
                rows[bound], ranks[bound], labels[bound], values[bound], rows, ranks, labels, values
            )
            chosen[bound] = fits
            parts.append(events)
        chosen |= (ranks < self._most) & (self._num_passing[rows] == 0)
        if self._goal.min_labels == 1:
            # A row that nothing passes answers with its likeliest label, until the first one of these labels passes.
            first = np.flatnonzero((ranks == 0) & few[rows])
            filled = self._answer[rows[first]].argmax(1)
            chosen[first[filled == labels[first]]] = False
            other = first[filled != labels[first]]
            gone = self._pairs(rows[other], filled[filled != labels[first]])
            parts.append(_Events(gone, np.full(len(gone), -1), values[other]))
        pairs = self._pairs(rows[chosen], labels[chosen])
        parts.append(_Events(pairs, np.ones(len(pairs), np.int64), values[chosen]))
        return _Events(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _entries(
        self, member: np.ndarray, scale: np.ndarray, level: np.floating
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Labels of `member` at or above the level: rows, rank within the row's, label and value, rank after rank."""
        if self._ranked or len(member) == 1:
            rows, ranks = np.nonzero(scale >= level)
            return rows, ranks, member[ranks], scale[rows, ranks]
        if self._goal.max_labels is not None and len(member) > self._most:
            # Once so many have passed as a row may have, further ones change nothing: those before are more likely.
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
            ranks = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]  # rows rise, before and after
            return rows, ranks, member[place[order]], values[order]
        values = np.take_along_axis(scale, places, 1)
        rows, ranks = np.nonzero(values >= level)
        return rows, ranks, member[places[rows, ranks]], values[rows, ranks]

    def _displaced(
        self,
        rows: np.ndarray,
        ranks: np.ndarray,
        labels: np.ndarray,
        values: np.ndarray,
        *entries: np.ndarray,
    ) -> tuple[np.ndarray, _Events]:
        """Under a full row: which of these entries are chosen as they pass, bool (M,), and what others lose by entries.

        Let o_1, o_2, ... be a row's other labels that pass, in order of likelihood, and g_1, g_2, ... its entries. g_j
        is chosen if j and the number of o before it are no more than the limit; o_r falls out as g_(limit - r + 1)
        passes, if that comes before it.
        """
        some, member = np.unique(rows, return_inverse=True)
        row, label = np.divmod(np.flatnonzero(self._passing[some]), self._passing.shape[1])
        probs = self._probs[some[row], label]
        order = falling_order(probs)
        order = order[rising_order(row[order])]
        row, label, probs = row[order], label[order], probs[order]
        counts = np.bincount(row, minlength=len(some))
        place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
        kept = place < self._most
        others = np.full((len(some), self._most), -1.0), np.zeros((len(some), self._most), np.int64)
        others[0][row[kept], place[kept]], others[1][row[kept], place[kept]] = probs[kept], label[kept]
        own = self._probs[rows, labels]
        before = _comes_first(others[0][member], others[1][member], own[:, None], labels[:, None])
        fits = ranks + np.count_nonzero(before, axis=1) < self._most
        # Entries of these rows that push one out: g_j meets o_(limit - j + 1).
        all_rows, all_ranks, all_labels, all_values = entries
        where = np.searchsorted(some, all_rows).clip(max=len(some) - 1)
        mine = np.flatnonzero((some[where] == all_rows) & (all_ranks < self._most))
        where, meets = where[mine], self._most - 1 - all_ranks[mine]
        prob, other = others[0][where, meets], others[1][where, meets]
        entry = self._probs[all_rows[mine], all_labels[mine]]
        out = (prob >= 0) & _comes_first(entry, all_labels[mine], prob, other)
        gone = self._pairs(all_rows[mine][out], other[out])
        return fits, _Events(gone, np.full(len(gone), -1), all_values[mine][out])

    def _pairs(self, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return rows * self._probs.shape[1] + labels

    def _limited_changes(
        self, member: np.ndarray, rows: np.ndarray, lowest: np.floating
    ) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
        """What rows under a limit gain and lose as their labels of `member` pass one by one: pairs, +1 or -1, values.

        Once so many have passed as the limits ask for, further ones change nothing: those before are more likely.
        """
        own = self._scale[np.ix_(rows, member)]
        ranks = np.argsort(-own, axis=1, kind="stable")
        answer, passing = self._answer[rows], self._passing[rows]
        for place in range(min(len(member), max(self._most, self._goal.min_labels))):
            values = np.take_along_axis(own, ranks[:, place : place + 1], 1)[:, 0]
            some = np.flatnonzero(values >= lowest)
            if not len(some):
                return
            passing[some, member[ranks[some, place]]] = True
            after = self._goal.limit(passing[some], self._probs[rows[some]])
            for sign, changed in ((1, after & ~answer[some]), (-1, answer[some] & ~after)):
                row, label = np.nonzero(changed)
                yield rows[some[row]] * self._probs.shape[1] + label, sign, values[some[row]]
            answer[some] = after

    def _change(self, member: np.ndarray, limit: np.ndarray) -> None:
        """Another threshold for these labels; only rows where that changes what passes are answered anew."""
        columns = columns_of(member)
        passes = self._scale[:, columns] >= limit
        before = self._passing[:, columns]
        rows = np.flatnonzero((passes != before).any(1))
        self._num_passing[rows] += np.count_nonzero(passes[rows], axis=1) - np.count_nonzero(before[rows], axis=1)
        self._passing[:, columns] = passes
        for first in range(0, len(rows), CHUNK):
            some = rows[first : first + CHUNK]
            answer = self._answer[some]
            after = self._goal.limit(self._passing[some], self._probs[some])
            flat = np.flatnonzero(after != answer)  # numpy finds places in a flat array several times as fast
            row, label = np.divmod(flat, after.shape[1])
            pairs, added = self._pairs(some[row], label), after.reshape(-1)[flat]
            self._count(pairs[added], 1)
            self._count(pairs[~added], -1)
            self._answer[some] = after

    def _count(self, pairs: np.ndarray, sign: int) -> None:
        """Count these answers in, or out."""
        units = units_of(pairs, self._probs.shape[1], self._goal.average)
        hits = units[self._truth.reshape(-1)[pairs]]
        for total, changed in ((self._counts.hits, hits), (self._counts.chosen, units)):
            total += sign * np.bincount(changed, minlength=len(total))
