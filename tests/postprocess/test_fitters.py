"""A user's own rules and fitters, and the numbers that kappa compares."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from imettk.config import RuleConfig
from imettk.errors import ConfigError
from imettk.metrics import METRICS
from imettk.postprocess.fitters import FitContext, LikeliestClass, RuleFitter, make_fitter, rule_class
from imettk.postprocess.rule import Rule
from imettk.tasks import TASKS


def table():
    """Return random probabilities, random targets and folds of 60 rows."""
    rng = np.random.default_rng(0)
    return rng.random((60, 4), np.float32), rng.integers(0, 2, (60, 4)).astype(np.uint8), np.arange(60) % 3


@dataclass(frozen=True)
class AboveMean(Rule):
    """A user's own: labels above a mean of all probabilities, times the recipe's beta."""

    kind: ClassVar[str] = "above_mean"
    limit: float = 0.0

    @classmethod
    def fit(cls, probs, targets, context):
        return cls(limit=float(probs.mean()) * context.plan.beta)

    def apply(self, probs):
        return probs > self.limit


class LastRow(RuleFitter):
    """A user's own fitter."""

    rule = AboveMean

    def fit(self, probs, targets, folds=None):
        return AboveMean(limit=float(probs[-1].max()))


def test_a_users_own_rule_is_fitted_by_its_class_method():
    probs, targets, folds = table()
    fitter = make_fitter(AboveMean, FitContext(RuleConfig(beta=0.5)))
    rule = fitter.fit(probs, targets, folds)
    assert rule.limit == pytest.approx(probs.mean() / 2) and fitter.learns
    rows = np.array([3, 3, 7])
    assert fitter.on(probs, targets, folds)(rows).limit == pytest.approx(probs[rows].mean() / 2)
    assert fitter.fit_quickly(probs, targets) == rule and fitter.goal is None
    assert fitter.describe(rule, probs, targets, None) == {} and fitter.trace(rule, probs, targets, folds) is None
    assert fitter.shake_up(rule, probs, targets, lambda answers: 0.0) is None
    assert rule_class(AboveMean) is AboveMean and AboveMean.from_json(rule.to_json()) == rule


def test_a_users_own_fitter_is_taken_as_it_is():
    fitter = make_fitter(LastRow, FitContext(RuleConfig()))
    assert isinstance(fitter, LastRow) and rule_class(LastRow) is AboveMean
    probs, targets, _ = table()
    assert fitter.on(probs, targets)(np.array([5, 2])).limit == probs[2].max()


def test_kappa_judges_the_numbers_that_labels_are_in_whatever_order():
    labels = ("0", "1", "10", "2")  # as text is sorted
    scorer, numbers = METRICS["quadratic_kappa"].bound("classes"), np.array([0, 1, 10, 2])
    context = FitContext(RuleConfig(kind="argmax"), labels=labels, task=TASKS["multiclass"], scorer=scorer)
    fitter, (probs, targets, _) = LikeliestClass(context), table()
    truth, answers = targets.argmax(1), probs.argmax(1)
    expected = kappa_by_hand(numbers[answers], numbers[truth])
    assert scorer.score(*fitter.judged(answers, probs, truth)) == pytest.approx(expected)
    assert expected != pytest.approx(cohen_kappa_score(answers, truth, weights="quadratic"))
    line = "measures distances between grades, so labels must be numbers, got 0, high: replace them by numbers"
    with pytest.raises(ConfigError, match=line):
        LikeliestClass(replace(context, labels=("0", "high")))


def kappa_by_hand(answers, truth):
    """Return 1 - mean squared distance of pairs / that of all combinations of an answer and a truth (Cohen 1968)."""
    observed = np.mean((answers - truth) ** 2)
    return 1 - observed / np.mean([(answer - grade) ** 2 for answer in answers for grade in truth])
