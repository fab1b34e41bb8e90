"""Intervals of ranking metrics, beside scikit-learn on each bootstrap sample.

`python tools/bench/metrics.py [--check] [--quick]`. One column of made probabilities, of which half, or 2%, of the rows
are true. scikit-learn scores a few samples, and its seconds are multiplied; where it lacks a metric, ours scores each
sample again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from table import Row, arguments_of, finish, print_machine

from imettk.metrics import METRICS
from imettk.postprocess.honest import draw_rows, score_interval

BAR = 5.0  # seconds
PEERS = {"roc_auc": roc_auc_score, "average_precision": average_precision_score}
NAMES = ("roc_auc", "roc_auc_weighted", "roc_auc_partial", "average_precision")


def make_column(num_rows: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw probabilities, float32 (N, 1), and truth, uint8 (N, 1): AUC about 0.86."""
    rng = np.random.default_rng(0)
    targets = (rng.random((num_rows, 1)) < share).astype(np.uint8)
    logits = rng.standard_normal(targets.shape) + 1.5 * targets
    return (1 / (1 + np.exp(-logits))).astype(np.float32), targets


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def interval(name: str, probs: np.ndarray, targets: np.ndarray, num_draws: int) -> tuple[float, float]:
    """Compute the interval of a metric, including its one-time work."""
    scorer = METRICS[name].bound("labels")
    score_of = scorer.resampled(probs, targets)
    return score_interval(score_of, len(targets), low=scorer.metric.low, high=scorer.high, num_draws=num_draws)


def score_anew(name: str, probs: np.ndarray, targets: np.ndarray, num_draws: int) -> list[float]:
    """Score bootstrap samples one by one, by scikit-learn if it has the metric."""
    if name in PEERS:
        samples = draw_rows(len(targets), None, num_draws)
        return [float(PEERS[name](targets[rows, 0], probs[rows, 0])) for rows in samples]
    scorer = METRICS[name].bound("labels")
    return [scorer.score(probs[rows], targets[rows]) for rows in draw_rows(len(targets), None, num_draws)]


def main() -> None:
    arguments = arguments_of(__doc__).parse_args()
    num_rows, num_draws, few, rounds = (2_000, 20, 2, 1) if arguments.quick else (100_000, 1_000, 10, 3)
    print_machine("scikit-learn", "numpy")
    print(f"{num_draws:,} bootstrap samples of {num_rows:,} rows; seconds\n")
    rows: list[Row] = []
    for share in (0.5, 0.02):
        probs, targets = make_column(num_rows, share)
        for name in NAMES:
            ours, theirs = [], []
            for _ in range(rounds):
                ours.append(seconds_of(partial(interval, name, probs, targets, num_draws)))
                theirs.append(num_draws / few * seconds_of(partial(score_anew, name, probs, targets, few)))
            rows.append(Row(f"{name}, {share:.0%} true", ours, "s", (), BAR))
            rows.append(Row(f"  {'scikit-learn' if name in PEERS else 'again'}, times ours", theirs, "s", ours))
            score_of = METRICS[name].bound("labels").resampled(probs, targets)
            samples = list(draw_rows(num_rows, None, few))
            differences = np.array([score_of(sample) for sample in samples]) - score_anew(name, probs, targets, few)
            rows.append(Row("  largest difference of a sample", [float(np.abs(differences).max())], "", (), 1e-9))
    finish(rows, arguments)


if __name__ == "__main__":
    main()
