"""Scores equal scikit-learn's; the best constant is the best of all."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    fbeta_score,
    precision_score,
    recall_score,
)
from sklearn.metrics import log_loss as sklearn_log_loss
from threshold_tables import AVERAGES, make
from torchvision.ops import sigmoid_focal_loss

from imettk.metrics.labels import (
    accuracy,
    best_constant,
    best_constant_accuracy,
    class_log_loss,
    f_beta,
    f_beta_from_counts,
    focal_loss,
    label_rows,
    log_loss,
    sum_units,
)


def random_labels(seed, num_samples=50, num_classes=6, share=0.3):
    return (np.random.default_rng(seed).random((num_samples, num_classes)) < share).astype(np.uint8)


@pytest.mark.parametrize("average", AVERAGES)
def test_f_beta_of_small_tables_is_that_of_scikit_learn(average):
    for seed in range(20):
        probs, targets = make(seed, num_samples=300 if seed == 0 else 9)
        for beta in (0.5, 1.0, 2.0):
            ours = f_beta(probs >= 0.3, targets, beta=beta, average=average)
            assert ours == pytest.approx(
                fbeta_score(targets, probs >= 0.3, beta=beta, average=average, zero_division=0)
            )


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_f_beta_equals_scikit_learn(beta, share):
    chosen, targets = random_labels(1, share=share), random_labels(2)
    chosen[:3], targets[2:5] = 0, 0  # rows without an answer, without a truth, and without both
    expected = fbeta_score(targets, chosen, beta=beta, average="samples", zero_division=0)
    assert f_beta(chosen, targets, beta=beta) == pytest.approx(expected, abs=1e-12)
    assert f_beta(chosen.astype(bool), targets.astype(bool), beta=beta) == f_beta(chosen, targets, beta=beta)


def test_many_labels_do_not_overflow_their_type():
    chosen = targets = np.ones((2, 300), np.uint8)
    assert f_beta(chosen, targets, beta=2.0) == 1.0


def test_f_beta_from_counts_is_the_formula_with_precision_and_recall():
    for hits, num_chosen, num_true in itertools.product(range(4), range(1, 5), range(1, 5)):
        if hits > min(num_chosen, num_true):
            continue
        precision, recall = hits / num_chosen, hits / num_true
        expected = 5 * precision * recall / (4 * precision + recall) if hits else 0.0
        ours = f_beta_from_counts(np.array(hits), np.array(num_chosen), np.array(num_true), beta=2.0)
        assert float(ours) == pytest.approx(expected, abs=1e-12)
    assert f_beta_from_counts(np.array(0), np.array(0), np.array(0), beta=2.0) == 0


def test_accuracy_equals_scikit_learn():
    rng = np.random.default_rng(0)
    chosen, targets = rng.integers(0, 4, 100), rng.integers(0, 4, 100)
    assert accuracy(chosen, targets) == pytest.approx(accuracy_score(targets, chosen))


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(8))
def test_the_best_constant_is_the_best_of_all_label_sets(seed, beta):
    rng = np.random.default_rng(seed)
    targets = (rng.random((20, 6)) < rng.random(6) * 0.8).astype(np.uint8)
    scores = {
        answer: fbeta_score(targets, np.tile(answer, (20, 1)), beta=beta, average="samples", zero_division=0)
        for answer in itertools.product((0, 1), repeat=6)
    }
    answer, score = best_constant(targets, beta=beta)
    assert score == pytest.approx(max(scores.values()), abs=1e-12)
    assert score == pytest.approx(scores[tuple(answer.astype(int).tolist())], abs=1e-12)
    assert answer.dtype == bool


@pytest.mark.parametrize("seed", range(3))
def test_a_larger_best_constant_cannot_be_improved_by_one_label(seed):
    """There are too many labels to try all sets: the answer has the reported score, and no single change is better."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((200, 40)) < rng.beta(0.5, 2, 40)).astype(np.uint8)
    answer, score = best_constant(targets, beta=2.0)
    assert score == pytest.approx(f_beta(np.tile(answer, (200, 1)), targets, beta=2.0), abs=1e-12)
    for label in range(40):
        other = answer.copy()
        other[label] ^= True
        assert f_beta(np.tile(other, (200, 1)), targets, beta=2.0) <= score + 1e-12


def test_the_best_constant_of_labels_that_all_stand_is_all():
    answer, score = best_constant(np.ones((4, 3), np.uint8), beta=2.0)
    assert answer.all() and score == 1.0


def test_without_any_label_nothing_scores():
    answer, score = best_constant(np.zeros((4, 3), np.uint8), beta=2.0)
    assert (answer.tolist(), score) == ([False] * 3, 0.0)


def test_the_best_constant_class_is_the_most_frequent():
    assert best_constant_accuracy(np.array([2, 0, 2, 1, 2])) == 0.6


@pytest.mark.parametrize("average", ["samples", "macro", "micro"])
@pytest.mark.parametrize("num_rows", [3, 255, 700])
def test_every_average_is_scikit_learns(average, num_rows):
    rng = np.random.default_rng(0)
    chosen, targets = (rng.random((num_rows, 12)) < share for share in (0.3, 0.2))
    for answers in (chosen, np.asfortranarray(chosen), chosen.astype(np.uint8)):
        ours = f_beta(answers[:, ::2], targets[:, ::2], beta=1.5, average=average)
        theirs = fbeta_score(targets[:, ::2], chosen[:, ::2], beta=1.5, average=average, zero_division=0)
        assert ours == pytest.approx(theirs)


def test_log_loss_and_focal_loss_are_those_of_known_libraries():
    rng = np.random.default_rng(0)
    probs, targets = rng.random((30, 4)), (rng.random((30, 4)) < 0.4).astype(np.uint8)
    by_label = [sklearn_log_loss(targets[:, label], probs[:, label], labels=[0, 1]) for label in range(4)]
    assert log_loss(probs, targets) == pytest.approx(np.mean(by_label))
    classes = probs / probs.sum(1, keepdims=True)
    assert class_log_loss(classes, targets.argmax(1)) == pytest.approx(
        sklearn_log_loss(targets.argmax(1), classes, labels=range(4))
    )
    logits = torch.from_numpy(np.log(probs / (1 - probs)))
    theirs = sigmoid_focal_loss(logits, torch.from_numpy(targets).double(), alpha=-1, gamma=2, reduction="mean")
    assert focal_loss(probs, targets) == pytest.approx(float(theirs))
    assert np.isfinite([log_loss(np.eye(2), np.eye(2)[::-1]), focal_loss(np.eye(2), np.eye(2)[::-1])]).all()


def test_the_rows_of_labels_are_scikit_learns():
    rng = np.random.default_rng(0)
    probs, targets = rng.random((50, 5)), (rng.random((50, 5)) < 0.3).astype(np.uint8)
    targets[:, 4] = 0
    chosen = probs > 0.6
    rows = label_rows(probs, chosen, targets, beta=2.0)
    for name, function in (("precision", precision_score), ("recall", recall_score)):
        np.testing.assert_allclose(rows[name], function(targets, chosen, average=None, zero_division=0), atol=1e-4)
    expected = fbeta_score(targets, chosen, beta=2.0, average=None, zero_division=0)
    np.testing.assert_allclose(rows["f_beta"], expected, atol=1e-4)
    assert rows["average_precision"][4] is None
    assert rows["average_precision"][0] == pytest.approx(average_precision_score(targets[:, 0], probs[:, 0]), abs=1e-4)


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_the_best_constant_of_labels_is_the_best_of_all_label_sets(average):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        targets = (rng.random((20, 5)) < rng.random(5)).astype(np.uint8)
        answer, score = best_constant(targets, beta=2.0, average=average)
        constants = [np.tile(np.array(label_set, bool), (20, 1)) for label_set in itertools.product((0, 1), repeat=5)]
        best = max(f_beta(label_set, targets, beta=2.0, average=average) for label_set in constants)
        assert score == pytest.approx(best)
        assert f_beta(np.tile(answer, (20, 1)), targets, beta=2.0, average=average) == pytest.approx(best)


@pytest.mark.parametrize("average", ["samples", "macro", "micro"])
@pytest.mark.parametrize("num_rows", [0, 1, 255, 256, 772])
def test_sums_of_units_are_numpys_wherever_the_rows_lie_in_memory(average, num_rows):
    mask = random_labels(num_rows, num_rows, 7, share=0.8).astype(bool)
    mask[:, 0] = True  # more than a byte holds
    spread = np.zeros((2 * num_rows, 14), bool)
    spread[::2, ::2] = mask
    expected = np.atleast_1d(mask.sum({"samples": 1, "macro": 0, "micro": None}[average]))
    for same in (mask, np.asfortranarray(mask), spread[::2, ::2]):
        sums = sum_units(same, average)
        np.testing.assert_array_equal(sums, expected)
        assert sums.dtype == np.int64


def test_any_number_but_0_counts_as_true():
    chosen, targets = random_labels(0), random_labels(1)
    assert f_beta(2 * chosen, 255 * targets, beta=1.0) == f_beta(chosen, targets, beta=1.0)
