"""Each metric on 200 random inputs, including ties and constant columns, against scikit-learn or a plain loop."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    auc,
    average_precision_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    fbeta_score,
    log_loss,
    matthews_corrcoef,
    roc_auc_score,
    roc_curve,
    top_k_accuracy_score,
)

from imettk.errors import UserError
from imettk.metrics import METRICS

ANSWERS = ("balanced_accuracy", "f1_macro", "f1_micro", "f1_samples", "f_beta_macro", "mcc", "quadratic_kappa")
RANGES = {"edges": "0.1, 0.35 0.5 1", "weights": "3 0 1.5"}
CASES = [
    *((name, form, {}) for name in ANSWERS for form in METRICS[name].targets if form != "values"),
    *(("f_beta_macro", form, {"beta": 0.5}) for form in ("labels", "classes")),
    *(
        (name, form, params)
        for name, params in (
            ("roc_auc", {}),
            ("roc_auc_weighted", {}),
            ("roc_auc_weighted", RANGES),
            ("roc_auc_partial", {}),
            ("roc_auc_partial", {"above": 0.35}),
            ("average_precision", {}),
            ("probabilistic_f1", {}),
            ("gap", {}),
            ("log_loss", {}),
            ("log_loss", {"eps": 1e-15}),
        )
        for form in ("labels", "classes")
    ),
    *(("top_k", "classes", {"k": k}) for k in (1, 2)),
]


def test_every_metric_is_held_against_something():
    elsewhere = {"f_beta", "accuracy", "map_at_k", "precision_at_k", "focal_loss"}
    pairs = {(name, form) for name, row in METRICS.items() for form in row.targets if name not in elsewhere}
    beside = ("values", "votes", "questions")  # each in a test of its own name
    pairs = {(name, form) for name, form in pairs if form not in beside}
    assert pairs == {(name, form) for name, form, _ in CASES}


def inputs(form, seed):
    """Return probabilities, answers and truth of a few rows and columns, at times coarse enough for many ties."""
    rng = np.random.default_rng(seed)
    num_rows, num_columns = int(rng.integers(2, 40)), int(rng.integers(1, 6)) + (form == "classes")
    if form == "labels":
        targets = (rng.random((num_rows, num_columns)) < rng.choice([0.0, 0.1, 0.5, 1.0], num_columns)).astype(np.uint8)
        probs = np.clip(0.3 * targets + 0.7 * rng.random(targets.shape), 0, 1)
    else:
        num_columns = max(num_columns, 3 if seed % 2 else 2)
        targets = rng.integers(0, rng.integers(1, num_columns + 1), num_rows)
        probs = rng.dirichlet(np.ones(num_columns), num_rows)
    if seed % 3 == 0:
        probs = np.round(probs * 4) / 4
    probs = probs.astype(np.float32)
    return probs, probs > 0.5 if form == "labels" else probs.argmax(1), targets


def columns_of(probs, targets):
    """Return (probabilities, truth) of each label, or of each class against the rest (of two, only the second)."""
    if targets.ndim == 2:
        return list(zip(probs.T, targets.T, strict=True))
    classes = [1] if probs.shape[1] == 2 else range(probs.shape[1])
    return [(probs[:, label], (targets == label).astype(int)) for label in classes]


def mean_of(score, columns):
    values = [score(truth, probs) for probs, truth in columns]
    return float(np.mean(values)) if values else math.nan


def area_between(truth, probs, low, high):
    """Return the area beside the ROC curve between two true positive rates, cutting the curve there (MLE-bench)."""
    fpr, tpr, _ = roc_curve(truth, probs, drop_intermediate=False)
    points = [(fpr[0], tpr[0])]
    for (left, bottom), (right, top) in itertools.pairwise(zip(fpr, tpr, strict=True)):
        for edge in (low, high):
            if bottom < edge < top:
                points.append((left + (right - left) * (edge - bottom) / (top - bottom), edge))
        points.append((right, top))
    inside = [point for point in points if low <= point[1] <= high]
    return auc([x for x, _ in inside] + [1], [y - low for _, y in inside] + [high - low])


def weighted_auc(truth, probs, edges, weights):
    ends, shares = ([float(number) for number in text.replace(",", "").split()] for text in (edges, weights))
    ranges = list(zip(itertools.pairwise(ends), shares, strict=True))
    whole = sum(weight * (high - low) for (low, high), weight in ranges)
    return sum(weight * area_between(truth, probs, *ends) for ends, weight in ranges) / whole


def partial_auc(truth, probs, above):
    """Return ISIC 2024's score: truth and order are flipped, so that the false positive rate ends at 1 - above."""
    fpr, tpr, _ = roc_curve(1 - truth, -probs)
    stop = np.searchsorted(fpr, 1 - above, "right")
    last = np.interp(1 - above, fpr[stop - 1 : stop + 1], tpr[stop - 1 : stop + 1])
    return auc(np.append(fpr[:stop], 1 - above), np.append(tpr[:stop], last))


def soft_f1(truth, probs):
    """Return RSNA 2022's score by a plain loop over the rows."""
    true = hits = chosen = 0.0
    for is_true, prob in zip(truth, probs.astype(float), strict=True):
        true, hits, chosen = true + is_true, hits + is_true * prob, chosen + prob
    if hits == 0:
        return 0.0
    precision, recall = hits / chosen, hits / true
    return 2 * precision * recall / (precision + recall)


def landmarks(probs, targets):
    """Return Google Landmark Recognition's score by a plain loop over the rows, most confident first.

    Rows of equal confidence count together. A row without a label is answered wrongly; a row whose probabilities are
    all 0 is not answered.
    """
    first = probs.argmax(1)
    known = [row for row, truth in enumerate(targets) if np.any(truth if targets.ndim == 2 else truth >= 0)]
    total = 0.0
    for row, label in enumerate(first):
        right = targets[row, label] == 1 if targets.ndim == 2 else targets[row] == label
        if not right or probs[row, label] == 0:
            continue
        as_sure = [other for other in range(len(probs)) if probs[other].max() >= probs[row].max()]
        hits = [targets[o, first[o]] == 1 if targets.ndim == 2 else targets[o] == first[o] for o in as_sure]
        total += sum(hits) / len(as_sure)
    return total / len(known) if known else math.nan


def f_score(answers, targets, beta, average):
    """Return scikit-learn's F-beta; a single column gets an empty second one, or scikit-learn would see two classes."""
    if targets.ndim == 2 and targets.shape[1] == 1:
        answers, targets = (np.concatenate([part, np.zeros_like(part)], axis=1) for part in (answers, targets))
        return fbeta_score(targets, answers, beta=beta, average=average, zero_division=0) * (1 + (average == "macro"))
    return fbeta_score(targets, answers, beta=beta, average=average, zero_division=0)


def most_likely(probs, targets, k):
    """Return the likeliest classes; among ties scikit-learn takes the later class, but of two classes the first."""
    if probs.shape[1] == 2:
        return accuracy_score(targets, probs[:, 1] >= probs[:, 0])
    return top_k_accuracy_score(targets, probs, k=k, labels=range(probs.shape[1]))


def sure_loss(probs, targets, eps):
    """Return scikit-learn's log loss in float64; for another eps than its own, probabilities are clipped before."""
    probs = np.clip(probs.astype(np.float64), eps, 1 - eps) if eps else probs.astype(np.float64)
    if targets.ndim == 1:
        return log_loss(targets, probs, labels=range(probs.shape[1]))
    return np.mean([log_loss(truth, column, labels=[0, 1]) for column, truth in columns_of(probs, targets)])


def kappa(answers, targets):
    """Return kappa over all classes up to the highest, also absent ones; 0 if both sides are one and the same class."""
    value = cohen_kappa_score(answers, targets, labels=range(7), weights="quadratic")
    return 0.0 if np.isnan(value) else value


def expected_of(name, params, probs, answers, targets):
    """Return the score by scikit-learn or by the grader's formula."""
    columns = [] if probs is None else columns_of(probs, targets)
    both = [(column, truth) for column, truth in columns if 0 < truth.sum() < len(truth)]
    with_true = [(column, truth) for column, truth in columns if truth.any()]
    chosen = [] if answers is None else [(answers, targets)]
    if answers is not None and targets.ndim == 2:
        chosen = list(zip(answers.T, targets.T, strict=True))
    edges = params or METRICS["roc_auc_weighted"].params
    above = params.get("above", 0.8)
    beta = params.get("beta", 2.0)
    return {
        "roc_auc": lambda: mean_of(roc_auc_score, both),
        "roc_auc_weighted": lambda: mean_of(lambda truth, column: weighted_auc(truth, column, **edges), both),
        "roc_auc_partial": lambda: mean_of(lambda truth, column: partial_auc(truth, column, above), both),
        "average_precision": lambda: mean_of(average_precision_score, with_true),
        "probabilistic_f1": lambda: mean_of(soft_f1, with_true),
        "gap": lambda: landmarks(probs, targets),
        "log_loss": lambda: sure_loss(probs, targets, params.get("eps")),
        "balanced_accuracy": lambda: mean_of(balanced_accuracy_score, chosen),
        "mcc": lambda: mean_of(matthews_corrcoef, chosen),
        "quadratic_kappa": lambda: kappa(answers, targets),
        "f1_macro": lambda: f_score(answers, targets, 1.0, "macro"),
        "f1_micro": lambda: f_score(answers, targets, 1.0, "micro"),
        "f1_samples": lambda: f_score(answers, targets, 1.0, "samples"),
        "f_beta_macro": lambda: f_score(answers, targets, beta, "macro"),
        "top_k": lambda: most_likely(probs, targets, params["k"]),
    }[name]()


@pytest.mark.parametrize(("name", "form", "params"), CASES)
@pytest.mark.filterwarnings("ignore")  # of columns with one class alone
def test_a_metric_is_scikit_learns_or_the_graders(name, form, params):
    scorer, undefined = METRICS[name].bound(form, params), 0
    for seed in range(200):
        probs, answers, targets = inputs(form, seed)
        if name == "top_k" and probs.shape[1] <= params["k"]:
            continue
        judged = answers if scorer.needs == "answers" else probs
        expected = expected_of(name, params, probs, answers, targets)
        score = scorer.score(judged, targets)
        assert score == pytest.approx(expected, abs=1e-6, nan_ok=True), seed
        undefined += math.isnan(score)
    assert undefined < 100


def constants(name, form, num_rows):
    """Return tables of probabilities, and of answers, that are the same in all rows, for three labels or classes."""
    if METRICS[name].needs == "probs":
        steps = np.arange(num_rows + 1) / num_rows  # shares of classes are among these
        rows = [[step] * 3 for step in steps] + np.eye(3).tolist()
        if form == "classes":
            rows = [row for row in itertools.product(steps, repeat=3) if sum(row) == pytest.approx(1)]
        return [(np.tile(row, (num_rows, 1)), None) for row in rows]
    answers = itertools.product((False, True), repeat=3) if form == "labels" else range(3)
    return [
        (None, np.tile(answer, (num_rows, 1)) if form == "labels" else np.full(num_rows, answer)) for answer in answers
    ]


# The best constant of a log loss differs from column to column: see `test_metric`.
@pytest.mark.parametrize(("name", "form", "params"), [case for case in CASES if case[0] != "log_loss"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.filterwarnings("ignore")
def test_the_best_constant_answer_is_the_best_of_all(name, form, params, seed):
    rng = np.random.default_rng(seed)
    targets = np.append(np.arange(3), rng.integers(0, 3, 7))
    if form == "labels":
        targets = (rng.random((10, 3)) < [0.3, 0.6, 0.0]).astype(np.uint8)
    scores = [expected_of(name, params, *table, targets) for table in constants(name, form, 10)]
    assert METRICS[name].bound(form, params).best_constant(targets) == pytest.approx(max(scores))


@pytest.mark.parametrize("name", ["roc_auc", "roc_auc_weighted", "roc_auc_partial", "average_precision"])
def test_of_two_classes_the_second_is_the_one_in_question(name):
    probs = np.random.default_rng(0).random(30).astype(np.float32)
    targets = np.arange(30) % 2
    of_classes, of_column = (METRICS[name].bound(form) for form in ("classes", "labels"))
    both, column = np.stack([1 - probs, probs], axis=1), (targets[:, None]).astype(np.uint8)
    assert of_classes.score(both, targets) == of_column.score(probs[:, None], column)
    assert of_classes.best_constant(targets) == of_column.best_constant(column)
    assert METRICS["probabilistic_f1"].bound("classes").best_constant(targets) == pytest.approx(2 / 3)


def test_as_many_answers_as_classes_are_no_question():
    with pytest.raises(UserError) as caught:
        METRICS["top_k"].bound("classes").score(np.full((2, 5), 0.2), np.array([0, 1]))
    assert str(caught.value) == "k of top_k must be below the number of classes, 5, got 5"


def test_rows_without_a_landmark_count_as_wrong_in_either_form():
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]], np.float32)
    classes = np.array([0, -1, 0, 1])
    columns = np.array([[1, 0], [0, 0], [1, 0], [0, 1]], np.uint8)
    expected = (1 + 2 / 3 + 3 / 4) / 3  # in the order .9 right, .8 without one, .7 and .6 right
    for form, targets in (("classes", classes), ("labels", columns)):
        scorer = METRICS["gap"].bound(form)
        assert scorer.score(probs, targets) == pytest.approx(expected) == pytest.approx(landmarks(probs, targets))
        assert scorer.best_constant(targets) == pytest.approx(2 * (2 / 4) / 3)
        assert math.isnan(scorer.score(probs[1:2], targets[1:2]))


@pytest.mark.parametrize("form", ["labels", "classes"])
@pytest.mark.parametrize("params", [{}, {"eps": 1e-15}])
@pytest.mark.filterwarnings("ignore:The y_prob")  # float32 rounds sums too
def test_what_float32_rounds_to_certainty_costs_what_it_costs_there(form, params):
    scorer, rounded = METRICS["log_loss"].bound(form, params), 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        logits = torch.from_numpy(rng.normal(0, 40, (12, int(rng.integers(2, 5)))).astype(np.float32))
        probs = (logits.sigmoid() if form == "labels" else logits.softmax(1)).numpy()
        targets = rng.integers(0, 2, probs.shape) if form == "labels" else rng.integers(0, probs.shape[1], 12)
        expected = sure_loss(probs, targets, params.get("eps"))
        assert scorer.score(probs, targets) == pytest.approx(expected, rel=1e-6), seed
        rounded += np.isin(probs, (0, 1)).any()
    assert rounded == 200
