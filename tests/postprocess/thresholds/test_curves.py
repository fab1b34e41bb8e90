"""The highest probabilities of each group, and the best thresholds along their curves."""

import numpy as np
import pytest

from imettk.metrics.labels import f_beta, f_beta_from_counts
from imettk.postprocess.thresholds import curves
from imettk.postprocess.thresholds.curves import find_top, fit_macro, fit_micro
from imettk.postprocess.thresholds.sweep import best_threshold


@pytest.mark.parametrize("groups", [(0, 1, 2, 3, 4), (0, 0, 1, 1, 1), (1, 0, 1, 0, 1)])
def test_the_top_of_each_group_is_that_of_a_sort(guess_from, groups):
    groups = np.array(groups)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        probs = np.round(rng.random((40, 5)), 2).astype(np.float32)
        enough = rng.integers(0, 60, groups.max() + 1)
        top = find_top(probs, groups, enough)
        for group in range(groups.max() + 1):
            mine = top.values[top.group == group]
            falling = np.sort(probs[:, groups == group], axis=None)[::-1]
            np.testing.assert_array_equal(mine, falling[: len(mine)])
            assert len(mine) == top.counts[group] and (len(mine) >= min(enough[group], len(falling)))
            assert not enough[group] == 0 < len(mine)
        np.testing.assert_array_equal(probs.reshape(-1)[top.pairs], top.values)
        np.testing.assert_array_equal(groups[top.pairs % 5], top.group)


@pytest.mark.parametrize("sample_rows", [20, 4096])
@pytest.mark.parametrize("beta", [1.0, 2.0, 4.0])
def test_the_best_threshold_is_found_far_below_the_first_hits(monkeypatch, sample_rows, beta):
    """For at least one label many more rows must be chosen than the first guess includes, and the first is a hit."""
    monkeypatch.setattr(curves, "SAMPLE_ROWS", sample_rows)
    rng, num_rows = np.random.default_rng(0), 1500
    probs = np.stack([rng.permutation(num_rows) for _ in range(6)], axis=1).astype(np.float32) / num_rows
    ranks, targets = np.argsort(np.argsort(-probs, axis=0), axis=0), np.zeros(probs.shape, np.uint8)
    for label, (first, last) in enumerate([(300, 310), (0, 12), (700, 800), (60, 64)]):
        targets[:, label] = (ranks[:, label] >= first) & (ranks[:, label] < last) | (ranks[:, label] == 0)
    targets[:, 4] = (ranks[:, 4] >= 1000) & (ranks[:, 4] < 1003)  # no hit among the first ones; and a label of no row
    hits = np.cumsum(np.take_along_axis(targets, np.argsort(-probs, axis=0), 0), axis=0, dtype=np.int64)
    true = hits[-1]
    curve = f_beta_from_counts(hits, np.arange(1, num_rows + 1)[:, None], true, beta=beta)
    by_label = fit_macro(probs, targets, beta=beta)
    chosen = probs >= by_label.astype(np.float32)
    ours = f_beta_from_counts((chosen & (targets > 0)).sum(0), chosen.sum(0), true, beta=beta)
    np.testing.assert_allclose(ours, curve.max(0), rtol=1e-12)
    assert chosen[:, 0].sum() == (1 if beta == 1 else 310)
    both = fit_micro(probs[:, [0, 2]], targets[:, [0, 2]], np.arange(2), beta=beta).astype(np.float32)
    chosen = probs[:, [0, 2]] >= both
    score = f_beta_from_counts((chosen & (targets[:, [0, 2]] > 0)).sum(), chosen.sum(), true[[0, 2]].sum(), beta=beta)
    counts = np.arange(num_rows + 1)
    all_hits = np.append(0, hits[:, 0])[:, None] + np.append(0, hits[:, 2])[None]
    grid = f_beta_from_counts(all_hits, counts[:, None] + counts, true[[0, 2]].sum(), beta=beta)
    assert score == pytest.approx(grid.max(), abs=1e-12)


@pytest.mark.parametrize("num_groups", [(1 << 16) - 1, 1 << 16, (1 << 16) + 2])
def test_more_groups_or_rows_than_16_bits_can_count(num_groups):
    """The last groups must not be mistaken for the first."""
    rng = np.random.default_rng(0)
    probs = np.round(rng.random((2, num_groups)), 2).astype(np.float32)
    top = find_top(probs, np.arange(num_groups), np.ones(num_groups, np.int64))
    assert (np.diff(top.group) >= 0).all() and (top.counts >= 1).all()
    highest = top.values[np.cumsum(top.counts) - top.counts]
    np.testing.assert_array_equal(highest, probs.max(0))
    probs = probs.T.copy()  # and now a mean over so many rows
    targets = (rng.random(probs.shape) < probs).astype(np.uint8)
    best = best_threshold(probs, targets, beta=2.0, average="samples")
    by_hand = [f_beta(probs >= np.float32(value), targets, beta=2.0) for value in np.unique(probs)[::4]]
    chosen = probs >= np.float32(best.threshold)
    assert f_beta(chosen, targets, beta=2.0) == pytest.approx(best.score, abs=1e-9)
    assert best.score >= max(by_hand) - 1e-9
