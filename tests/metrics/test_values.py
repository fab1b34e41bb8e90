"""Metrics of numbers on 200 random inputs, including ties and constant targets, against scikit-learn and scipy."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    r2_score,
    root_mean_squared_error,
)

from imettk.errors import UserError
from imettk.metrics import METRICS
from imettk.metrics.values import target_weights, value_rows

CASES = [(name, {}) for name, row in METRICS.items() if "values" in row.targets and row.needs == "values"]
CASES += [("r2", {"weights": "1 0.5 2"}), ("r2", {"weights": "1 0.5 2", "pooled": True}), ("r2", {"pooled": True})]


def inputs(seed, num_targets=3):
    rng = np.random.default_rng(seed)
    num_rows = int(rng.integers(2, 40))
    targets = rng.normal(rng.choice([0, 50]), rng.choice([1, 20]), (num_rows, num_targets))
    if seed % 3 == 0:
        targets = targets.round()
    if seed % 5 == 0:
        targets[:, 0] = 7.3
    values = targets + rng.normal(0, rng.choice([0.1, 10]), targets.shape)
    if seed % 7 == 0:
        values[:, 1] = 0.1
    return values.astype(np.float32), targets.astype(np.float32)


def correlation(score, values, targets):
    statistics = [score(predicted, truth).statistic for predicted, truth in zip(values.T, targets.T, strict=True)]
    return float(np.mean(np.nan_to_num(statistics)))


def expected_of(name, params, values, targets):
    values, targets = values.astype(np.float64), targets.astype(np.float64)
    if name == "r2" and params.get("pooled"):
        weights = [float(word) for word in params.get("weights", "1 1 1").split()]
        return r2_score(targets.ravel(), values.ravel(), sample_weight=np.tile(weights, len(targets)))
    if name == "r2":
        weights = [float(word) for word in params["weights"].split()] if params else "uniform_average"
        return r2_score(targets, values, multioutput=weights)
    return {
        "rmse": lambda: root_mean_squared_error(targets, values),
        "mae": lambda: mean_absolute_error(targets, values),
        "mape": lambda: mean_absolute_percentage_error(targets, values),
        "pearson": lambda: correlation(pearsonr, values, targets),
        "spearman": lambda: correlation(spearmanr, values, targets),
    }[name]()


@pytest.mark.parametrize(("name", "params"), CASES)
@pytest.mark.filterwarnings("ignore")  # of constants
def test_a_metric_is_scikit_learns_or_scipys(name, params):
    scorer = METRICS[name].bound("values", params)
    for seed in range(200):
        values, targets = inputs(seed)
        assert scorer.score(values, targets) == pytest.approx(
            expected_of(name, params, values, targets), rel=1e-6, abs=1e-6
        ), seed


@pytest.mark.parametrize(("name", "params"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_a_bootstrap_sample_scores_as_its_rows_do(name, params, seed):
    values, targets = inputs(seed)
    scorer = METRICS[name].bound("values", params)
    score_of = scorer.resampled(values, targets)
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = rng.integers(0, len(targets), len(targets))
        assert score_of(rows) == pytest.approx(scorer.score(values[rows], targets[rows]), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("name", "params"), CASES)
@pytest.mark.parametrize("seed", [1, 2, 4])
@pytest.mark.filterwarnings("ignore")
def test_no_constant_is_better_than_the_best(name, params, seed):
    """A fine grid is tried target by target: a target's contribution does not depend on the other constants."""
    _, targets = inputs(seed)
    scorer = METRICS[name].bound("values", params)
    best, sign = scorer.best_constant(targets), 1 if scorer.higher else -1
    spread = np.unique(
        np.concatenate([targets, [targets.mean(0)], np.quantile(targets, np.linspace(0, 1, 21), axis=0)])
    )
    tried = [
        scorer.score(
            np.broadcast_to(np.where(np.arange(3) == target, number, np.median(targets, axis=0)), targets.shape),
            targets,
        )
        for target in range(3)
        for number in spread
    ]
    assert max(sign * score for score in tried) <= sign * best + 1e-6


def test_weights_are_shares():
    assert target_weights("", 2).tolist() == [0.5, 0.5] and target_weights("1, 3", 2).tolist() == [0.25, 0.75]
    with pytest.raises(UserError, match="weights must be 3 numbers of 0 or above, one per target, got '1 2'"):
        target_weights("1 2", 3)


def test_a_row_a_target():
    values, targets = inputs(1)
    rows = value_rows(values, targets)
    assert rows["rmse"] == pytest.approx(root_mean_squared_error(targets, values, multioutput="raw_values"), abs=1e-5)
    assert rows["r2"] == pytest.approx(r2_score(targets, values, multioutput="raw_values"), abs=1e-5)
    assert rows["mean_true"] == pytest.approx(targets.mean(0))
