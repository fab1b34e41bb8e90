"""Choice of a soup's members by out-of-fold scores, and an honest judgement of what the soup gains.

One choice is made for all folds, on all their rows together: a fold has a third or a fifth of the rows, and a choice
for each would follow their noise. The score that made the choice flatters it. So the gain is that of choices made
without the rows that they are judged on: each fold is answered by the soup that the other folds choose. The best member
that it is compared with is chosen on all rows, which favours the member.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from imettk.evaluation.oof_judge import JudgedFolds, OofJudge
from imettk.evaluation.paired import compare_judged
from imettk.metrics.paired import PairedScores
from imettk.postprocess.greedy import Choice, MemberNumbers, choose_greedily

Predict = Callable[
    [MemberNumbers, int], np.ndarray
]  # the soup of these members, a fold -> predictions of its rows, (M, O)


@dataclass(frozen=True)
class Soup:
    """A choice of members, and its comparison with the best of them.

    Attributes:
        choice: on all folds.
        by_fold: the members that the other folds choose, by fold; empty with a single fold.
        compared: the best member (first) and the soup (second) on the same rows; None if the best stays alone.
    """

    choice: Choice
    by_fold: dict[int, MemberNumbers]
    compared: PairedScores | None

    @property
    def gains(self) -> bool:
        """True if the soup is better than its best member."""
        if self.compared is None:
            return False
        return self.compared.difference > 0 if self.compared.higher else self.compared.difference < 0


def choose_soup(judge: OofJudge, predict: Predict, names: Sequence[str], folds: Sequence[int]) -> Soup:
    """Choose the members of a soup greedily, and judge the choice by choices that have not seen the rows.

    Args:
        names: of the runs, (M,).
        folds: those that all of them have trained.
    """
    scores: dict[tuple[MemberNumbers, tuple[int, ...]], float] = {}

    def judged(members: MemberNumbers, chosen: Sequence[int]) -> JudgedFolds:
        return judge.judge({fold: predict(members, fold) for fold in chosen})

    def choose(chosen: tuple[int, ...]) -> Choice:
        def score_of(members: MemberNumbers) -> float:
            if (members, chosen) not in scores:
                scores[members, chosen] = judge.score(judged(members, chosen))
            return scores[members, chosen]

        return choose_greedily(len(names), score_of, higher=judge.scorer.higher)

    choice = choose(tuple(folds))
    if len(choice.members) == 1:
        return Soup(choice, {}, None)
    others = {fold: tuple(other for other in folds if other != fold) for fold in folds} if len(folds) > 1 else {}
    by_fold = {fold: choose(chosen).members for fold, chosen in others.items()}
    best, soup = judged((choice.best,), folds), judged(choice.members, folds)
    honest = soup.rows.outputs.copy()
    for members in sorted(set(by_fold.values()) - {choice.members}):
        outputs = judged(members, folds).rows.outputs
        rows = np.isin(soup.folds, [fold for fold, chosen in by_fold.items() if chosen == members])
        honest[rows] = outputs[rows]
    compared = compare_judged(
        judge.scorer, best.rows, replace(soup.rows, outputs=honest), names=(names[choice.best], "the soup")
    )
    return Soup(choice, by_fold, compared)
