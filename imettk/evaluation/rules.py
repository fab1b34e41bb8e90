"""From a recipe's plan to a fitted decision rule, and what its answers score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from imettk.config import Recipe
from imettk.metrics.labels import accuracy, f_beta
from imettk.postprocess.honest import choose_strength, shrink
from imettk.postprocess.ratio import share_thresholds
from imettk.postprocess.rule import Rule, relative_to_row
from imettk.postprocess.thresholds.candidates import Candidates, find_candidates
from imettk.postprocess.thresholds.fit import fit_candidates, fit_top
from imettk.postprocess.thresholds.goal import Goal
from imettk.progress import progress_bar

NUM_FOLDS = 5  # of the cross-validation that chooses how far thresholds are shrunk
LARGE = 5_000_000  # probabilities from which on a slow fit shows a bar


class RuleFitter:
    """Fits the rule of a recipe to some rows.

    Args:
        label_groups: of each label, (C,).
        given_shares: of each label, float64 (C,), where the recipe names a table of them.
    """

    def __init__(self, recipe: Recipe, label_groups: tuple[str, ...], given_shares: np.ndarray | None = None) -> None:
        plan = self._plan = recipe.rule
        self.goal = Goal(plan.beta, plan.average, plan.min_labels, plan.max_labels)
        self._groups = np.unique(label_groups, return_inverse=True)[1]
        self._given_shares = given_shares

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        """The rule, fitted on these rows.

        Args:
            probs: float (N, C).
            targets: uint8 (N, C), or int64 (N,).
            folds: int64 (N,), rows that belong together have one; to choose how far thresholds are shrunk.
        """
        kind, strength = self._plan.kind, self._plan.shrink_strength
        if kind == "argmax":
            return Rule("argmax")
        if kind == "top":
            return fit_top(probs, targets, self.goal)
        if kind == "share":
            limits: dict[str, Any] = {"min_labels": self.goal.min_labels, "max_labels": self.goal.max_labels}
            return Rule("share", shares=tuple(self.shares(targets).tolist()), relative=self._plan.relative, **limits)
        if kind != "class_thresholds" or self._plan.shrink_to == "none":
            return self._thresholds(kind, probs, targets)

        def each(rows: np.ndarray) -> Rule:
            return self._thresholds(kind, probs[rows], targets[rows])

        def toward(rows: np.ndarray) -> Rule:
            return self._toward(probs[rows], targets[rows])

        if strength is None:
            parts = np.arange(len(probs)) % NUM_FOLDS if folds is None or len(np.unique(folds)) < 2 else folds
            strength, _ = choose_strength(each, toward, probs, targets, parts, self.goal)
        everything = np.arange(len(probs))
        return shrink(each(everything), toward(everything), np.count_nonzero(targets, axis=0), strength)

    def on(
        self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None, *, shrunk: bool = True
    ) -> Callable[[np.ndarray], Rule]:
        """A function that fits the rule to some of these rows, int64 (M,): what all fits have in common is done once.

        Args:
            shrunk: if not, thresholds are as they were fitted, to see how they scatter.
        """
        kind = self._plan.kind
        if kind in ("threshold", "group_thresholds") or (kind == "class_thresholds" and not shrunk):
            found = self._find(kind, probs, targets)
            return lambda rows: self._fit_found(found.take(rows))
        return lambda rows: self.fit(probs[rows], targets[rows], None if folds is None else folds[rows])

    def fit_quickly(self, probs: np.ndarray, targets: np.ndarray) -> Rule:
        """A rule for a curve: one threshold, or one a group, in place of one a label."""
        if self._plan.kind == "class_thresholds":
            return self._thresholds("threshold", probs, targets)
        return self.fit(probs, targets)

    def shares(self, targets: np.ndarray) -> np.ndarray:
        """Of the rows that each label should have, float64 (C,)."""
        own = np.count_nonzero(targets, axis=0) / len(targets)
        if self._given_shares is None:
            return own
        return self._given_shares if self._plan.shares == "csv" else (own + self._given_shares) / 2

    def _thresholds(self, kind: str, probs: np.ndarray, targets: np.ndarray) -> Rule:
        return self._fit_found(self._find(kind, probs, targets))

    def _find(self, kind: str, probs: np.ndarray, targets: np.ndarray) -> Candidates:
        groups = {"group_thresholds": self._groups, "class_thresholds": np.arange(probs.shape[1])}.get(kind)
        return find_candidates(probs, targets, self.goal, groups=groups, relative=self._plan.relative)

    def _fit_found(self, found: Candidates) -> Rule:
        limited = self.goal.min_labels > 0 or self.goal.max_labels is not None
        if not found.groups.any() or not (limited or self.goal.average == "samples") or found.probs.size < LARGE:
            return fit_candidates(found, self.goal)
        with progress_bar("fit thresholds", total=None, unit="step") as bar:
            return fit_candidates(found, self.goal, tell=bar.update)

    def _toward(self, probs: np.ndarray, targets: np.ndarray) -> Rule:
        if self._plan.shrink_to != "shares":
            kind = "threshold" if self._plan.shrink_to == "one" else "group_thresholds"
            return self._thresholds(kind, probs, targets)
        limits: dict[str, Any] = {"min_labels": self.goal.min_labels, "max_labels": self.goal.max_labels}
        scale = relative_to_row(probs) if self._plan.relative else probs
        return Rule(
            "threshold",
            tuple(share_thresholds(scale, np.count_nonzero(targets, axis=0) / len(targets)).tolist()),
            relative=self._plan.relative,
            **limits,
        )


def score(recipe: Recipe, answers: np.ndarray, targets: np.ndarray) -> float:
    """The recipe's metric: an F-beta, or accuracy."""
    if recipe.table.task == "multiclass":
        return accuracy(answers, targets)
    return f_beta(answers, targets, beta=recipe.rule.beta, average=recipe.rule.average)


def metric_name(recipe: Recipe) -> str:
    """How to call the metric in what is printed: `F2`, `macro F1` or `accuracy`."""
    if recipe.table.task == "multiclass":
        return "accuracy"
    average = "" if recipe.rule.average == "samples" else f"{recipe.rule.average} "
    return f"{average}F{recipe.rule.beta:g}"
