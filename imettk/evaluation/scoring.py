"""What out-of-fold predictions are worth: honest scores with their intervals, a row for each label, a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imettk.config import Recipe
from imettk.data.csv_files import read_csv
from imettk.data.table import SampleTable
from imettk.evaluation.rules import RuleFitter, metric_name, score
from imettk.files import write_atomically
from imettk.metrics import METRICS
from imettk.metrics.labels import Average, f_beta, focal_loss, label_rows
from imettk.pictures.plots import draw_shares
from imettk.postprocess.honest import cross_fit, draw_rows, score_interval, threshold_intervals
from imettk.postprocess.ratio import drift, sensitivity
from imettk.postprocess.rule import Rule
from imettk.progress import progress_bar, say

NUM_RARE = 5  # rarest labels, in the table of a possible shake-up
AVERAGES: tuple[Average, ...] = ("samples", "macro", "micro")


def honest_scores(
    recipe: Recipe,
    fitter: RuleFitter,
    probs: np.ndarray,
    targets: np.ndarray,
    folds: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    num_test: int | None = None,
) -> tuple[dict[str, Any], np.ndarray]:
    """What goes into `scores.json`, and the answers: each fold's by a rule that was fitted on the others.

    Args:
        probs: out of fold, float (N, C).
        folds: int64 (N,); of a single one, the rule is fitted on the rows that it is scored on.
        groups: rows that belong together, for intervals.
        num_test: rows of the test set, for the interval of its score.
    """
    several = len(np.unique(folds)) > 1
    fit = fitter.on(probs, targets, folds)
    if several and recipe.table.task == "multilabel":
        answers, _ = cross_fit(fit, probs, folds)
    else:
        answers = fit(np.arange(len(probs))).apply(probs)
    scores: dict[str, Any] = {
        "metric": metric_name(recipe),
        "folds": {
            str(fold): score(recipe, answers[folds == fold], targets[folds == fold]) for fold in np.unique(folds)
        },
        "oof": score(recipe, answers, targets),
        "constant": recipe.scorer.best_constant(targets),
        "log_loss": METRICS["log_loss"].bound(recipe.task.targets).score(probs, targets),
        "rows": len(probs),
        "rule_fitted_on_other_folds": several,
    }
    if recipe.table.task == "multilabel":
        scores["focal_loss"] = focal_loss(probs, targets)
        for average in AVERAGES:
            for beta in (1, 2):
                scores[f"{average} F{beta}"] = f_beta(answers, targets, beta=beta, average=average)
        scores["interval"] = score_interval(answers, targets, fitter.goal, groups=groups)
        if num_test:
            scores["interval_test"] = score_interval(answers, targets, fitter.goal, groups=groups, other_rows=num_test)
    return scores, answers


def tell_scores(scores: dict[str, Any]) -> None:
    """Print the lines that a user looks for."""
    for fold, value in scores["folds"].items():
        say(f"  fold {fold}   {scores['metric']} {value:.4f}")
    say(f"  OOF      {scores['metric']} {scores['oof']:.4f}   (best constant answer {scores['constant']:.4f})")
    if "interval" in scores:
        low, high = scores["interval"]
        test = scores.get("interval_test")
        on_test = f"; on the test set {test[0]:.4f} to {test[1]:.4f}, if it is alike" if test else ""
        say(f"           95% interval {low:.4f} to {high:.4f}{on_test}")


def write_label_table(
    path: Path,
    recipe: Recipe,
    fitter: RuleFitter,
    rule: Rule,
    table: SampleTable,
    probs: np.ndarray,
    answers: np.ndarray,
) -> None:
    """A csv with a row a label: rows, precision, recall, F-beta, threshold and its bootstrap interval; and a picture.

    Labels that have a name beside their id get a column `name`.

    Args:
        table: the rows, with targets.
        probs: of these rows, float (N, C).
        answers: bool (N, C) or int64 (N,), by rules that have not seen these rows.
    """
    targets = table.targets
    assert targets is not None
    if targets.ndim == 1:
        targets, answers = (np.arange(len(table.labels)) == each[:, None] for each in (targets, answers))
    names = {"name": table.label_titles} if table.label_titles else {}
    frame = pd.DataFrame(
        {"label": table.labels, **names, "group": table.label_groups}
        | label_rows(probs, answers, targets, beta=recipe.rule.beta)
    )
    if rule.kind == "threshold" and recipe.rule.kind != "top":
        frame["threshold"] = rule.thresholds
        draws, fit = int(np.clip(1e8 / probs.size, 20, 40)), fitter.on(probs, targets, shrunk=False)
        with progress_bar("bootstrap thresholds", total=draws, unit="draw") as bar:

            def refit(rows: np.ndarray) -> Rule:
                bar.update()
                return fit(rows)

            frame[["threshold_low", "threshold_high"]] = threshold_intervals(
                refit, draw_rows(len(probs), table.groups, draws)
            )
    elif rule.kind == "share":
        chosen = rule.apply(probs)
        frame["share"], frame["drift"] = rule.shares, drift(chosen, np.array(rule.shares))
        tell_drift(rule, chosen)
    write_atomically(path, frame.to_csv(index=False, float_format="%.6g").encode())
    if rule.kind == "share":
        _tell_shake_up(recipe, rule, table, probs)
    shares = {
        "true": targets.mean(0),
        "before thresholds (mean probability)": probs.mean(0),
        "after thresholds (answers)": answers.mean(0),
    }
    draw_shares(path.with_suffix(".png"), table.titles, shares)


def tell_drift(rule: Rule, answers: np.ndarray) -> None:
    """Print how far answers, bool (N, C), are off the shares that a rule keeps; of another rule nothing."""
    if rule.kind == "share":
        off = drift(answers, np.array(rule.shares))
        say(f"  answers hold {np.abs(off).sum()} labels more or less than their shares ({off.sum():+d} in all)")


def _tell_shake_up(recipe: Recipe, rule: Rule, table: SampleTable, probs: np.ndarray) -> None:
    """Print what the score would be if the answers held a few rows more or fewer of a rare label."""
    targets, shares = table.targets, np.array(rule.shares)
    assert targets is not None
    rare = np.argsort(np.where(shares > 0, shares, 2), kind="stable")[:NUM_RARE]
    scores = sensitivity(
        probs,
        shares,
        lambda answers: score(recipe, answers, targets),
        lambda some, changed: replace(rule, shares=tuple(changed.tolist())).apply(some),
        labels=rare,
    )
    most = scores.shape[1] // 2
    say(f"  {metric_name(recipe)} with fewer or more rows of a rare label (shares as all rows have them):")
    say("  " + f"{'label':<14}{'rows':>6}" + "".join(f"{step:>+9}" for step in range(-most, most + 1)))
    for label, row in zip(rare, scores, strict=True):
        cells = "".join(f"{value:>9.4f}" for value in row)
        say(f"  {table.labels[label][:13]:<14}{round(shares[label] * len(probs)):>6}{cells}")


def count_test_rows(recipe: Recipe, data_dir: Path) -> int | None:
    """Rows of the sample submission, where it is there."""
    path = data_dir / recipe.table.sample_csv
    return len(read_csv(path)) if path.is_file() else None
