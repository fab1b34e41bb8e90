"""A recipe's judge is that of its rule's row; what a judge need not say."""

import numpy as np
import pytest

from imettk.config import RankConfig, Recipe, RuleConfig, TableFormat, TrainConfig
from imettk.config.choices import RuleChoice
from imettk.config.own import register_source
from imettk.errors import MissingFileError
from imettk.evaluation.by_ranking import RankingJudge
from imettk.evaluation.by_rule import RuleJudge
from imettk.evaluation.judge import Judge, judge_of
from imettk.postprocess.rule import Rule
from imettk.tracking.run_dir import RunDir

FILE = "e" * 64
CLASSES, LOSS = TableFormat(task="multiclass"), TrainConfig(loss="cross_entropy")
RANKS = Recipe(table=CLASSES, train=LOSS, rule=RuleConfig(kind="rank"), ranking=RankConfig(by="probs", num_answers=3))


class OwnJudge(RuleJudge):
    """A user's own."""


def recipe_of(kind):
    return Recipe(table=CLASSES, train=LOSS, rule=RuleConfig(kind=kind), source_sha256=FILE)


def test_a_rule_is_judged_by_its_rows_judge():
    row = RuleChoice(make=None, targets=("classes",), metric="accuracy", gives=("answers",), judge=OwnJudge)
    register_source(FILE, {"judged": row, "plain": Rule})
    judges = [
        (Recipe(), RuleJudge),
        (recipe_of("argmax"), RuleJudge),
        (recipe_of("recipe:plain"), RuleJudge),
        (recipe_of("recipe:judged"), OwnJudge),
        (RANKS, RankingJudge),
    ]
    for recipe, kind in judges:
        judge = judge_of(recipe)
        assert type(judge) is kind and isinstance(judge, Judge) and judge.recipe is recipe


def test_only_ranked_answers_have_an_order_and_a_number():
    assert judge_of(Recipe()).num_answers is None and judge_of(RANKS).num_answers == 3


def test_only_neighbours_need_a_gallery_while_a_network_trains():
    rows = judge_of(Recipe()).gallery(None, 0)
    assert rows.dtype == np.int64 and not len(rows)


def test_a_fitted_rule_is_asked_for_before_anything_is_predicted(tmp_path):
    with pytest.raises(MissingFileError, match=r"rule\.json is not in .*: run `imettk validate` first"):
        judge_of(Recipe()).require_validated(RunDir(tmp_path))
    judge_of(RANKS).require_validated(RunDir(tmp_path))
    (tmp_path / "rule.json").write_text("{}")
    judge_of(Recipe()).require_validated(RunDir(tmp_path))
