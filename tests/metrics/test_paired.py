"""The paired bootstrap: its interval against a plain loop, its verdicts, and its time limit."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from imettk.metrics import METRICS
from imettk.metrics.paired import MIN_DRAWS, compare_paired


def two_runs(rng, rows=400, better=0.0):
    """Return targets and the answers of two classifiers; the second is right `better` more often."""
    targets = rng.integers(0, 3, rows)
    sure, wrong = rng.random(rows), (targets + 1) % 3
    return targets, np.where(sure < 0.7, targets, wrong), np.where(sure < 0.7 + better, targets, wrong)


def draw(rng, rows, count=300):
    return [rng.integers(0, rows, rows) for _ in range(count)]


def test_the_interval_is_that_of_a_plain_loop():
    rng = np.random.default_rng(0)
    targets, first, second = two_runs(rng, better=0.05)
    second = np.where(rng.random(len(second)) < 0.1, 0, second)
    samples = draw(rng, len(targets))
    scorer = METRICS["accuracy"].bound("classes")
    paired = compare_paired(scorer, targets, first, second, samples)
    differences = np.array([np.mean(second[s] == targets[s]) - np.mean(first[s] == targets[s]) for s in samples])
    shift = np.mean(second == targets) - np.mean(first == targets) - differences.mean()
    assert (paired.low, paired.high) == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975]) + shift))
    assert paired.difference == pytest.approx(np.mean(second == targets) - np.mean(first == targets))
    assert (paired.rows, paired.draws) == (400, 300)


def test_pairing_tells_apart_what_two_intervals_cannot():
    rng = np.random.default_rng(1)
    targets, first, second = two_runs(rng, better=0.03)
    paired = compare_paired(METRICS["accuracy"].bound("classes"), targets, first, second, draw(rng, 400))
    own = 1.96 * math.sqrt(paired.first * (1 - paired.first) / 400)
    assert paired.difference < own and paired.low > 0
    assert paired.verdict == "The second run is better: the interval excludes 0."


def test_the_same_answers_do_not_stand_out():
    rng = np.random.default_rng(2)
    targets, first, _ = two_runs(rng)
    paired = compare_paired(METRICS["accuracy"].bound("classes"), targets, first, first, draw(rng, 400))
    assert paired.low == paired.high == paired.difference == 0
    assert paired.verdict == "The difference does not stand out from the noise."


def test_more_of_a_loss_is_worse():
    rng = np.random.default_rng(3)
    targets = rng.normal(size=(300, 1))
    first, second = targets + 0.1 * rng.normal(size=(300, 1)), targets + rng.normal(size=(300, 1))
    paired = compare_paired(METRICS["rmse"].bound("values"), targets, first, second, draw(rng, 300))
    assert paired.low > 0 and paired.verdict.startswith("The second run is worse")
    assert replace(paired, low=-paired.high, high=-paired.low, second=0.0).verdict.startswith(
        "The second run is better"
    )


def test_samples_without_a_score_do_not_count():
    targets, probs = np.zeros((20, 1), np.uint8), np.linspace(0, 1, 20)[:, None]
    targets[3] = 1
    scorer = METRICS["roc_auc"].bound("labels")
    samples = [np.array([0, 1, 2] * 7), np.arange(20)]
    assert compare_paired(scorer, targets, probs, 1 - probs, samples).draws == 1
    paired = compare_paired(scorer, targets, probs, 1 - probs, samples[:1])
    assert paired.draws == 0 and "cannot be judged" in paired.verdict


def test_a_slow_metric_gets_fewer_samples():
    rng = np.random.default_rng(4)
    targets, first, second = two_runs(rng)
    samples = itertools.repeat(np.arange(400))
    paired = compare_paired(METRICS["accuracy"].bound("classes"), targets, first, second, samples, max_seconds=0)
    assert paired.draws == MIN_DRAWS
