"""Scores equal scikit-learn's; the best constant is the best of all."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, fbeta_score

from imettk.metrics import accuracy, best_constant, f_beta, f_beta_from_counts


def random_labels(seed, num_samples=50, num_classes=6, share=0.3):
    return (np.random.default_rng(seed).random((num_samples, num_classes)) < share).astype(np.uint8)


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
    """Too many labels to try all sets: the answer scores what it says, and no single change is better."""
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
    answer, score = best_constant(np.array([2, 0, 2, 1, 2]), beta=2.0)
    assert (int(answer), score) == (2, 0.6)
