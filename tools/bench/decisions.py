"""Decision rules on unseen rows: one half fits, the other scores; and the coverage of the score's interval.

`python tools/bench/decisions.py [--check] [--quick]`. Real probabilities of a DenseNet-121 with their truth, split by
patient (`../shared/data/chexnet_preds`); and the labels of HPA 2018 and iMet 2019 with made probabilities (see
`thresholds.py`), which have more rare labels. The grid is the usual one: 49 thresholds, 0.02 to 0.98.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from folds import IMET, SHARED, read_targets
from table import Row, arguments_of, finish, print_machine
from thresholds import make_probs

from imettk.config import Recipe, RuleConfig
from imettk.evaluation.rules import fitter_of
from imettk.evaluation.scoring import interval_of
from imettk.metrics.labels import count_labels, f_beta, f_beta_from_counts
from imettk.postprocess.fitters import RuleFitter
from imettk.postprocess.honest import cross_fit
from imettk.postprocess.rule import Rule

CHEXNET = SHARED / "chexnet_preds" / "test_predictions.csv.gz"
HPA = SHARED / "tables" / "hpa2018" / "train.csv"
GRID = np.linspace(0.02, 0.98, 49).astype(np.float32)
PLANS = {
    "one threshold": RuleConfig(kind="threshold", beta=1.0, average="macro", min_labels=0),
    "one a label": RuleConfig(kind="class_thresholds", beta=1.0, average="macro", min_labels=0),
    "one a label, shrunk to shares": RuleConfig(
        kind="class_thresholds", beta=1.0, average="macro", min_labels=0, shrink_to="shares"
    ),
    "the same, strength by folds": RuleConfig(
        kind="class_thresholds", beta=1.0, average="macro", min_labels=0, shrink_to="shares", shrink_strength=None
    ),
    "shares": RuleConfig(kind="share", beta=1.0, average="macro", min_labels=0),
}
JUDGED = "one a label, shrunk to shares"


def read_chexnet() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read probabilities, truth and patients."""
    frame = pd.read_csv(CHEXNET, dtype={"patient": str})
    probs = frame.filter(like="prob_").to_numpy(np.float32)
    return probs, frame.filter(like="true_").to_numpy(np.uint8), frame["patient"].to_numpy(str)


def read_hpa() -> np.ndarray:
    """Read the labels of HPA 2018's training table, uint8 (31072, 28)."""
    targets = np.zeros((0, 28), np.uint8)
    cells = [[int(label) for label in cell.split()] for cell in pd.read_csv(HPA)["Target"]]
    targets = np.zeros((len(cells), 28), np.uint8)
    targets[np.repeat(np.arange(len(cells)), [len(cell) for cell in cells]), np.concatenate(cells)] = 1
    return targets


def grid_thresholds(probs: np.ndarray, targets: np.ndarray, *, each: bool) -> np.ndarray:
    """Search the grid for the best threshold of all labels, or of each, (C,)."""
    scores = np.stack([f_beta_from_counts(*count_labels(probs >= t, targets, average="macro"), beta=1.0) for t in GRID])
    best = scores.argmax(0) if each else np.full(probs.shape[1], scores.mean(1).argmax())
    return GRID[best]


def splits(groups: np.ndarray, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Split rows into two halves of whole groups."""
    names, member = np.unique(groups, return_inverse=True)
    for seed in range(count):
        half = np.random.default_rng(seed).permutation(len(names)) < len(names) // 2
        yield np.flatnonzero(half[member]), np.flatnonzero(~half[member])


def refit(fitter: RuleFitter, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray, rows: np.ndarray) -> Rule:
    """Fit the rule to these rows."""
    return fitter.fit(probs[rows], targets[rows], folds[rows])


def rows_of(name: str, probs: np.ndarray, targets: np.ndarray, groups: np.ndarray, count: int) -> Iterator[Row]:
    """Score the other half, and count how often the first half's interval contains that score."""
    found: dict[str, list[float]] = {}
    held, errors, labels = [], [], []
    for seed, (fit_rows, rows) in enumerate(splits(groups, count)):
        own, truth, other = probs[fit_rows], targets[fit_rows], probs[rows]

        def keep(what: str, answers: np.ndarray, truth: np.ndarray = targets[rows]) -> None:
            found.setdefault(what, []).append(f_beta(answers, truth, beta=1.0, average="macro"))

        keep("0.5", other >= np.float32(0.5))
        for each in (False, True):
            what = "grid, one a label" if each else "grid, one threshold"
            keep(what, other >= grid_thresholds(own, truth, each=each))
        member = np.unique(groups[fit_rows], return_inverse=True)[1]
        folds = np.random.default_rng(seed).permutation(member.max() + 1)[member] % 5
        for what, plan in PLANS.items():
            recipe = Recipe(rule=plan)
            fitter = fitter_of(recipe, ("",) * probs.shape[1])
            answers = fitter.fit(own, truth, folds).apply(other)
            keep(what, answers)
            if what == "shares":
                labels.append(float(answers.sum(1).mean()))
            if what == JUDGED:
                nested, _ = cross_fit(partial(refit, fitter, own, truth, folds), own, folds)
                drawn = groups[fit_rows]
                low, high = interval_of(recipe.scorer, nested, truth, groups=drawn, other_rows=len(rows))
                held.append(low <= found[what][-1] <= high)
                errors.append(f_beta(nested, truth, beta=1.0, average="macro") - found[what][-1])
    for what, values in found.items():
        # Means: one split's noise is larger than what is to be seen.
        base = {"one threshold": "grid, one threshold", JUDGED: "grid, one a label"}.get(what)
        against = [float(np.mean(found[base]))] if base else []
        bar = {"one threshold": 0.995, JUDGED: 1.0}.get(what)
        yield Row(f"{name}: {what}", [float(np.mean(values))], "", against, bar, True)
    better = float(np.mean(found[JUDGED]) - np.mean(found["one a label"]))
    yield Row(f"{name}: gain of shrinking", [better], "", (), 0.0, True)
    yield Row(f"{name}: labels a row, shares (true {targets.sum(1).mean():.3f})", [float(np.mean(labels))])
    yield Row(f"{name}: cross-fitted score is above by", [float(np.mean(errors))])
    yield Row(
        f"{name}: 95% interval holds the other half's",
        [float(np.mean(held))],
        "",
        (),
        0.85 if count >= 20 else None,
        True,
    )


def main() -> None:
    arguments = arguments_of(__doc__).parse_args()
    print_machine("scikit-learn", "numpy")
    print("macro F1 on the half that has not been fitted on; baseline and ratio of ours to the row it is built on\n")
    rows: list[Row] = []
    if CHEXNET.is_file():
        rows += rows_of("chexnet", *read_chexnet(), 2 if arguments.quick else 20)
    if HPA.is_file() and not arguments.quick:
        targets = read_hpa()
        rows += rows_of("hpa2018", make_probs(targets), targets, np.arange(len(targets)), 5)
    if IMET.is_file() and not arguments.quick:
        targets = read_targets()[:30_000]
        rows += rows_of("imet2019", make_probs(targets), targets, np.arange(len(targets)), 2)
    if not rows:
        sys.exit(f"{SHARED} is not here")
    finish(rows, arguments)


if __name__ == "__main__":
    main()
