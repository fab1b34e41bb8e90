"""Fitted thresholds are the exact optimum of all there are; rules survive their JSON."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import fbeta_score

from imettk.postprocess.thresholds import Rule, fit_thresholds

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def make(seed, *, num_samples=12, num_classes=4, decimals=2, dtype=np.float32):
    """Probabilities (few decimals give ties) and targets that they partly explain."""
    rng = np.random.default_rng(seed)
    probs = rng.random((num_samples, num_classes))
    targets = (probs + rng.normal(0, 0.4, probs.shape) > 0.7).astype(np.uint8)
    targets[:2] = 0
    return np.round(probs, decimals).astype(dtype), targets


def score_of(chosen, targets, beta):
    """The mean F-beta by a plain loop."""
    total = 0.0
    for row_chosen, row_targets in zip(chosen.tolist(), targets.tolist(), strict=True):
        hits = sum(bool(a) and bool(b) for a, b in zip(row_chosen, row_targets, strict=True))
        below = sum(map(bool, row_chosen)) + beta**2 * sum(row_targets)
        total += (1 + beta**2) * hits / below if below else 0.0
    return total / len(targets)


def candidates(probs):
    """One threshold for each different answer: every probability, and none at all."""
    return [*np.unique(probs), np.asarray(2.0, probs.dtype)]


def score_of_rule(rule, probs, targets, beta):
    return score_of(rule.apply(probs), targets, beta)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("decimals", [1, 2, 7])
@pytest.mark.parametrize("seed", range(6))
def test_one_threshold_is_the_best_of_all(seed, decimals, beta):
    probs, targets = make(seed, decimals=decimals)
    rule = fit_thresholds(probs, targets, beta=beta, fill_empty=False)
    assert len(set(rule.thresholds)) == 1 and len(rule.thresholds) == 4
    best = max(score_of(probs >= threshold, targets, beta) for threshold in candidates(probs))
    assert score_of_rule(rule, probs, targets, beta) == pytest.approx(best, abs=1e-12)


def test_the_plain_loop_is_scikit_learn():
    probs, targets = make(0)
    expected = fbeta_score(targets, probs >= 0.5, beta=2.0, average="samples", zero_division=0)
    assert score_of(probs >= 0.5, targets, 2.0) == pytest.approx(expected)


@pytest.mark.parametrize("beta", [1.0, 2.0])
@pytest.mark.parametrize("seed", range(8))
def test_group_thresholds_beat_one_and_none_alone_can_be_better(seed, beta):
    probs, targets = make(seed, num_classes=6, num_samples=20)
    probs[:, :3] **= 3  # the groups want different thresholds
    groups = ("low", "low", "low", "high", "high", "high")
    one = fit_thresholds(probs, targets, beta=beta, fill_empty=False)
    rule = fit_thresholds(probs, targets, beta=beta, groups=groups, fill_empty=False)
    assert len(set(rule.thresholds[:3])) == len(set(rule.thresholds[3:])) == 1
    score = score_of_rule(rule, probs, targets, beta)
    assert score >= score_of_rule(one, probs, targets, beta) - 1e-12
    for member in (slice(0, 3), slice(3, 6)):
        for threshold in candidates(probs[:, member]):
            moved = np.array(rule.thresholds, np.float32)
            moved[member] = threshold
            assert score_of(probs >= moved, targets, beta) <= score + 1e-9


def test_group_thresholds_are_better_where_the_groups_differ():
    scores = []
    for groups in (None, ("a", "a", "b", "b")):
        probs, targets = make(3, num_samples=300)
        probs[:, :2] **= 4
        rule = fit_thresholds(probs, targets, beta=2.0, groups=groups, fill_empty=False)
        scores.append(score_of_rule(rule, probs, targets, 2.0))
    assert scores[1] > scores[0] + 0.01


def test_groups_of_one_name_are_one_threshold():
    probs, targets = make(1)
    assert fit_thresholds(probs, targets, beta=2.0, groups=("",) * 4) == fit_thresholds(probs, targets, beta=2.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_threshold_lies_midway_between_the_probabilities_that_it_parts(dtype):
    probs = np.array([[0.9, 0.2], [0.8, 0.4]], dtype)
    targets = np.array([[1, 0], [1, 0]], np.uint8)
    rule = fit_thresholds(probs, targets, beta=2.0)
    assert rule.thresholds == pytest.approx((0.6, 0.6), abs=1e-6)


@pytest.mark.parametrize("towards", [0, 1])
def test_a_threshold_between_neighbouring_floats_still_parts_them(towards):
    """The middle of two neighbours rounds to the even one, here the higher and then the lower."""
    low, high = sorted([np.float32(0.5), np.nextafter(np.float32(0.5), np.float32(towards))])
    rule = fit_thresholds(np.array([[high, low]]), np.array([[1, 0]], np.uint8), beta=2.0)
    assert rule.apply(np.array([[high, low]])).tolist() == [[True, False]]


def test_labels_that_never_hold_are_never_chosen_in_a_group_of_their_own():
    probs, targets = make(2, num_samples=40)
    targets[:, 2:] = 0
    rule = fit_thresholds(probs, targets, beta=2.0, groups=("a", "a", "b", "b"), fill_empty=False)
    assert not rule.apply(probs)[:, 2:].any()


def test_no_threshold_is_better_on_real_predictions():
    source = DATA / "chexnet_preds" / "test_predictions.csv.gz"
    if not source.is_file():
        pytest.skip("shared/data/chexnet_preds is not here")
    frame = pd.read_csv(source)
    probs = frame.filter(like="prob_").to_numpy(np.float32)
    targets = frame.filter(like="true_").to_numpy(np.uint8)
    rule = fit_thresholds(probs, targets, beta=2.0, fill_empty=False)
    some = targets.any(1)  # scikit-learn is slow, and rows without truth score 0 whatever the answer

    def score(threshold):
        chosen, truth = probs[some] >= np.float32(threshold), targets[some]
        hits = (chosen & (truth == 1)).sum(1)
        return (5 * hits / (chosen.sum(1) + 4 * truth.sum(1))).sum() / len(targets)

    best = max(map(score, np.quantile(probs, np.linspace(0.5, 1, 300))))
    assert score(rule.thresholds[0]) >= best - 1e-9
    groups = tuple(f"g{label % 3}" for label in range(14))
    by_group = fit_thresholds(probs, targets, beta=2.0, groups=groups, fill_empty=False)
    assert score(by_group.thresholds) >= score(rule.thresholds)


def test_a_label_at_its_threshold_is_chosen_and_empty_rows_are_filled_on_request():
    probs = np.array([[0.5, 0.1, 0.2], [0.1, 0.3, 0.2], [0.6, 0.7, 0.9]], np.float32)
    thresholds = (0.5, 0.7, 0.8)
    plain = [[True, False, False], [False, False, False], [True, True, True]]
    assert Rule("threshold", thresholds, fill_empty=False).apply(probs).tolist() == plain
    plain[1][1] = True
    assert Rule("threshold", thresholds).apply(probs).tolist() == plain


def test_argmax_gives_the_class():
    answer = Rule("argmax").apply(np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], np.float32))
    assert (answer.tolist(), answer.dtype) == ([1, 0], np.int64)


@pytest.mark.parametrize("fill_empty", [True, False])
def test_a_rule_read_back_from_json_gives_the_same_answers(fill_empty):
    probs, targets = make(5, decimals=7)
    rule = fit_thresholds(probs, targets, beta=2.0, groups=("a", "b", "c", "a"), fill_empty=fill_empty)
    again = Rule.from_json(json.loads(json.dumps(rule.to_json())))
    assert again == rule
    np.testing.assert_array_equal(again.apply(probs), rule.apply(probs))
    assert Rule.from_json(json.loads(json.dumps(Rule("argmax").to_json()))) == Rule("argmax")
