"""Metrics of several questions against scikit-learn, and their bootstrap against scores of the drawn rows."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, recall_score

from imettk.errors import UserError
from imettk.metrics import METRICS
from imettk.metrics.questions import macro_recall, macro_recall_resampled

SIZES = (7, 4, 3)


def one_hot(classes):
    """Return classes (N, Q) as labels (N, C)."""
    parts = [np.arange(size) == column[:, None] for size, column in zip(SIZES, classes.T, strict=True)]
    return np.concatenate(parts, axis=1)


@pytest.fixture(params=range(4))
def drawn(request):
    """Return chosen and true classes of few rows, so that some classes are only chosen, only true, or neither."""
    rng = np.random.default_rng(request.param)
    return [np.column_stack([rng.integers(0, size, 9) for size in SIZES]) for _ in range(2)]


def test_macro_recall_is_the_weighted_mean_of_scikit_learns(drawn):
    chosen, truth = drawn
    recalls = [recall_score(*pair, average="macro", zero_division=0) for pair in zip(truth.T, chosen.T, strict=True)]
    pair = one_hot(chosen), one_hot(truth).astype(np.uint8)
    assert macro_recall(*pair) == pytest.approx(np.mean(recalls))
    assert macro_recall(*pair, weights="2 1 1") == pytest.approx(np.average(recalls, weights=[2, 1, 1]))
    with pytest.raises(UserError, match="weights must be 3 numbers"):
        macro_recall(*pair, weights="2 1")


def test_rows_drawn_with_repeats_score_as_a_table_of_them(drawn):
    chosen, truth = map(one_hot, drawn)
    score = macro_recall_resampled(chosen, truth, weights="3 2 1")
    rng = np.random.default_rng(0)
    for _ in range(5):
        rows = rng.integers(0, 9, 9)
        assert score(rows) == pytest.approx(macro_recall(chosen[rows], truth[rows], weights="3 2 1"))


def test_the_best_constant_answer_is_the_best_of_all(drawn):
    truth = drawn[1]
    for name in ("macro_recall", "accuracy"):
        scorer = METRICS[name].bound("questions")
        classes = [np.unique(column) for column in truth.T]
        best = max(
            scorer.score(one_hot(np.tile(answer, (9, 1))), one_hot(truth))
            for answer in np.stack(np.meshgrid(*classes), -1).reshape(-1, 3)
        )
        assert scorer.best_constant(one_hot(truth)) == pytest.approx(best)


def test_accuracy_and_log_loss_are_means_over_questions(drawn):
    chosen, truth = drawn
    accuracies = [accuracy_score(*pair) for pair in zip(truth.T, chosen.T, strict=True)]
    scorer = METRICS["accuracy"].bound("questions")
    assert scorer.score(one_hot(chosen), one_hot(truth)) == pytest.approx(np.mean(accuracies))
    rng = np.random.default_rng(1)
    probs = [rng.dirichlet(np.ones(size), 9) for size in SIZES]
    losses = [log_loss(column, part, labels=range(part.shape[1])) for column, part in zip(truth.T, probs, strict=True)]
    loss = METRICS["log_loss"].bound("questions").score(np.concatenate(probs, axis=1), one_hot(truth))
    assert loss == pytest.approx(np.mean(losses))
