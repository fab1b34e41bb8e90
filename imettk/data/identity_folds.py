"""Folds for tables of identities, thousands of them with a few images each: functions of (identities, plan), seeded.

A unit is an image, or a group of images that stay together; its identity is a class index, or `UNKNOWN`, or `MIXED`
where a group has several.
"""

from __future__ import annotations

import numpy as np

from imettk.config import FoldConfig
from imettk.errors import DataError

UNKNOWN, MIXED = -1, -2


def identities_of_units(targets: np.ndarray, member: np.ndarray, num_units: int) -> np.ndarray:
    """What each unit shows, int64 (U,); `MIXED` too for one without a row.

    Args:
        targets: int64 (N,), `UNKNOWN` where it is of no known identity.
        member: the unit of each row, int64 (N,).
    """
    lowest = np.full(num_units, np.iinfo(np.int64).max)
    highest = np.full(num_units, np.iinfo(np.int64).min)
    np.minimum.at(lowest, member, targets)
    np.maximum.at(highest, member, targets)
    return np.where(lowest == highest, lowest, MIXED)


def deal_evenly(identities: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """Deal units in turn, so that folds differ by one unit at most, of each identity and in all; int64 (U,)."""
    rng = np.random.default_rng(seed)
    order = _in_turn(identities, rng)
    folds = np.empty(len(identities), np.int64)
    folds[order] = rng.permutation(num_folds)[np.arange(len(order)) % num_folds]
    return folds


def hold_out(identities: np.ndarray, plan: FoldConfig) -> np.ndarray:
    """The fold in which each unit validates, int64 (U,), -1 for none.

    Each fold holds out one unit, or `hold_out_share` of them, of every identity with `hold_out_from` units or more: no
    unit twice, so an identity with fewer units than folds is missing from some of them. Which ones goes round, so that
    folds become even. Unknown units are dealt to all folds; mixed ones only train.
    """
    folds = np.full(len(identities), -1, np.int64)
    unknown = identities == UNKNOWN
    folds[unknown] = deal_evenly(identities[unknown], plan.num_folds, plan.seed)
    known = np.flatnonzero(identities >= 0)
    if not len(known):
        return folds
    member = np.unique(identities[known], return_inverse=True)[1]
    counts = np.bincount(member)
    share = plan.hold_out_share
    # A share such as 0.29 of 100 is a little less than 29 in floating point.
    each = np.ones_like(counts) if share is None else np.floor(counts * share + 1e-9).astype(np.int64)
    each[counts < plan.hold_out_from] = 0
    times = np.where(each > 0, np.minimum(plan.num_folds, counts // np.maximum(each, 1)), 0)

    rng = np.random.default_rng(plan.seed)
    # Those that are held out in equal numbers stand together, the largest first, and the folds are taken in turn.
    line = np.lexsort((rng.permutation(len(counts)), -each))
    first = np.empty_like(counts)
    first[line] = np.cumsum(times[line]) - times[line]
    order = np.lexsort((rng.permutation(len(known)), member))
    place = np.empty(len(known), np.int64)
    place[order] = np.arange(len(known)) - np.repeat(np.cumsum(counts) - counts, counts)
    turn = place // np.maximum(each, 1)[member]
    chosen = turn < times[member]
    names = rng.permutation(plan.num_folds)
    folds[known[chosen]] = names[(first[member] + turn)[chosen] % plan.num_folds]
    return folds


def unknown_folds(identities: np.ndarray, plan: FoldConfig, *, eligible: np.ndarray) -> np.ndarray:
    """The fold that holds out each whole identity as an unknown one, int64 (C,), -1 for none.

    Each fold takes `unknown_identities` of them, rounded, but one at least, and none that another fold takes.

    Args:
        identities: those that there are, int64 (any number,).
        eligible: which of C class indices may be taken, bool (C,).

    Raises:
        DataError: there are too few.
    """
    folds = np.full(len(eligible), -1, np.int64)
    if not plan.unknown_identities:
        return folds
    num_identities = len(np.unique(identities[identities >= 0]))
    # With a share of 1 / num_folds, rounding up would ask for more than there are.
    each = max(1, min(round(plan.unknown_identities * num_identities), num_identities // plan.num_folds))
    candidates = np.flatnonzero(eligible)
    if len(candidates) < each * plan.num_folds:
        raise DataError(
            f"{plan.num_folds} folds cannot hold out {each} identities each as unknown ones: {len(candidates)} can be; "
            "set --folds.unknown-identities lower"
        )
    chosen = np.random.default_rng(plan.seed).permutation(candidates)[: each * plan.num_folds]
    folds[chosen] = np.arange(len(chosen)) % plan.num_folds
    return folds


def _in_turn(identities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Units of an identity behind each other, and identities too, in random order, int64 (U,)."""
    names, member = np.unique(identities, return_inverse=True)
    return np.lexsort((rng.permutation(len(member)), rng.permutation(len(names))[member]))
