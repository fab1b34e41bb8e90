"""The rule for numbers: clipped, rounded if whole, in the columns of the submission; its JSON."""

import json

import numpy as np
import pytest

from imettk.config import RuleConfig
from imettk.errors import ConfigError, MismatchError
from imettk.metrics import METRICS
from imettk.postprocess.fitters import FitContext
from imettk.postprocess.values import NumberValues, Values, read_sums
from imettk.tasks import TASKS

TASK = TASKS["regression"]
TARGETS = np.float32([[1, 10], [4, 30], [2, 20]])


def fitter_of(columns=(), **plan):
    scorer = METRICS["rmse"].bound("values")
    return NumberValues(
        FitContext(RuleConfig(kind="value", **plan), columns=columns, labels=("a", "b"), task=TASK, scorer=scorer)
    )


def test_answers_stay_in_the_range_that_rows_have():
    rule = fitter_of().fit(TARGETS, TARGETS)
    probs = np.float32([[0.2, 31], [2.6, 15.5]])
    assert rule.apply(probs).tolist() == [[1, 30], [np.float32(2.6), 15.5]]
    assert fitter_of(whole=True).fit(TARGETS, TARGETS).apply(probs).tolist() == [[1, 30], [3, 16]]
    again = Values.from_json(json.loads(json.dumps(rule.to_json())))
    assert again == rule and (again.apply(probs) == rule.apply(probs)).all()


def test_a_target_may_be_answered_with_the_sum_of_others():
    """Each part is clipped to its own range, and then the sum to that of its target."""
    labels = ("total", "a", "b")
    scorer = METRICS["rmse"].bound("values")
    context = FitContext(
        RuleConfig(kind="value", sums=("total = b + a",)), columns=(), labels=labels, task=TASK, scorer=scorer
    )
    rng = np.random.default_rng(0)
    parts = rng.uniform(0, 9, (20, 2)).astype(np.float32)
    targets = np.column_stack([parts.sum(1), parts])
    rule = NumberValues(context).fit(targets, targets)
    probs = rng.normal(5, 6, (50, 3)).astype(np.float32)
    low, high = targets.min(0), targets.max(0)
    for row, answer in zip(probs, rule.apply(probs), strict=True):
        a, b = (min(max(float(row[at]), float(low[at])), float(high[at])) for at in (1, 2))
        assert answer == pytest.approx([min(max(a + b, float(low[0])), float(high[0])), a, b], rel=1e-6)
    again = Values.from_json(json.loads(json.dumps(rule.to_json())))
    assert again == rule and (again.apply(probs) == rule.apply(probs)).all()


@pytest.mark.parametrize(
    "text", ["a", "a = b", "a = a + b", "c = a + b", "a = b + c", "a = b + b", "a=b+b", ("a = b + c", "b = a + c")]
)
def test_sums_that_are_none_are_refused(text):
    labels = ("a", "b") if isinstance(text, str) else ("a", "b", "c")
    with pytest.raises(ConfigError, match=r"`rule.sums`"):
        read_sums([text] if isinstance(text, str) else text, labels)


def test_columns_of_the_submission_may_stand_in_another_order():
    fitter = fitter_of(columns=("b", "a"))
    rule = fitter.fit(TARGETS, TARGETS)
    cells = rule.cells(rule.apply(TARGETS), ("a", "b"), TASK)
    assert cells == [["10", "1"], ["30", "4"], ["20", "2"]]
    assert (fitter.read_cells(cells) == TARGETS).all()
    assert rule.known_cells([["7", "8.25"]], ("a", "b"), TASK) == [["8.25", "7"]]
    with pytest.raises(ConfigError, match="b, c must be the targets a, b, each once"):
        fitter_of(columns=("b", "c"))


def test_the_metric_judges_what_is_answered():
    fitter = fitter_of()
    rule = fitter.fit(TARGETS, TARGETS)
    probs = TARGETS + np.float32([[0, 0], [9, 0], [0, 0]])
    assert fitter.judges_answers
    assert fitter.scorer.score(*fitter.judged(rule.apply(probs), probs, TARGETS)) == 0


@pytest.mark.parametrize(
    "content",
    [{"low": [2, 1], "high": [1, 3]}, {"low": [1], "high": [1, 2]}, {"whole": 3}, {"sums": [[2], []]}, {"sums": 1}],
)
def test_what_is_no_rule_is_refused(content):
    with pytest.raises(MismatchError, match="holds invalid values"):
        Values.from_json({"kind": "value", "low": [0, 0], "high": [1, 1]} | content)


def test_no_answer_is_surer_than_another():
    rule = fitter_of().fit(TARGETS, TARGETS)
    with pytest.raises(ConfigError, match="the rule value has no confidence"):
        rule.confidence(TARGETS)
    with pytest.raises(MismatchError, match="for 2 targets, the predictions have 3"):
        rule.apply(np.zeros((1, 3), np.float32))
