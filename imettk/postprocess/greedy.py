"""Greedy choice of the members of a soup (Wortsman et al. 2022, arXiv 2203.05482, recipe 1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

MemberNumbers = tuple[int, ...]  # numbers of runs, rising


@dataclass(frozen=True)
class Choice:
    """MemberNumbers that were chosen, and the scores that chose them.

    Attributes:
        members: the chosen ones.
        best: the one that is best by itself, with which the choice begins.
        alone: score of each member by itself, (M,).
        tried: each member that was added for a trial, in order, with the score of the soup that has it.
    """

    members: MemberNumbers
    best: int
    alone: tuple[float, ...]
    tried: tuple[tuple[int, float], ...]


def choose_greedily(num_members: int, score_of: Callable[[MemberNumbers], float], *, higher: bool) -> Choice:
    """Begin with the best member, try the others from the best to the worst, and keep those that gain.

    Args:
        score_of: the score of a soup of these members.
        higher: whether a higher score is better.
    """

    def value_of(score: float) -> float:
        return -math.inf if math.isnan(score) else score if higher else -score

    alone = tuple(score_of((member,)) for member in range(num_members))
    first, *others = sorted(range(num_members), key=lambda member: -value_of(alone[member]))  # ties: in order
    members: MemberNumbers = (first,)
    best, tried = alone[first], []
    for member in others:
        candidate = tuple(sorted((*members, member)))
        score = score_of(candidate)
        tried.append((member, score))
        if value_of(score) > value_of(best):
            members, best = candidate, score
    return Choice(members, first, alone, tuple(tried))
