"""Honest scores of out-of-fold predictions, with their intervals; a table and a picture of labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from imettk.config import Recipe
from imettk.data.asked_rows import find_row_source, read_test_rows
from imettk.data.sample_table import LabelledTable
from imettk.evaluation.evidence import keep_curves
from imettk.evaluation.paired import keep_judged_oof
from imettk.evaluation.rules import POOL
from imettk.evaluation.units import Pooled
from imettk.experiment.rule_file import keep_rule
from imettk.files import write_atomically
from imettk.metrics import METRICS, Scorer
from imettk.metrics.labels import label_rows
from imettk.metrics.values import value_rows
from imettk.pictures.plots import draw_shares
from imettk.postprocess.fitters import RuleFitter
from imettk.postprocess.honest import cross_fit, score_interval
from imettk.postprocess.rule import Rule
from imettk.progress import say
from imettk.tracking.files import write_json
from imettk.tracking.run_dir import LABEL_SCORES, RunDir


@dataclass(frozen=True)
class OutOfFold:
    """Predictions out of fold, and what judges them.

    Attributes:
        table: of these rows (or units), with targets, and groups for intervals.
        pooled: their predictions.
        folds: int64 (N,).
    """

    fitter: RuleFitter
    table: LabelledTable
    pooled: Pooled
    folds: np.ndarray

    @property
    def targets(self) -> np.ndarray:
        return self.table.targets


def judge_oof(
    recipe: Recipe, data_dir: Path, run: RunDir, oof: OutOfFold, *, more: Mapping[str, Any] = MappingProxyType({})
) -> tuple[Rule, np.ndarray]:
    """Fit the rule; write it, its scores, the table of labels and the curves; print the scores.

    Args:
        more: further content of `scores.json`.

    Returns:
        The rule, fitted on all rows, and decisions of rules that have not seen them.
    """
    fitter, table, targets, probs = oof.fitter, oof.table, oof.targets, oof.pooled.probs
    rule = fitter.fit(probs, targets, oof.folds)
    scores, answers = honest_scores(
        recipe,
        fitter,
        probs,
        targets,
        oof.folds,
        groups=table.groups,
        num_test=count_test_rows(recipe, data_dir),
        by_fold=oof.pooled.by_fold,
    )
    content = rule.to_json() | ({} if oof.pooled.pool is None else {POOL: oof.pooled.pool})
    keep_rule(run, content, recipe, table.labels, np.unique(oof.folds))
    if parts := fitter.part_scores(answers, targets):
        scores["parts"] = parts
    write_json(run.path / "scores.json", scores | oof.pooled.values() | dict(more))
    keep_judged_oof(run, fitter, table, oof.pooled, answers, oof.folds)
    path = run.path / LABEL_SCORES
    decided = rule.decisions(answers)
    write_label_table(path, recipe, oof, rule, decided)
    say(f"{path}{'' if recipe.task.numeric else ' and .png'}: {_of_labels(recipe)}")
    shown = answers if recipe.rule_row.answers_numbers else probs
    keep_curves(recipe, run, table, fitter=fitter, rule=rule, probs=probs, shown=shown, decided=decided)
    tell_scores(scores)
    if (line := fitter.tell(rule, answers, probs, targets)) is not None:
        say(f"  {line}")
    return rule, decided


def _of_labels(recipe: Recipe) -> str:
    return "how far each target is off" if recipe.task.numeric else "what each label scores, its threshold and share"


def honest_scores(
    recipe: Recipe,
    fitter: RuleFitter,
    probs: np.ndarray,
    targets: np.ndarray,
    folds: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    num_test: int | None = None,
    by_fold: Mapping[int, np.ndarray] = MappingProxyType({}),
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the content of `scores.json`, and answers: each fold's by a rule fitted on the other folds.

    Args:
        probs: out of fold, float (N, O).
        folds: int64 (N,); of a single one, the rule is fitted on the rows that it is scored on.
        groups: rows that belong together, for intervals.
        num_test: rows of the test set, for the interval of its score.
        by_fold: for some folds, predictions of all rows, float (N, O), as the other folds would have made them.
    """
    several, scorer = len(np.unique(folds)) > 1, fitter.scorer
    answers, probs, rule = answer_honestly(fitter, probs, targets, folds, by_fold=by_fold)
    given, truth = fitter.judged(answers, probs, targets)
    scores: dict[str, Any] = {
        "metric": scorer.name,
        "title": scorer.title,
        "folds": {str(fold): scorer.score(given[folds == fold], truth[folds == fold]) for fold in np.unique(folds)},
        "oof": scorer.score(given, truth),
        "constant": scorer.best_constant(truth),
        "rows": len(probs),
        "rule_fitted_on_other_folds": several and fitter.learns,
    }
    if not scorer.higher:
        scores["lower_is_better"] = True
    for title, (name, params) in recipe.task.reported.items():
        beside = METRICS[name].bound(recipe.task.targets, params)
        scores[title] = beside.score(beside.judged(rule.decisions(answers), probs), targets)
    scores["interval"] = interval_of(scorer, given, truth, groups=groups)
    if num_test:
        scores["interval_test"] = interval_of(scorer, given, truth, groups=groups, other_rows=num_test)
    return scores, answers


def answer_honestly(
    fitter: RuleFitter,
    probs: np.ndarray,
    targets: np.ndarray,
    folds: np.ndarray,
    *,
    by_fold: Mapping[int, np.ndarray] = MappingProxyType({}),
) -> tuple[np.ndarray, np.ndarray, Rule]:
    """Return answers of rules fitted on the other folds, if there are any; the predictions; and one of these rules.

    Arguments as of `honest_scores`.
    """
    answers, rule = _answer_fold_by_fold(fitter, probs, targets, folds)
    # A pool chosen on all rows has seen the rows of each fold, so a fold is judged by the pool that the others choose.
    if by_fold:
        answers, probs = answers.copy(), Pooled(probs, by_fold).honest(folds)
    for fold, chosen_by_others in by_fold.items():
        rows = folds == fold
        several = len(np.unique(folds)) > 1
        others = np.flatnonzero(~rows) if several and fitter.learns else np.arange(len(folds))
        answers[rows] = fitter.on(chosen_by_others, targets, folds)(others).apply(chosen_by_others[rows])
    return answers, probs, rule


def _answer_fold_by_fold(
    fitter: RuleFitter, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray
) -> tuple[np.ndarray, Rule]:
    """Return answers of rules fitted on the other folds, if there are any, and one of these rules."""
    fit = fitter.on(probs, targets, folds)
    if len(np.unique(folds)) > 1 and fitter.learns:
        answers, rules = cross_fit(fit, probs, folds)
        return answers, next(iter(rules.values()))
    rule = fit(np.arange(len(probs)))
    return rule.apply(probs), rule


def interval_of(
    scorer: Scorer,
    given: np.ndarray,
    targets: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    other_rows: int | None = None,
) -> tuple[float, float]:
    """Return a 95% interval of a score; see `score_interval`."""
    return score_interval(
        scorer.resampled(given, targets),
        len(targets),
        low=scorer.metric.low,
        high=scorer.high,
        groups=groups,
        other_rows=other_rows,
    )


def tell_scores(scores: Mapping[str, Any], details: Iterable[str] = ()) -> None:
    """Print the score of each fold and of all together, its interval, and below them the details."""
    title = scores["title"]
    for fold, value in scores["folds"].items():
        say(f"  fold {fold}   {title} {value:.4f}")
    constant = "" if scores["constant"] is None else f"   (best constant answer {scores['constant']:.4f})"
    say(f"  OOF      {title} {scores['oof']:.4f}{constant}")
    low, high = scores["interval"]
    test = scores.get("interval_test")
    on_test = f"; on the test set {test[0]:.4f} to {test[1]:.4f}, if it is alike" if test else ""
    say(f"           95% interval {low:.4f} to {high:.4f}{on_test}")
    for line in details:
        say(f"           {line}")


def write_label_table(path: Path, recipe: Recipe, oof: OutOfFold, rule: Rule, answers: np.ndarray) -> None:
    """Write a csv with a row a label (rows, precision, recall, F-beta, what the rule says of it), and a picture.

    Labels that have a name beside their id get a column `name`. If the network has other outputs than one number a
    label, there is no average precision, and no expected number of rows.

    Args:
        answers: decisions of rules that have not seen these rows.
    """
    fitter, table, probs = oof.fitter, oof.table, oof.pooled.probs
    targets, num_labels = oof.targets, len(table.labels)
    if recipe.task.numeric:
        described = fitter.describe(rule, probs, targets, table.groups)
        frame = pd.DataFrame({"label": table.labels} | value_rows(answers, targets) | dict(described))
        return write_atomically(path, frame.to_csv(index=False, float_format="%.6g").encode())
    true, chosen = (recipe.task.label_matrix(values, num_labels) for values in (targets, answers))
    label_probs = recipe.task.label_probs(probs)
    names = {"name": table.label_titles} if table.label_titles else {}
    frame = pd.DataFrame(
        {"label": table.labels, **names, "group": table.label_groups}
        | label_rows(label_probs, chosen, true, beta=recipe.fitted_rule.beta)
    )
    for column, values in fitter.describe(rule, probs, targets, table.groups).items():
        frame[column] = values
    write_atomically(path, frame.to_csv(index=False, float_format="%.6g").encode())
    tell_drift(rule, rule.apply(probs))
    _tell_shake_up(recipe, oof, rule)
    shares = {
        "true": recipe.task.label_shares(targets, num_labels).mean(0),
        "before thresholds (mean probability)": label_probs.mean(0),
        "after thresholds (answers)": chosen.mean(0),
    }
    draw_shares(path.with_suffix(".png"), table.titles, shares)


def tell_drift(rule: Rule, answers: np.ndarray) -> None:
    """Print how far answers differ from the share that the rule promises each label, if it promises any."""
    if (off := rule.drift(answers)) is not None:
        say(f"  answers hold {np.abs(off).sum()} labels more or less than their shares ({off.sum():+d} in all)")


def _tell_shake_up(recipe: Recipe, oof: OutOfFold, rule: Rule) -> None:
    """Print the score if the answers held a few rows more or fewer of a rare label."""
    targets, scorer, table = oof.targets, recipe.scorer, oof.table
    if scorer.needs != "answers":
        return
    shaken = oof.fitter.shake_up(rule, oof.pooled.probs, targets, lambda answers: scorer.score(answers, targets))
    if shaken is None:
        return
    labels, rows, scores = shaken
    most = scores.shape[1] // 2
    say(f"  {scorer.title} with fewer or more rows of a rare label (shares as all rows have them):")
    say("  " + f"{'label':<14}{'rows':>6}" + "".join(f"{step:>+9}" for step in range(-most, most + 1)))
    for label, count, row in zip(labels, rows, scores, strict=True):
        cells = "".join(f"{value:>9.4f}" for value in row)
        say(f"  {table.labels[label][:13]:<14}{count:>6}{cells}")


def count_test_rows(recipe: Recipe, data_dir: Path) -> int | None:
    """Return the number of rows in the test set, None if it is not there."""
    return None if find_row_source(recipe.table, data_dir) is None else len(read_test_rows(recipe.table, data_dir))
