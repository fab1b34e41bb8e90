"""Exact thresholds at iMet's size, beside the 50-point scikit-learn grid of the original kernels and one numpy sort.

`python tools/bench/thresholds.py [--check] [--quick]`. The labels are iMet 2019's (`../shared/data/tables/imet2019`),
the probabilities made: the logit of each label's frequency, noise, and more where the label stands. A point of the
grid is measured and counted 50 times.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial

import numpy as np
from folds import IMET, read_targets
from table import Row, arguments_of, finish, print_machine

from imettk.metrics.labels import f_beta
from imettk.postprocess.ratio import share_thresholds
from imettk.postprocess.thresholds.candidates import Candidates, find_candidates
from imettk.postprocess.thresholds.fit import fit_candidates, fit_thresholds
from imettk.postprocess.thresholds.goal import Goal

POINTS, BETA = 50, 2.0
BARS = {"micro": 100.0, "macro": 100.0, "samples": 50.0}
NUM_CULTURES = 398  # the first labels of iMet; the others are tags
LIMITED = Goal(BETA, "samples", 1, 10)


def make_probs(targets: np.ndarray) -> np.ndarray:
    """Draw probabilities like a model's, float32 (N, C): F2 about 0.54 with one threshold."""
    rng = np.random.default_rng(0)
    true = targets.sum(0)
    logits = rng.standard_normal(targets.shape, dtype=np.float32)
    logits *= 1.5
    logits += np.log((true + 0.5) / (len(targets) - true + 0.5)).astype(np.float32) - 1
    rows, labels = np.nonzero(targets)
    logits[rows, labels] += 2 + 4 * rng.random(len(rows), dtype=np.float32)
    np.negative(logits, out=logits)
    np.exp(logits, out=logits)
    logits += 1
    return np.reciprocal(logits, out=logits)


def timed(work: Callable[[], object], rounds: int) -> list[float]:
    """Return the seconds of each round."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds


def peak_of(kind: str, probs: np.ndarray, targets: np.ndarray) -> float:
    """Return the peak memory while a rule is fitted, input included, as a multiple of the input."""
    tracemalloc.start()
    FITS[kind](probs, targets)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return 1 + peak / probs.nbytes


def find(probs: np.ndarray, targets: np.ndarray) -> Candidates:
    """Fit the two groups of labels with 1 to 10 labels per row."""
    return find_candidates(probs, targets, LIMITED, groups=(np.arange(probs.shape[1]) >= NUM_CULTURES).astype(int))


FITS: dict[str, Callable[[np.ndarray, np.ndarray], object]] = {
    "micro": lambda probs, targets: fit_thresholds(probs, targets, Goal(BETA, "micro")),
    "macro": lambda probs, targets: fit_thresholds(probs, targets, Goal(BETA, "macro")),
    "samples": lambda probs, targets: fit_thresholds(probs, targets, Goal(BETA, "samples")),
    "samples, 1 to 10 labels": lambda probs, targets: fit_thresholds(probs, targets, LIMITED),
    "samples, two groups, 1 to 10 labels": lambda probs, targets: fit_candidates(find(probs, targets), LIMITED),
    "macro, one a label": lambda p, t: fit_thresholds(p, t, Goal(BETA, "macro"), groups=np.arange(p.shape[1])),
    "micro, one a label": lambda p, t: fit_thresholds(p, t, Goal(BETA, "micro"), groups=np.arange(p.shape[1])),
    "shares": lambda probs, targets: share_thresholds(probs, targets.mean(0)),
}


def main() -> None:
    arguments = arguments_of(__doc__).parse_args()
    if not IMET.is_file():
        sys.exit(f"{IMET} is not here")
    from sklearn.metrics import fbeta_score

    num_rows, rounds = (2_000, 1) if arguments.quick else (None, 3)
    targets = read_targets(num_rows)
    probs = make_probs(targets)
    print_machine("scikit-learn", "numpy")
    print(
        f"F{BETA:g} of {len(probs):,} x {probs.shape[1]:,} probabilities; seconds, and how many times the grid takes\n"
    )
    rows: list[Row] = []
    grid = np.linspace(0.01, 0.99, POINTS).astype(np.float32)
    sort = timed(lambda: np.sort(probs, axis=None), rounds)
    for average, bar in BARS.items():
        goal = Goal(BETA, average)  # type: ignore[arg-type]
        ours, theirs = [], []
        for _ in range(rounds):
            ours += timed(partial(FITS[average], probs, targets), 1)
            point = partial(fbeta_score, beta=BETA, average=average, zero_division=0)
            theirs += [POINTS * seconds for seconds in timed(partial(point, targets, probs >= np.float32(0.2)), 1)]
        best = max(f_beta(probs >= point, targets, beta=BETA, average=goal.average) for point in grid)
        exact = goal.score(fit_thresholds(probs, targets, goal).apply(probs), targets)
        rows.append(
            Row(f"{average}: times faster than the grid", theirs, "s", ours, None if arguments.quick else bar, True)
        )
        rows.append(Row("  seconds", ours, "s", sort))
        rows.append(Row("  score above the grid's best", [exact - best], "", (), 0.0, True))
    for name in list(FITS)[3:-1]:
        rows.append(Row(f"{name}: seconds", timed(partial(FITS[name], probs, targets), rounds), "s", sort))
    found, draw = find(probs, targets), np.random.default_rng(0).integers(0, len(probs), len(probs))
    again = timed(lambda: fit_candidates(found.take(draw), LIMITED), rounds)
    rows.append(Row("  a further fit of the two groups, to a bootstrap sample", again, "s", sort))
    rows.append(Row("one numpy sort of the matrix", sort, "s"))
    partition = timed(lambda: np.partition(probs, len(probs) // 2, axis=0), rounds)
    at_most = None if arguments.quick else 1.5
    rows.append(
        Row(
            "shares, beside one partition",
            timed(partial(FITS["shares"], probs, targets), rounds),
            "s",
            partition,
            at_most,
        )
    )
    for name in FITS:
        peak = peak_of(name, probs, targets)
        rows.append(Row(f"memory, times the input: {name}", [peak], "", (), None if arguments.quick else 3.0))
    finish(rows, arguments)


if __name__ == "__main__":
    main()
