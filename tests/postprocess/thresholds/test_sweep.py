"""A single threshold is optimal, by brute force."""

import numpy as np
import pytest
from threshold_tables import AVERAGES, candidates

from imettk.metrics.labels import f_beta
from imettk.postprocess.thresholds.sweep import best_threshold

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.mark.parametrize("average", AVERAGES)
def test_any_shape_and_any_sort_of_probabilities(average):
    rng = np.random.default_rng(0)
    for _ in range(300):
        probs = np.round(rng.random(rng.integers(1, 14, 2)) ** 2, int(rng.integers(0, 4))).astype(np.float32)
        targets = (rng.random(probs.shape) < rng.random()).astype(np.uint8)
        best = best_threshold(probs, targets, beta=2.0, average=average)
        by_hand = max(f_beta(probs >= x, targets, beta=2.0, average=average) for x in candidates(probs))
        assert best.score == pytest.approx(by_hand, abs=1e-9)
        chosen = probs >= np.float32(best.threshold)
        assert f_beta(chosen, targets, beta=2.0, average=average) == pytest.approx(by_hand, abs=1e-9)
