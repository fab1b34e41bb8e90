"""The confidence and power of pseudo labels, chosen for each fold on the out-of-fold rows of the others.

Soft labels are worth what they tell about the truth: the log loss of the labels' shares less that of the predictions,
summed over the rows that are sure enough. So doubtful rows count little, overconfident ones against it, and a power
that makes predictions too certain loses (it is temperature scaling, arXiv 1706.04599). Hard labels are worth the rows
that are right, discounted for those that are wrong; see `worth`. Nothing is trained to choose, and the validation rows
of a fold have no part in its choice.

Its limits: a network's mistakes are no random noise, and a student inherits them; test rows must be like training rows,
or the predictions are surer than they should be; and the value of a row for training is more than what it tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from imettk.config import Recipe
from imettk.errors import ConfigError, MissingFileError
from imettk.evaluation.members import OOF
from imettk.evaluation.rules import fitter_of
from imettk.inference.predictor import load_predictions
from imettk.postprocess.pseudo import CONFIDENCE, Selection, worth
from imettk.postprocess.rule import Rule
from imettk.progress import say
from imettk.tracking.run_dir import RunDir

CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
POWERS = (1.0, 0.7, 1.5, 2.0, 3.0)  # among equals the first counts


@dataclass(frozen=True)
class _Rows:
    """Out-of-fold rows whose truth is known: predictions, float (N, O), and targets."""

    probs: np.ndarray
    targets: np.ndarray
    label_groups: tuple[str, ...]
    labels: tuple[str, ...]


def choose_selections(
    recipe: Recipe, run: RunDir, rule: Rule, folds: list[int], selection: Selection
) -> list[tuple[Selection, Rule]]:
    """Return the selection of each fold, with what was left open chosen on the other folds, and the rule of these.

    Args:
        rule: fitted on all rows; it answers where no rule can be fitted on fewer.

    Raises:
        ConfigError: there is only one fold, or the predictions tell nothing about the truth.
    """
    if rule.sure_by_agreement:
        confidence = CONFIDENCE if selection.confidence is None else selection.confidence
        say(f"note: numbers have no probabilities to choose by: confidence {confidence:g}")
        return [(replace(selection, confidence=confidence, power=1.0), rule)] * len(folds)
    require_other_folds(folds)
    chosen = []
    for fold, rows in zip(folds, _rows_of_others(recipe, run, folds), strict=True):
        fitted = _fit(recipe, rule, rows)
        complete = (_choose_hard if selection.hard else _choose_soft)(recipe, fitted, rows, selection)
        chosen.append((complete, fitted))
        say(f"fold {fold}: {_describe(complete)}, chosen on the {len(rows.probs)} rows of other folds")
    return chosen


def rules_of_others(recipe: Recipe, run: RunDir, rule: Rule, folds: list[int]) -> list[Rule]:
    """Return the rule of each fold, fitted on the out-of-fold rows of the others, if several folds have such rows.

    Args:
        rule: fitted on all rows; it answers where no rule can be fitted on fewer.
    """
    validated = all(run.find_optional(f"fold{fold}/{OOF}") is not None for fold in folds)
    if rule.sure_by_agreement or len(folds) < 2 or not validated:
        return [rule] * len(folds)
    return [_fit(recipe, rule, rows) for rows in _rows_of_others(recipe, run, folds)]


def require_other_folds(folds: Sequence[int]) -> None:
    """Raise `ConfigError` if a fold has no others on whose rows its selection could be chosen."""
    if len(folds) < 2:
        raise ConfigError(
            f"confidence and power of a fold are chosen on the rows of others, and only fold {folds[0]} is trained: "
            "train another, or give --confidence and --power"
        )


def _rows_of_others(recipe: Recipe, run: RunDir, folds: list[int]) -> Iterator[_Rows]:
    """Yield, for each fold, the out-of-fold rows of all the others."""
    parts = [_read_oof(recipe, run, fold) for fold in folds]
    for place, part in enumerate(parts):
        others = [other for number, other in enumerate(parts) if number != place]
        yield replace(
            part,
            probs=np.concatenate([other.probs for other in others]),
            targets=np.concatenate([other.targets for other in others]),
        )


def _read_oof(recipe: Recipe, run: RunDir, fold: int) -> _Rows:
    file = load_predictions(run.find(f"fold{fold}/{OOF}", written_by="validate"))
    if file.targets is None:
        raise MissingFileError(f"{run.path}/fold{fold}/{OOF} has no targets: run `imettk validate` again")
    known = recipe.task.learnable(file.targets)
    groups, labels = (tuple(file.values[name]) for name in ("label_groups", "labels"))
    return _Rows(file.merged[known], file.targets[known], groups, labels)


def _fit(recipe: Recipe, rule: Rule, rows: _Rows) -> Rule:
    """Return the recipe's rule, fitted on these rows; the given one where answers are ranked, or shares are given."""
    if "ranked" in recipe.rule_row.gives or recipe.rule.shares_csv is not None:
        return rule
    fit = fitter_of(recipe, rows.label_groups, labels=rows.labels).on(rows.probs, rows.targets)
    return fit(np.arange(len(rows.probs)))


def _choose_soft(recipe: Recipe, rule: Rule, rows: _Rows, selection: Selection) -> Selection:
    """Return the selection whose soft labels tell most about these rows."""
    task, levels = recipe.task, rule.confidence(rows.probs)
    shares = task.soft_answers(rows.targets, rows.probs.shape[1]).mean(0, keepdims=True)
    constant = task.row_losses(np.broadcast_to(shares, rows.probs.shape), rows.targets)
    powers = POWERS if selection.power is None else (selection.power,)
    best, most = selection, 0.0
    for power in powers:
        told = constant - task.row_losses(task.sharpen(rows.probs, power, rows.label_groups), rows.targets)
        for candidate in _candidates(replace(selection, power=power)):
            sure = candidate.take(levels, task.label_probs(rows.probs).argmax(1))
            if (value := float(told[sure].sum())) > most:
                best, most = candidate, value
    if best.is_open:
        raise ConfigError(
            "the out-of-fold predictions tell less about the truth than the shares of labels do: train longer before "
            "labels are made of them, or give --confidence and --power"
        )
    return best


def _choose_hard(recipe: Recipe, rule: Rule, rows: _Rows, selection: Selection) -> Selection:
    """Return the selection whose answers are worth most on these rows."""
    levels, answers = rule.confidence(rows.probs), rule.decisions(rule.apply(rows.probs))
    right = recipe.task.agreement(answers[:, None], rows.targets[:, None])[:, 0, 0]
    labels = recipe.task.label_probs(rows.probs).argmax(1)
    candidates = _candidates(replace(selection, power=1.0))
    values = [worth(candidate.take(levels, labels), right) for candidate in candidates]
    if max(values) <= 0:
        raise ConfigError("the out-of-fold answers are more wrong than right at any confidence: leave out --hard")
    return candidates[int(np.argmax(values))]


def _candidates(selection: Selection) -> list[Selection]:
    """Return the selection with each confidence, if that is open."""
    if not selection.is_open:
        return [selection]
    return [replace(selection, confidence=confidence) for confidence in CONFIDENCES]


def _describe(selection: Selection) -> str:
    what = f"share {selection.share:g}" if selection.confidence is None else f"confidence {selection.confidence:g}"
    return what if selection.hard else f"{what}, power {selection.power:g}"
