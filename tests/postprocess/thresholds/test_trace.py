"""Scores at many thresholds, each against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import fbeta_score

from imettk.postprocess.thresholds import trace
from imettk.postprocess.thresholds.trace import trace_threshold

THRESHOLDS = np.array([0.05, 0.3, 0.5, 0.75, 0.99])


@pytest.fixture
def made():
    rng = np.random.default_rng(3)
    targets = (rng.random((57, 9)) < 0.25).astype(np.uint8)
    probs = np.clip(rng.normal(0.3 + 0.4 * targets, 0.25), 0, 1).astype(np.float32)
    probs[4], probs[5, 2], targets[7], targets[:, 3] = 0, 0.5, 0, 0  # nothing chosen, a tie, empty row, empty label
    return probs, targets


@pytest.mark.parametrize("average", ["samples", "macro", "micro"])
@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_every_point_is_what_scikit_learn_says(made, average, beta, monkeypatch):
    monkeypatch.setattr(trace, "ROWS", 20)  # several parts
    probs, targets = made
    scores = trace_threshold(probs, targets, THRESHOLDS, beta=beta, average=average)
    wanted = [
        fbeta_score(targets, probs >= np.float32(value), beta=beta, average=average, zero_division=0)
        for value in THRESHOLDS
    ]
    assert scores == pytest.approx(wanted, abs=1e-12)


def test_thresholds_that_nothing_reaches_score_nothing(made):
    probs, targets = made
    assert trace_threshold(probs, targets, np.array([2.0, 3.0]), beta=2, average="samples").tolist() == [0, 0]
