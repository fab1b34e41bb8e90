"""Cut-points for quadratic weighted kappa, beside every chain of cuts, and beside scipy's Nelder-Mead.

`python tools/bench/cutpoints.py [--check] [--quick]`. Small inputs have ties, grades that lie apart and grades that no
row has. The large one has 5 grades, in shares like APTOS 2019's. Nelder-Mead begins at halves, at the cuts that keep
each grade's share, and at cuts spread evenly; its objective is a kappa of counts (`bincount`), so that only the search
is compared.
"""

from __future__ import annotations

import itertools
import time
from functools import partial

import numpy as np
from scipy.optimize import minimize
from table import Row, arguments_of, finish, print_machine

from imettk.metrics.metric import CutGoal
from imettk.postprocess.cutpoints import apply_cutpoints, fit_cutpoints

SHARES = (0.49, 0.10, 0.27, 0.05, 0.09)
GRADES = np.arange(5.0)


def kappa(answers: np.ndarray, targets: np.ndarray, grades: np.ndarray) -> float:
    """Compute Cohen's kappa with quadratic weights from its matrices; 0 if all grades are equal."""
    count = len(grades)
    observed = np.bincount(targets * count + answers, minlength=count * count).reshape(count, count)
    weights = (grades[:, None] - grades) ** 2
    expected = np.outer(observed.sum(1), observed.sum(0)) / observed.sum()
    below = (weights * expected).sum()
    return float(1 - (weights * observed).sum() / below) if below > 0 else 0.0


def macro_f1(answers: np.ndarray, targets: np.ndarray, grades: np.ndarray) -> float:
    """Return the mean F1 of the grades that occur; no other may be answered."""
    hits, chosen, true = (
        np.bincount(part, minlength=len(grades)) for part in (targets[answers == targets], answers, targets)
    )
    return float((2 * hits / np.maximum(chosen + true, 1))[true > 0].mean()) if (true[chosen > 0] > 0).all() else -1.0


SCORES = {
    "quadratic_kappa": kappa,
    "accuracy": lambda answers, targets, grades: float((answers == targets).mean()),
    "f1_macro": macro_f1,
}


def make_small(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw numbers, places of grades, and grades."""
    rng = np.random.default_rng(seed)
    num_grades, num_rows = int(rng.integers(2, 5)), int(rng.integers(1, 12))
    grades = np.sort(rng.choice(8, num_grades, replace=False)).astype(float)
    targets = rng.integers(0, num_grades, num_rows)
    return (rng.integers(0, 7, num_rows) / 2 + 0.5 * targets).astype(np.float32), targets, grades


def misses(goal: CutGoal, num_inputs: int) -> int:
    """Small inputs on which some chain of cuts scores higher than ours."""
    count = 0
    for seed in range(num_inputs):
        values, targets, grades = make_small(seed)
        distinct, block = np.unique(values, return_inverse=True)
        chains = itertools.combinations_with_replacement(range(len(distinct) + 1), len(grades) - 1)
        every = (np.searchsorted(np.array(cuts), block, side="right") for cuts in chains)
        best = max(SCORES[goal](answers, targets, grades) for answers in every)
        cuts = fit_cutpoints(values, targets, grades=grades, goal=goal)
        count += abs(SCORES[goal](apply_cutpoints(values, cuts), targets, grades) - best) > 1e-9
    return count


def make_large(num_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw numbers like a network's, and the places of their grades."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(len(SHARES), num_rows, p=SHARES)
    return (0.8 * targets + 0.3 + rng.normal(0, 0.6, num_rows)).astype(np.float32), targets


def by_nelder_mead(values: np.ndarray, targets: np.ndarray) -> float:
    """Return the best kappa of three searches."""
    starts = (
        np.arange(4) + 0.5,
        np.quantile(values, np.cumsum(SHARES)[:-1]),
        np.linspace(values.min(), values.max(), 6)[1:-1],
    )

    def loss(cuts: np.ndarray) -> float:
        return -kappa(apply_cutpoints(values, np.sort(cuts)), targets, GRADES)

    return max(-minimize(loss, start, method="Nelder-Mead").fun for start in starts)


def main() -> None:
    arguments = arguments_of(__doc__).parse_args()
    num_inputs, num_rows, rounds = (25, 3_000, 1) if arguments.quick else (500, 100_000, 3)
    print_machine("scipy", "numpy")
    print(f"{num_inputs} small inputs; {num_rows:,} rows with {len(GRADES)} grades\n")
    goals: tuple[CutGoal, ...] = ("quadratic_kappa", "accuracy", "f1_macro")
    rows = [Row(f"{goal}: below the best chain", [misses(goal, num_inputs)], "inputs", (), 0) for goal in goals]
    ours, theirs, gains = [], [], []
    for seed in range(rounds):
        values, targets = make_large(num_rows, seed)
        started = time.perf_counter()
        cuts = fit_cutpoints(values, targets, grades=GRADES, goal="quadratic_kappa")
        between = time.perf_counter()
        found = by_nelder_mead(values, targets)
        theirs.append(time.perf_counter() - between)
        ours.append(between - started)
        gains.append(kappa(apply_cutpoints(values, cuts), targets, GRADES) - found)
    at_least = None if arguments.quick else 20.0
    rows.append(Row("quadratic_kappa: Nelder-Mead, times ours", theirs, "s", ours, at_least, True))
    rows.append(Row("  above Nelder-Mead's, the least", [min(gains)], "kappa", (), -1e-12, True))
    for goal in goals:
        fit = partial(fit_cutpoints, values, targets, grades=GRADES, goal=goal)
        started = time.perf_counter()
        fit()
        rows.append(Row(f"{goal}: ours", [time.perf_counter() - started], "s"))
    finish(rows, arguments)


if __name__ == "__main__":
    main()
