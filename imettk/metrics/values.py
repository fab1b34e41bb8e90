"""Errors and correlations of predicted numbers: means over targets, each as scikit-learn or scipy defines it.

A bootstrap sample is how often each row was drawn, so all of its sums are one product with these counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from imettk.errors import UserError

EPS = float(np.finfo(np.float64).eps)
CONSTANT = 1e-9  # below this share of its largest number, a column's spread is rounding error: it is constant


def target_weights(weights: str, num_targets: int) -> np.ndarray:
    """Return a weight for each target, summing to 1, float64 (T,).

    Args:
        weights: numbers separated by blanks or commas; "" for equal weights.

    Raises:
        UserError: there are not `num_targets` numbers, all at least 0 and one of them above 0.
    """
    words = re.split(r"[\s,]+", weights.strip()) if weights.strip() else ["1"] * num_targets
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        numbers = np.array([-1.0])
    if len(numbers) != num_targets or not (numbers >= 0).all() or not 0 < numbers.sum() < np.inf:
        raise UserError(f"weights must be {num_targets} numbers of 0 or above, one per target, got {weights!r}")
    shares: np.ndarray = numbers / numbers.sum()
    return shares


def _resampled(
    columns: np.ndarray, score: Callable[[np.ndarray, int], np.ndarray | float]
) -> Callable[[np.ndarray], float]:
    """Return a function from rows, with repeats, to a mean score over targets.

    Args:
        columns: values to sum over rows, float64 (N, S).
        score: (sums (S,), number of rows) -> score of each target, or their mean.
    """

    def score_of(rows: np.ndarray) -> float:
        counts = np.bincount(rows, minlength=len(columns)).astype(np.float64)
        return float(np.mean(score(counts @ columns, len(rows))))

    return score_of


def _all_rows(score_of: Callable[[np.ndarray], float], values: np.ndarray) -> float:
    return score_of(np.arange(len(values)))


def rmse_resampled(values: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; see `rmse`."""
    return _resampled(_errors(values, targets) ** 2, lambda sums, rows: np.sqrt(sums / rows))


def mae_resampled(values: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; see `mae`."""
    return _resampled(np.abs(_errors(values, targets)), lambda sums, rows: sums / rows)


def mape_resampled(values: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; see `mape`."""
    shares = np.abs(_errors(values, targets)) / np.maximum(np.abs(targets.astype(np.float64)), EPS)
    return _resampled(shares, lambda sums, rows: sums / rows)


def rmse(values: np.ndarray, targets: np.ndarray) -> float:
    """Return the root mean squared error, as `root_mean_squared_error`: both float (N, T), a mean over targets."""
    return _all_rows(rmse_resampled(values, targets), values)


def mae(values: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean absolute error, as `mean_absolute_error`: both float (N, T)."""
    return _all_rows(mae_resampled(values, targets), values)


def mape(values: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean absolute error relative to the truth, as `mean_absolute_percentage_error`: 0.1 is 10%."""
    return _all_rows(mape_resampled(values, targets), values)


def r2_resampled(
    values: np.ndarray, targets: np.ndarray, *, weights: str = "", pooled: bool = False
) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; see `r2`."""
    shares, truth = target_weights(weights, targets.shape[1]), targets.astype(np.float64)
    middle = truth.mean(0) if not pooled else np.full(truth.shape[1], (truth.mean(0) * shares).sum())
    # Centred before squaring: sums of squares of numbers far from 0 would lose the digits that the spread consists of.
    centred, least = truth - middle, _least_spread(truth)
    columns = np.concatenate([_errors(values, targets) ** 2, centred, centred**2], 1)

    def score(sums: np.ndarray, rows: int) -> float:
        errors, first, second = np.split(sums, 3)
        if pooled:
            spread = (shares @ second) - (shares @ first) ** 2 / rows
            return float(_determination(np.array([shares @ errors]), np.array([spread]), rows * least.max())[0])
        return float(shares @ _determination(errors, second - first**2 / rows, rows * least))

    return _resampled(columns, score)


def _determination(errors: np.ndarray, spread: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Return 1 - errors / spread; for a constant truth, 1 if all errors are 0 and otherwise 0."""
    constant = spread <= least
    return np.where(constant, errors <= least, 1 - errors / np.where(constant, 1, spread))


def _least_spread(columns: np.ndarray) -> np.ndarray:
    """Return the mean squared spread below which a column counts as constant, (T,)."""
    least: np.ndarray = (CONSTANT * np.abs(columns).max(0)) ** 2
    return least


def r2(values: np.ndarray, targets: np.ndarray, *, weights: str = "", pooled: bool = False) -> float:
    """Return the coefficient of determination, a weighted mean over targets, as `r2_score(multioutput=weights)`.

    Args:
        values, targets: float (N, T).
        weights: of the targets, in the format of `target_weights`.
        pooled: treat the numbers of all targets as one column, each with its target's weight, as in CSIRO 2025.
    """
    return _all_rows(r2_resampled(values, targets, weights=weights, pooled=pooled), values)


def pearson_resampled(values: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; see `pearson`."""
    predicted, truth = values.astype(np.float64), targets.astype(np.float64)
    # Measured before centring: the spread of a constant column of large numbers is rounding error, and not exactly 0.
    least = _least_spread(predicted), _least_spread(truth)
    predicted, truth = predicted - predicted.mean(0), truth - truth.mean(0)
    columns = np.concatenate([predicted, truth, predicted * truth, predicted**2, truth**2], 1)

    def score(sums: np.ndarray, rows: int) -> np.ndarray:
        first, second, both, first_squares, second_squares = np.split(sums, 5)
        spreads = first_squares - first**2 / rows, second_squares - second**2 / rows
        constant = (spreads[0] <= rows * least[0]) | (spreads[1] <= rows * least[1])
        denominator = np.sqrt(np.where(constant, 1, spreads[0] * spreads[1]))
        return np.where(constant, 0.0, np.clip((both - first * second / rows) / denominator, -1, 1))

    return _resampled(columns, score)


def pearson(values: np.ndarray, targets: np.ndarray) -> float:
    """Return Pearson's correlation, as `scipy.stats.pearsonr`: both float (N, T), a mean over targets.

    A constant target scores 0.
    """
    return _all_rows(pearson_resampled(values, targets), values)


def spearman(values: np.ndarray, targets: np.ndarray) -> float:
    """Return Spearman's rank correlation, as `scipy.stats.spearmanr`: both float (N, T), a mean over targets.

    A constant target scores 0.
    """
    from scipy.stats import rankdata

    return pearson(rankdata(values, axis=0), rankdata(targets, axis=0))


def _errors(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    errors: np.ndarray = values.astype(np.float64) - targets
    return errors


def _constant(targets: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Repeat one number per target, (T,), in all rows."""
    return np.broadcast_to(best, targets.shape)


def best_constant_rmse(targets: np.ndarray) -> float:
    """Return the error of each target's mean, which minimises it."""
    return rmse(_constant(targets, targets.mean(0, dtype=np.float64)), targets)


def best_constant_mae(targets: np.ndarray) -> float:
    """Return the error of each target's median, which minimises it."""
    return mae(_constant(targets, np.median(targets, axis=0)), targets)


def best_constant_mape(targets: np.ndarray) -> float:
    """Return the error of each target's weighted median, which minimises it; a row weighs 1 / |its number|."""
    order = np.argsort(targets, axis=0)
    rising = np.take_along_axis(targets, order, 0)
    weights = np.cumsum(1 / np.maximum(np.abs(rising.astype(np.float64)), EPS), axis=0)
    places = (weights < weights[-1] / 2).sum(0)
    return mape(_constant(targets, np.take_along_axis(rising, places[None], 0)), targets)


def best_constant_r2(targets: np.ndarray, *, weights: str = "", pooled: bool = False) -> float:
    """Return the score of each target's mean: 0, unless targets are pooled or constant."""
    return r2(_constant(targets, targets.mean(0, dtype=np.float64)), targets, weights=weights, pooled=pooled)


def best_constant_correlation(targets: np.ndarray) -> float:
    """Return 0: a constant answer does not correlate with anything."""
    return 0.0


def value_rows(values: np.ndarray, targets: np.ndarray) -> dict[str, list[float]]:
    """Return the columns of a table with one row per target: mean truth, mean answer, scores; both float (N, T)."""
    pairs = [(values[:, [target]], targets[:, [target]]) for target in range(targets.shape[1])]
    scores = {"rmse": rmse, "mae": mae, "r2": r2, "pearson": pearson, "spearman": spearman}
    means = {"mean_true": [float(truth.mean()) for _, truth in pairs]}
    means["mean_answer"] = [float(predicted.mean()) for predicted, _ in pairs]
    return means | {name: [score(*pair) for pair in pairs] for name, score in scores.items()}
