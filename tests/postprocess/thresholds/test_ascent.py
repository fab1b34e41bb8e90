"""After an ascent no single threshold can be improved, and mostly all of them together are optimal."""

import numpy as np
import pytest
from threshold_tables import AVERAGES, LIMITS, best_by_hand, candidates, limited_by_hand, make

from imettk.postprocess.thresholds import sweep
from imettk.postprocess.thresholds.ascent import ascend
from imettk.postprocess.thresholds.candidates import find_candidates
from imettk.postprocess.thresholds.fit import fit_thresholds
from imettk.postprocess.thresholds.goal import Goal

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize(("low", "high"), LIMITS)
@pytest.mark.parametrize("groups", [(0, 1, 2, 3, 4), (0, 0, 1, 1, 1)])
def test_no_threshold_alone_can_be_better_after_an_ascent(average, low, high, groups):
    groups = np.array(groups)
    for seed in range(6):
        probs, targets = make(seed, num_classes=5, decimals=1 + seed % 3)
        goal = Goal(2.0, average, low, high)
        single = fit_thresholds(probs, targets, goal)
        start = sweep.Best(single.thresholds[0], goal.score(single.apply(probs), targets))
        all_candidates = find_candidates(probs, targets, goal, groups=groups)
        thresholds = ascend(all_candidates, goal, start=start, tell=[].append)[groups]
        score = goal.score(limited_by_hand(probs >= thresholds.astype(np.float32), probs, low, high), targets)
        assert score >= start.score - 1e-12
        for group in range(groups.max() + 1):
            for threshold in candidates(probs[:, groups == group]):
                moved = thresholds.astype(np.float32)
                moved[groups == group] = threshold
                assert goal.score(limited_by_hand(probs >= moved, probs, low, high), targets) <= score + 1e-9


def test_an_ascent_is_mostly_the_best_of_all():
    goal, groups, equal = Goal(2.0, "samples", 1, 2), np.arange(3), 0
    for seed in range(20):
        probs, targets = make(seed, num_samples=6, num_classes=3)
        score = goal.score(fit_thresholds(probs, targets, goal, groups=groups).apply(probs), targets)
        best = best_by_hand(probs, targets, groups, goal)
        assert score <= best + 1e-9
        equal += score >= best - 1e-9
    assert equal >= 14
