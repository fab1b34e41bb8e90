"""Honest scores of out-of-fold predictions in memory, over all folds or some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from imettk.config import Recipe
from imettk.evaluation.paired import Judged
from imettk.evaluation.rules import fitter_of
from imettk.evaluation.scoring import answer_honestly
from imettk.evaluation.units import Units
from imettk.experiment.prepared import Prepared
from imettk.metrics import Scorer


@dataclass(frozen=True)
class JudgedFolds:
    """Rows of some folds, as their metric judges them.

    Attributes:
        folds: of each row, int64 (N,).
    """

    rows: Judged
    folds: np.ndarray


class OofJudge:
    """Judge of a run's out-of-fold predictions by its rule, fitted on the other folds."""

    def __init__(self, recipe: Recipe, prepared: Prepared) -> None:
        self._recipe, self._prepared = recipe, prepared
        table = prepared.table
        self._fitter = fitter_of(recipe, table.label_groups, prepared.given_shares, labels=table.labels)

    @property
    def scorer(self) -> Scorer:
        """The recipe's metric."""
        return self._fitter.scorer

    def judge(self, parts: Mapping[int, np.ndarray]) -> JudgedFolds:
        """Return what the metric judges of each row (or unit) of these folds.

        Args:
            parts: predictions of each fold's rows, float32 (M, O); with a single fold, the rule is fitted on the rows
                that it answers.
        """
        prepared = self._prepared
        rows = np.concatenate([prepared.rows(fold, valid=True) for fold in parts])
        order = np.argsort(rows, kind="stable")
        rows, probs = rows[order], np.concatenate(list(parts.values()))[order]
        units = Units(self._recipe, prepared.table.take(rows))
        table, folds = units.table, units.folds(prepared.folds[rows])
        pooled = units.choose(self._fitter, probs, folds)
        answers, probs, _ = answer_honestly(self._fitter, pooled.probs, table.targets, folds, by_fold=pooled.by_fold)
        outputs, targets = self._fitter.judged(answers, probs, table.targets)
        return JudgedFolds(Judged(table.ids, outputs, targets, table.groups, table.labels), folds)

    def score(self, judged: JudgedFolds) -> float:
        """Return the score of all rows together."""
        return self.scorer.score(judged.rows.outputs, judged.rows.targets)
