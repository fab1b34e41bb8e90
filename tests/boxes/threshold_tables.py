"""Tables of probabilities, made and real, and their best thresholds by brute force."""

import itertools

import numpy as np
import pandas as pd
import pytest
from places import SHARED

from imettk.metrics.labels import f_beta
from imettk.postprocess.rule import relative_to_row

AVERAGES = ("samples", "macro", "micro")
LIMITS = [(0, None), (1, None), (0, 2), (1, 2), (2, 3), (2, None)]


def make(seed, *, num_samples=9, num_classes=4, decimals=2, dtype=np.float32):
    """Draw probabilities (few decimals give ties) and targets that they partly explain."""
    rng = np.random.default_rng(seed)
    probs = rng.random((num_samples, num_classes)) ** 2
    targets = (probs + rng.normal(0, 0.4, probs.shape) > 0.6).astype(np.uint8)
    targets[:1] = 0
    return np.round(probs, decimals).astype(dtype), targets


def candidates(probs):
    """Return one threshold for each different answer: every probability, and infinity."""
    return [*np.unique(probs), np.asarray(2.5, probs.dtype)]


def limited_by_hand(chosen, probs, low, high):
    """Apply the limits row by row; of equal probabilities the first label ranks higher."""
    answer = np.zeros(chosen.shape, bool)
    for row in range(len(probs)):
        likely = sorted(range(probs.shape[1]), key=lambda label: (-probs[row, label], label))
        mine = [label for label in likely if chosen[row, label]]
        mine += [label for label in likely if label not in mine][: max(0, low - len(mine))]
        answer[row, mine[:high]] = True
    return answer


def best_by_hand(probs, targets, groups, goal, relative=False):
    """Return the best score over all combinations of thresholds, one per group."""
    scale = relative_to_row(probs) if relative else probs
    options = [candidates(scale[:, groups == group]) for group in range(groups.max() + 1)]
    best = -1.0
    for thresholds in itertools.product(*options):
        chosen = limited_by_hand(scale >= np.array(thresholds)[groups], probs, goal.min_labels, goal.max_labels)
        best = max(best, f_beta(chosen, targets, beta=goal.beta, average=goal.average))
    return best


def chexnet():
    """Read real predictions of 14 labels: probabilities, targets and patients."""
    source = SHARED / "data" / "chexnet_preds" / "test_predictions.csv.gz"
    if not source.is_file():
        pytest.skip("shared/data/chexnet_preds is not here")
    frame = pd.read_csv(source, dtype={"patient": str})
    probs = frame.filter(like="prob_").to_numpy(np.float32)
    return probs, frame.filter(like="true_").to_numpy(np.uint8), frame["patient"].to_numpy(str)
