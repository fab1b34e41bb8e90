"""Curves of probabilities equal scikit-learn's, and their areas too, on random, tied and lopsided columns."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from imettk.evaluation.probability_curves import CELLS, MOST_BINS, MOST_LABELS, calibration, label_curves


def columns(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a column of each kind: guesses, good and inverted ones, few values, one value, small numbers; (N, 6)."""
    rng = np.random.default_rng(seed)
    rows = int(rng.choice([12, 72, 1000, 6000]))
    truth = rng.random((rows, 6)) < rng.choice([0.03, 0.3, 0.9])
    truth[:2] = [[True] * 6, [False] * 6]
    good = truth + rng.normal(0, 0.5, truth.shape)
    kinds = [rng.random(rows), good[:, 1], -good[:, 2], good[:, 3].round(), np.full(rows, 0.3), truth[:, 5] / 9]
    return np.stack(kinds, 1).astype(np.float32), truth


@pytest.mark.parametrize("seed", range(12))
def test_areas_are_scikit_learns_and_thin_curves_keep_them(seed):
    probs, truth = columns(seed)
    curves = label_curves(probs, truth, list("abcdef"))
    areas = {"roc_auc": [], "average_precision": []}
    for line in curves["lines"]:
        column = "abcdef".index(line["label"])
        for key, heights, area in (
            ("roc_auc", "roc", roc_auc_score),
            ("average_precision", "precision", average_precision_score),
        ):
            expected = area(truth[:, column], probs[:, column])
            areas[key].append(expected)
            assert line[key] == pytest.approx(expected, abs=1e-9)
            assert np.trapezoid(line[heights], curves["axis"]) == pytest.approx(expected, abs=1e-3)
        assert line["rows"] == truth[:, column].sum()
    for key, heights in (("roc_auc", "roc"), ("average_precision", "precision")):
        assert curves["mean"][key] == pytest.approx(np.mean(areas[key]))
        assert np.trapezoid(curves["mean"][heights], curves["axis"]) == pytest.approx(np.mean(areas[key]), abs=1e-3)


def test_curves_lie_on_scikit_learns():
    rng = np.random.default_rng(0)
    truth = rng.random(20_000) < 0.2
    probs = truth + rng.normal(0, 1, len(truth))
    curves = label_curves(probs[:, None], truth[:, None], ["a"])
    (line,), axis = curves["lines"], np.array(curves["axis"])
    false_rate, true_rate, _ = roc_curve(truth, probs)
    np.testing.assert_allclose(line["roc"], np.interp(axis, false_rate, true_rate), atol=0.02)
    precision, recall, _ = precision_recall_curve(truth, probs)
    for place in range(0, 200, 10):  # each height is the mean of the steps in its cell
        fine = np.linspace(CELLS[place], CELLS[place + 1], 2001)[1:]
        steps = precision[len(recall) - 1 - np.searchsorted(recall[::-1], fine)]
        assert line["precision"][place + 1] == pytest.approx(steps.mean(), abs=2e-3)
    assert curves["mean"] is None and curves["rows"] == 20_000 and not curves["some"]
    assert (line["precision"][0], line["precision"][-1]) == (line["precision"][1], line["precision"][-2])
    assert (line["roc"][0], line["roc"][-1], axis[0], axis[-1]) == (0, 1, 0, 1)


def test_of_many_labels_the_best_and_the_worst_are_kept_and_the_mean_is_of_all():
    rng = np.random.default_rng(1)
    truth = rng.random((3000, 28)) < 0.2
    probs = truth * np.linspace(0, 2, 28) + rng.normal(0, 1, truth.shape)
    truth[:, 5], truth[:, 6] = False, True
    names = [f"label {number}" for number in range(28)]
    curves = label_curves(probs, truth, names)
    judged = [label for label in range(28) if label not in (5, 6)]
    areas = {names[label]: roc_auc_score(truth[:, label], probs[:, label]) for label in judged}
    order = sorted(areas, key=lambda name: -areas[name])
    assert [line["label"] for line in curves["lines"]] == [*order[:3], *order[-3:]]
    assert len(curves["lines"]) == MOST_LABELS and curves["some"]
    assert (curves["labels"], curves["left_out"]) == (26, 2)
    assert curves["mean"]["roc_auc"] == pytest.approx(np.mean(list(areas.values())))
    assert label_curves(probs[:, 5:7], truth[:, 5:7], names[5:7]) is None


def test_a_hundred_thousand_rows_are_a_small_file():
    rng = np.random.default_rng(2)
    truth = rng.random((100_000, 28)) < 0.06
    probs = (1 / (1 + np.exp(3 - 3 * truth - rng.normal(0, 1, truth.shape)))).astype(np.float32)
    content = [label_curves(probs, truth, ["label"] * 28), calibration(probs, truth)]
    assert len(json.dumps(content, indent=2)) < 100_000


@pytest.mark.parametrize("rows", [7, 300, 4000, 60_000])
@pytest.mark.parametrize("digits", [1, 9])
def test_calibration_is_scikit_learns(rows, digits):
    """Probabilities of one decimal are full of ties, which share a bin."""
    rng = np.random.default_rng(rows)
    probs = rng.random((rows, 1)).round(digits) ** 2
    truth = rng.random((rows, 1)) < probs**1.3
    kept = calibration(probs, truth)
    num_bins = min(max(rows // 500, 5), MOST_BINS)
    shares, means = calibration_curve(truth[:, 0], probs[:, 0], n_bins=num_bins, strategy="quantile")
    np.testing.assert_allclose(kept["shares"], shares, atol=1e-6)
    np.testing.assert_allclose(kept["probs"], means, atol=1e-6)
    assert sum(kept["counts"]) == rows and (digits == 1 or max(kept["counts"]) - min(kept["counts"]) <= 1)
    error = sum(count * abs(mean - share) for count, mean, share in zip(kept["counts"], means, shares, strict=True))
    assert kept["error"] == pytest.approx(error / rows)


def test_columns_are_calibrated_together():
    rng = np.random.default_rng(3)
    probs = rng.random((500, 4)).astype(np.float32)
    truth = rng.random((500, 4)) < probs
    kept, flat = calibration(probs, truth), calibration(probs.reshape(-1, 1), truth.reshape(-1, 1))
    assert {name: pytest.approx(values) for name, values in flat.items()} == kept
