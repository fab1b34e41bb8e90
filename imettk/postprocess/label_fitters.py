"""Fitters of rules for labels: thresholds, a number of labels a row, and shares of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from imettk.metrics import METRICS
from imettk.postprocess.fitters import FitContext, FitToRows, RuleFitter
from imettk.postprocess.honest import choose_strength, draw_rows, shrink, threshold_intervals
from imettk.postprocess.ratio import sensitivity, share_thresholds
from imettk.postprocess.rule import Rule, Shares, Thresholds, relative_to_row
from imettk.postprocess.thresholds.candidates import Candidates, find_candidates
from imettk.postprocess.thresholds.fit import fit_candidates, fit_top
from imettk.postprocess.thresholds.goal import Goal
from imettk.postprocess.thresholds.trace import trace_threshold
from imettk.progress import progress_bar

NUM_FOLDS = 5  # of the cross-validation that chooses the strength of shrinkage
LARGE = 5_000_000  # probabilities from which on a slow fit shows a progress bar


class _LabelFitter(RuleFitter):
    """Base of the fitters of label rules: the F-beta that they are fitted for, and the limits of labels a row."""

    def __init__(self, context: FitContext) -> None:
        super().__init__(context)
        plan = context.plan
        self.goal: Goal = Goal(plan.beta, plan.average, plan.min_labels, plan.max_labels)
        self._limits: dict[str, Any] = {"min_labels": plan.min_labels, "max_labels": plan.max_labels}

    def trace(self, rule: Rule, probs: np.ndarray, targets: np.ndarray, at: np.ndarray) -> dict[str, Any] | None:
        plan = self.context.plan
        scale = relative_to_row(probs) if plan.relative else probs
        scores = trace_threshold(scale, targets, at, beta=plan.beta, average=plan.average)
        title = METRICS["f_beta"].bound("labels", {"beta": plan.beta, "average": plan.average}).title
        return {"metric": title, "scores": scores, "own": self._own(rule), "relative": plan.relative}

    def _own(self, rule: Rule) -> list[float]:
        return sorted({value for value in getattr(rule, "thresholds", ()) if 0 <= value <= 1})


class _ThresholdFitter(_LabelFitter):
    """Fitter of thresholds for all labels together, for groups of labels, or for each label."""

    rule = Thresholds

    def _groups(self, num_labels: int) -> np.ndarray | None:
        """Return the group of each label, int64 (C,), each with its own threshold; None for a single group."""
        return None

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        return self._fit_candidates(self._find(probs, targets, self._groups(probs.shape[1])))

    def on(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> FitToRows:
        candidates = self._find(probs, targets, self._groups(probs.shape[1]))
        return lambda rows: self._fit_candidates(candidates.take(rows))

    def describe(
        self, rule: Rule, probs: np.ndarray, targets: np.ndarray, groups: np.ndarray | None
    ) -> Mapping[str, Any]:
        """Return each threshold, and its interval over bootstrap samples of the rows."""
        assert isinstance(rule, Thresholds)
        draws, fit = int(np.clip(1e8 / probs.size, 20, 40)), self.unshrunk(probs, targets)  # fewer for large tables
        with progress_bar("bootstrap thresholds", total=draws, unit="draw") as bar:

            def refit(rows: np.ndarray) -> Thresholds:
                bar.update()
                fitted = fit(rows)
                assert isinstance(fitted, Thresholds)
                return fitted

            bounds = threshold_intervals(refit, draw_rows(len(probs), groups, draws))
        return {"threshold": rule.thresholds, "threshold_low": bounds[:, 0], "threshold_high": bounds[:, 1]}

    def unshrunk(self, probs: np.ndarray, targets: np.ndarray) -> FitToRows:
        """Return fits without shrinkage, whose thresholds show their variance."""
        return self.on(probs, targets)

    def _find(self, probs: np.ndarray, targets: np.ndarray, groups: np.ndarray | None) -> Candidates:
        return find_candidates(probs, targets, self.goal, groups=groups, relative=self.context.plan.relative)

    def _fit_candidates(self, candidates: Candidates) -> Thresholds:
        limited = self.goal.min_labels > 0 or self.goal.max_labels is not None
        is_ascent = candidates.groups.any() and (limited or self.goal.average == "samples")  # the only slow fit
        if not is_ascent or candidates.probs.size < LARGE:
            return fit_candidates(candidates, self.goal)
        with progress_bar("fit thresholds", total=None, unit="step") as bar:
            return fit_candidates(candidates, self.goal, tell=bar.update)


class OneThreshold(_ThresholdFitter):
    """Fitter of the rule `threshold`."""


class GroupThresholds(_ThresholdFitter):
    """Fitter of the rule `group_thresholds`."""

    def _groups(self, num_labels: int) -> np.ndarray | None:
        return np.unique(self.context.label_groups, return_inverse=True)[1]


class ClassThresholds(_ThresholdFitter):
    """Fitter of the rule `class_thresholds`, with shrinkage if the recipe sets it."""

    def _groups(self, num_labels: int) -> np.ndarray | None:
        return np.arange(num_labels)

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        plan = self.context.plan
        if plan.shrink_to == "none":
            return super().fit(probs, targets)

        def each(rows: np.ndarray) -> Thresholds:
            return self._fit_candidates(self._find(probs[rows], targets[rows], self._groups(probs.shape[1])))

        def toward(rows: np.ndarray) -> Thresholds:
            return self._toward(probs[rows], targets[rows])

        strength = plan.shrink_strength
        if strength is None:
            parts = np.arange(len(probs)) % NUM_FOLDS if folds is None or len(np.unique(folds)) < 2 else folds
            strength, _ = choose_strength(each, toward, probs, targets, parts, self.goal)
        everything = np.arange(len(probs))
        return shrink(each(everything), toward(everything), np.count_nonzero(targets, axis=0), strength)

    def on(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> FitToRows:
        return lambda rows: self.fit(probs[rows], targets[rows], None if folds is None else folds[rows])

    def fit_quickly(self, probs: np.ndarray, targets: np.ndarray) -> Rule:
        return self._fit_candidates(self._find(probs, targets, None))

    def unshrunk(self, probs: np.ndarray, targets: np.ndarray) -> FitToRows:
        """Return fits without shrinkage, which would hide the variance of the thresholds."""
        return super().on(probs, targets)

    def _toward(self, probs: np.ndarray, targets: np.ndarray) -> Thresholds:
        plan = self.context.plan
        if plan.shrink_to != "shares":
            groups = None if plan.shrink_to == "one" else np.unique(self.context.label_groups, return_inverse=True)[1]
            return self._fit_candidates(self._find(probs, targets, groups))
        scale = relative_to_row(probs) if plan.relative else probs
        thresholds = share_thresholds(scale, np.count_nonzero(targets, axis=0) / len(targets))
        return Thresholds(thresholds=tuple(thresholds.tolist()), relative=plan.relative)


class TopLabels(_LabelFitter):
    """Fitter of the rule `top`."""

    rule = Thresholds

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        return fit_top(probs, targets, self.goal)


class LabelShares(_LabelFitter):
    """Fitter of the rule `share`."""

    rule = Shares
    NUM_RARE: ClassVar[int] = 5  # rarest labels in the table of a possible shake-up

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        shares = tuple(self._shares(targets).tolist())
        return Shares(shares=shares, relative=self.context.plan.relative, **self._limits)

    def _shares(self, targets: np.ndarray) -> np.ndarray:
        """Return the share of rows that each label should have, float64 (C,)."""
        in_training, in_table = np.count_nonzero(targets, axis=0) / len(targets), self.context.given_shares
        if in_table is None:
            return np.asarray(in_training)
        return in_table if self.context.plan.shares == "csv" else (in_training + in_table) / 2

    def describe(
        self, rule: Rule, probs: np.ndarray, targets: np.ndarray, groups: np.ndarray | None
    ) -> Mapping[str, Any]:
        assert isinstance(rule, Shares)
        return {"share": rule.shares, "drift": rule.drift(rule.apply(probs))}

    def shake_up(
        self, rule: Rule, probs: np.ndarray, targets: np.ndarray, score: Callable[[np.ndarray], float]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        assert isinstance(rule, Shares)
        shares = np.array(rule.shares)
        rare = np.argsort(np.where(shares > 0, shares, 2), kind="stable")[: self.NUM_RARE]  # absent labels come last

        def apply(rows: np.ndarray, changed: np.ndarray) -> np.ndarray:
            return replace(rule, shares=tuple(changed.tolist())).apply(rows)

        return (
            rare,
            np.round(shares[rare] * len(probs)).astype(int),
            sensitivity(probs, shares, score, apply, labels=rare),
        )
