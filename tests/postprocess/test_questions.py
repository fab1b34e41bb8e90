"""The likeliest class of each question, in the columns of the sample submission."""

import numpy as np
import pytest

from imettk.config import RuleConfig
from imettk.errors import ConfigError, MismatchError
from imettk.metrics import METRICS
from imettk.postprocess.fitters import FitContext
from imettk.postprocess.questions import LikeliestClasses, LikeliestEach
from imettk.tasks import TASKS

LABELS = ("a=x", "a=y", "a=z", "b=0", "b=1")
PROBS = np.array([[0.2, 0.5, 0.3, 0.4, 0.6], [0.4, 0.4, 0.2, 0.9, 0.1]], np.float32)


def fitter(columns=()):
    scorer = METRICS["macro_recall"].bound("questions")
    context = FitContext(
        RuleConfig(kind="argmax_each"),
        ("a", "a", "a", "b", "b"),
        task=TASKS["questions"],
        columns=columns,
        labels=LABELS,
        scorer=scorer,
    )
    return LikeliestClasses(context)


def test_each_question_has_one_answer_the_first_of_equal_ones():
    rule = fitter().fit(PROBS, np.zeros((2, 5), np.uint8))
    assert rule.apply(PROBS).astype(int).tolist() == [[0, 1, 0, 0, 1], [1, 0, 0, 1, 0]]
    assert rule.confidence(PROBS) == pytest.approx([0.5, 0.4])


@pytest.mark.parametrize(("columns", "cells"), [((), [["y", "1"], ["x", "0"]]), (("b", "a"), [["1", "y"], ["0", "x"]])])
def test_cells_are_classes_in_the_order_of_columns_and_can_be_read_back(columns, cells):
    rule_fitter = fitter(columns)
    rule = rule_fitter.fit(PROBS, np.zeros((2, 5), np.uint8))
    answers = rule.apply(PROBS)
    assert rule.cells(answers, LABELS, TASKS["questions"]) == cells
    assert rule.known_cells([["a=y", "b=1"], ["a=x", "b=0"]], LABELS, TASKS["questions"]) == cells
    assert (rule_fitter.read_cells(cells) == answers).all()
    assert LikeliestEach.from_json(rule.to_json()) == rule


def test_what_is_no_rule_for_these_labels_is_refused():
    with pytest.raises(ConfigError, match="b, c must be the questions a, b, each once"):
        fitter(("b", "c"))
    with pytest.raises(MismatchError, match="is for 5 labels, the predictions have 4"):
        fitter().fit(PROBS, PROBS).apply(PROBS[:, :4])
    with pytest.raises(MismatchError, match="holds invalid values"):
        LikeliestEach.from_json({"kind": "argmax_each", "questions": ["a"], "sizes": [0]})


def test_parts_score_for_themselves():
    truth = np.array([[0, 1, 0, 1, 0], [1, 0, 0, 1, 0]], np.uint8)
    answers = fitter().fit(PROBS, truth).apply(PROBS)
    assert fitter().part_scores(answers, truth) == {
        "a": {"accuracy": 1, "macro recall": 1},
        "b": {"accuracy": 0.5, "macro recall": 0.25},  # a class that is answered and never true has recall 0
    }
