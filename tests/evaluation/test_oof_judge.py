"""Scores of predictions in memory are those that `validate` gives the same predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ensemble_members import GROUPS, LABELS, ROWS, recipe_of, truth

from imettk.config import PredictConfig
from imettk.data.sample_table import LabelledTable
from imettk.errors import ConfigError
from imettk.evaluation.judge import judge_of
from imettk.evaluation.oof_judge import OofJudge
from imettk.evaluation.rules import fitter_of
from imettk.evaluation.scoring import honest_scores
from imettk.experiment.prepared import Prepared
from imettk.recipes import load_recipe


def make_prepared() -> tuple[Prepared, np.ndarray]:
    ids = np.array([f"r{row}" for row in range(ROWS)])
    table = LabelledTable(ids, ids, LABELS, GROUPS, targets=truth())
    folds = np.random.default_rng(1).permutation(np.arange(ROWS) % 3)
    recipe = recipe_of()
    probs = np.random.default_rng(2).random((ROWS, len(LABELS))).astype(np.float32)
    return Prepared(table, folds, None, np.zeros(ROWS, bool), recipe.task), probs


@pytest.mark.parametrize("chosen", [(0, 1, 2), (2, 0), (1,)])
def test_scores_are_those_of_validate(chosen):
    prepared, probs = make_prepared()
    judge = judge_of(recipe_of()).oof_judge(prepared)
    judged = judge.judge({fold: probs[prepared.rows(fold, valid=True)] for fold in chosen})
    rows = np.flatnonzero(np.isin(prepared.folds, chosen))
    fitter = fitter_of(recipe_of(), GROUPS, labels=LABELS)
    expected, answers = honest_scores(recipe_of(), fitter, probs[rows], truth()[rows], prepared.folds[rows])
    assert judge.score(judged) == expected["oof"]
    np.testing.assert_array_equal(judged.rows.outputs, answers)
    np.testing.assert_array_equal(judged.rows.ids, prepared.table.ids[rows])
    np.testing.assert_array_equal(judged.folds, prepared.folds[rows])


def test_rankings_have_no_such_judge():
    recipe = replace(load_recipe("humpback2018"), predict=PredictConfig())
    with pytest.raises(ConfigError, match="this recipe ranks identities: use `imettk ensemble`"):
        judge_of(recipe).oof_judge(make_prepared()[0])
    assert isinstance(judge_of(recipe_of()).oof_judge(make_prepared()[0]), OofJudge)
