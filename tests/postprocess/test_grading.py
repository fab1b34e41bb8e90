"""Grades from expected grades: numbers, cuts, intervals of cuts, refused labels."""

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score

from imettk.config import RuleConfig
from imettk.errors import ConfigError, MismatchError
from imettk.metrics import METRICS
from imettk.postprocess.fitters import FitContext
from imettk.postprocess.grading import Cutpoints, GradeCuts
from imettk.postprocess.honest import draw_rows
from imettk.tasks import TASKS

LABELS = ("0", "1", "2", "4")


def fitter_of(metric="quadratic_kappa", labels=LABELS):
    scorer = METRICS[metric].bound("classes")
    return GradeCuts(FitContext(RuleConfig(kind="cutpoints"), labels=labels, task=TASKS["multiclass"], scorer=scorer))


def made(num_rows=400, seed=0):
    """Return probabilities that depend on the grade, biased to the lowest."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(4, num_rows, p=[0.6, 0.15, 0.15, 0.1])
    logits = -0.8 * np.abs(np.arange(4) - targets[:, None]) + rng.normal(0, 0.7, (num_rows, 4)) + [1.5, 0, 0, 0]
    probs = np.exp(logits)
    return (probs / probs.sum(1, keepdims=True)).astype(np.float32), targets


def test_the_expectation_of_the_grade_is_cut_better_than_the_likeliest_class_is_right():
    probs, targets = made()
    rule = fitter_of().fit(probs, targets)
    assert rule.numbers(probs) == pytest.approx(
        [sum(p * g for p, g in zip(row, (0, 1, 2, 4), strict=True)) for row in probs], abs=1e-6
    )
    kappas = [
        cohen_kappa_score(answers, targets, weights="quadratic") for answers in (rule.apply(probs), probs.argmax(1))
    ]
    assert kappas[0] > kappas[1] + 0.05
    by_accuracy = fitter_of("accuracy").fit(probs, targets)
    assert accuracy_score(targets, by_accuracy.apply(probs)) >= accuracy_score(targets, rule.apply(probs))


def test_intervals_are_those_of_cuts_fitted_to_bootstrap_samples():
    probs, targets = made()
    fitter = fitter_of()
    rule = fitter.fit(probs, targets)
    groups = np.arange(len(probs)) // 4
    bare = fitter.tell(rule, rule.apply(probs), probs, targets)
    assert bare.endswith(f"4 from {rule.cuts[-1]:.3f}")
    columns = fitter.describe(rule, probs, targets, groups)
    fits = [fitter.fit(probs[rows], targets[rows]).cuts for rows in draw_rows(len(probs), groups, 40)]
    assert columns["cutpoint"].tolist() == [-np.inf, *rule.cuts]
    assert columns["cutpoint_low"][1:] == pytest.approx(np.quantile(fits, 0.025, axis=0))
    line = fitter.tell(rule, rule.apply(probs), probs, targets)
    assert line.startswith(f"cut-points of 0 to 4: 1 from {rule.cuts[0]:.3f} (")


def test_its_json_holds_all_of_it_and_what_is_none_is_refused():
    probs, targets = made(50)
    rule = fitter_of().fit(probs, targets)
    again = Cutpoints.from_json(json.loads(json.dumps(rule.to_json())))
    assert again == rule
    with pytest.raises(MismatchError, match="holds invalid values"):
        Cutpoints.from_json(rule.to_json() | {"cuts": [2, 1, 3]})
    with pytest.raises(MismatchError, match="for 4 outputs, the predictions have 3"):
        rule.apply(probs[:, :3])


@pytest.mark.parametrize("labels", [("mild", "severe"), ("1", "10", "2"), ("1", "1.0")])
def test_labels_that_are_no_rising_numbers_are_refused(labels):
    with pytest.raises(ConfigError, match="numbers in rising order, but the labels are"):
        fitter_of("accuracy", labels=labels)
    with pytest.raises(ConfigError, match="numbers"):
        fitter_of(labels=labels)


def numbers_fitter(labels=("grade",)):
    scorer = METRICS["quadratic_kappa"].bound("values")
    return GradeCuts(FitContext(RuleConfig(kind="cutpoints"), labels=labels, task=TASKS["regression"], scorer=scorer))


def test_a_predicted_number_is_answered_with_a_grade():
    """The grades are the distinct numbers of the rows; an expected grade of the same value gets the same cuts."""
    probs, places = made()
    grades = np.float32([0, 1, 2, 4])
    numbers, targets = (probs.astype(np.float64) @ grades)[:, None].astype(np.float32), grades[places][:, None]
    fitter = numbers_fitter()
    rule = fitter.fit(numbers, targets)
    answers = rule.apply(numbers)
    assert rule.grades == (0, 1, 2, 4) and answers.dtype == np.float32 and answers.shape == (400, 1)
    by_classes = fitter_of().fit(probs, places)
    assert rule.cuts == pytest.approx(by_classes.cuts, abs=1e-6)
    kappa = fitter.scorer.score(*fitter.judged(answers, numbers, targets))
    expected = cohen_kappa_score(
        answers[:, 0].astype(int), targets[:, 0].astype(int), labels=range(5), weights="quadratic"
    )
    assert kappa == pytest.approx(expected, abs=1e-9)
    assert rule.cells(answers[:1], ("grade",), TASKS["regression"]) == [[f"{answers[0, 0]:g}"]]
    columns = fitter.describe(rule, numbers, targets, None)
    assert [float(cut) for cut in columns["cutpoint"][0].split()] == pytest.approx(rule.cuts, rel=1e-4)
    assert Cutpoints.from_json(json.loads(json.dumps(rule.to_json()))) == rule


def test_numbers_that_are_no_grades_are_refused():
    with pytest.raises(ConfigError, match="takes one number a row, and there are a, b"):
        numbers_fitter(("a", "b"))
    many = np.arange(300, dtype=np.float32)[:, None]
    with pytest.raises(ConfigError, match="at most 200 grades, and there are 300"):
        numbers_fitter().fit(many, many)


def test_a_row_is_sure_far_from_every_cut():
    rule = Cutpoints(weights=(0.0, 1.0), cuts=(0.4,))
    probs = np.float32([[0.6, 0.4], [0.1, 0.9], [1, 0]])
    sure = rule.confidence(probs)
    assert sure[0] == pytest.approx(0.5, abs=1e-6) and sure[1] > sure[2] > sure[0]
