"""How the rules of `config.choices.RULES` are fitted to out-of-fold predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from imettk.config import RuleConfig
from imettk.errors import ConfigError
from imettk.metrics import METRICS, Scorer
from imettk.postprocess.honest import choose_strength, draw_rows, shrink, threshold_intervals
from imettk.postprocess.ratio import sensitivity, share_thresholds
from imettk.postprocess.rule import Likeliest, Rule, Shares, Thresholds, relative_to_row
from imettk.postprocess.thresholds.candidates import Candidates, find_candidates
from imettk.postprocess.thresholds.fit import fit_candidates, fit_top
from imettk.postprocess.thresholds.goal import Goal
from imettk.postprocess.thresholds.trace import trace_threshold
from imettk.progress import progress_bar
from imettk.tasks import Task
from imettk.tasks.task import numbers_of

NUM_FOLDS = 5  # of the cross-validation that chooses how far thresholds are shrunk
LARGE = 5_000_000  # probabilities from which on a slow fit shows a bar
FitToRows = Callable[[np.ndarray], Rule]


@dataclass(frozen=True)
class FitContext:
    """What a rule is fitted with, beside predictions and targets.

    Attributes:
        plan: the recipe's section `rule`.
        label_groups: of each label, (C,).
        given_shares: of the rows that each label should have, float64 (C,), where the recipe names a table of them.
        task: what is asked of an image.
        columns: of the submission, where each answer has its own.
        labels: their names, (C,).
        scorer: the recipe's metric.
    """

    plan: RuleConfig
    label_groups: tuple[str, ...] = ()
    given_shares: np.ndarray | None = None
    task: Task | None = None
    columns: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    scorer: Scorer | None = None


class RuleFitter(ABC):
    """Fits a rule to some rows.

    Attributes:
        rule: the class of what is fitted, which reads it back from its JSON.
        goal: the F-beta that thresholds are fitted for, and the limits of a row; None for other rules.
        learns: whether rows decide what is fitted: such a rule is judged on rows that it has not seen.
    """

    rule: ClassVar[type[Rule]]
    learns: bool = True
    goal: Goal | None = None

    def __init__(self, context: FitContext) -> None:
        self.context = context
        self._numbers = self._grade_numbers()

    def _grade_numbers(self) -> np.ndarray | None:
        """What the metric judges in place of labels, float64 (C,); None where it judges these, or there are none."""
        task, scorer, labels = self.context.task, self.context.scorer, self.context.labels
        if task is None or scorer is None or not scorer.metric.ordered or task.numeric or not labels:
            return None
        if (numbers := numbers_of(labels)) is None:
            raise ConfigError(
                f"`score.metric` {scorer.name} judges how far grades are apart: labels must be numbers, and these are "
                f"{', '.join(labels[:12])}: write numbers in their place"
            )
        return numbers

    @abstractmethod
    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        """Fit the rule to these rows.

        Args:
            probs: float (N, O).
            targets: as the task has them, first axis N.
            folds: int64 (N,), rows that belong together have one, for a choice that is itself cross-validated.
        """

    def on(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> FitToRows:
        """Return a function that fits the rule to some of these rows, int64 (M,); what fits share is done once."""
        return lambda rows: self.fit(probs[rows], targets[rows], None if folds is None else folds[rows])

    def fit_quickly(self, probs: np.ndarray, targets: np.ndarray) -> Rule:
        """Fit a simpler rule of the same kind, for a curve."""
        return self.fit(probs, targets)

    @property
    def scorer(self) -> Scorer:
        """What judges answers: the recipe's metric, for the targets that `judged` gives."""
        assert self.context.scorer is not None
        return self.context.scorer

    @property
    def judges_answers(self) -> bool:
        """Whether the metric judges answers of the rule, and not what the network gives."""
        return self.scorer.needs != "probs"

    def judged(self, answers: np.ndarray, probs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the metric judges of these rows, and the targets that it is the answer to."""
        given = self.scorer.judged(answers, probs)
        return (given, targets) if self._numbers is None else (self._numbers[given], self._numbers[targets])

    def read_cells(self, cells: Sequence[Sequence[str]]) -> np.ndarray:
        """Return the answers that cells of a submission hold, first axis N."""
        assert self.context.task is not None
        labels = self.context.labels
        return self.context.task.make_targets(cells, {label: place for place, label in enumerate(labels)}, len(labels))

    def tell(self, rule: Rule, answers: np.ndarray, probs: np.ndarray, targets: np.ndarray) -> str | None:
        """Return a line about what was fitted, and what it gains; None where there is nothing to say.

        Args:
            answers: of rules that have not seen the rows, first axis N.
        """
        return None

    def part_scores(self, answers: np.ndarray, targets: np.ndarray) -> dict[str, dict[str, float]]:
        """Return scores of each part of the answers by their names, where it is asked for several things.

        Args:
            answers: of rules that have not seen the rows, first axis N.
        """
        return {}

    def describe(
        self, rule: Rule, probs: np.ndarray, targets: np.ndarray, groups: np.ndarray | None
    ) -> Mapping[str, Any]:
        """Return columns for the table of labels, (C,) each: what the rule says of every label.

        Args:
            groups: rows that are drawn together, any dtype (N,).
        """
        return {}

    def shake_up(
        self, rule: Rule, probs: np.ndarray, targets: np.ndarray, score: Callable[[np.ndarray], float]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Return what answers would score with fewer or more rows of rare labels: labels (L,), their rows (L,), and
        scores (L, S), the middle column without a change; None for a rule without promises."""
        return None

    def trace(self, rule: Rule, probs: np.ndarray, targets: np.ndarray, at: np.ndarray) -> dict[str, Any] | None:
        """Return `scores` with one threshold for all labels at each of these, by which `metric`, and the rule's `own`;
        None for a rule without thresholds."""
        return None


class _OwnRule(RuleFitter):
    """A user's own rule: a subclass of `Rule` with a class method `fit(probs, targets, context)`."""

    def __init__(self, made: Any, context: FitContext) -> None:
        super().__init__(context)
        self._made = made

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        return self._made.fit(probs, targets, self.context)


def make_fitter(made: Any, context: FitContext) -> RuleFitter:
    """Return what fits a rule; `made` is a `RuleFitter`, or a user's own `Rule`."""
    return made(context) if issubclass(made, RuleFitter) else _OwnRule(made, context)


def rule_class(made: Any) -> type[Rule]:
    """Return the class that reads such a rule from its JSON."""
    return made.rule if issubclass(made, RuleFitter) else made


class LikeliestClass(RuleFitter):
    """`argmax`."""

    rule, learns = Likeliest, False

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        return Likeliest()


class _LabelFitter(RuleFitter):
    """What rules for labels have in common: the F-beta that they are fitted for, and the limits of a row."""

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
    """Thresholds for the labels together, for groups of them, or for each."""

    rule = Thresholds

    def _groups(self, num_labels: int) -> np.ndarray | None:
        """The group of each label that has a threshold of its own, int64 (C,); None for one group."""
        return None

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        return self._fit_found(self._find(probs, targets, self._groups(probs.shape[1])))

    def on(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> FitToRows:
        found = self._find(probs, targets, self._groups(probs.shape[1]))
        return lambda rows: self._fit_found(found.take(rows))

    def tell(self, rule: Rule, answers: np.ndarray, probs: np.ndarray, targets: np.ndarray) -> str | None:
        """Return a line about what was fitted, and what it gains; None where there is nothing to say.

        Args:
            answers: of rules that have not seen the rows, first axis N.
        """
        return None

    def describe(
        self, rule: Rule, probs: np.ndarray, targets: np.ndarray, groups: np.ndarray | None
    ) -> Mapping[str, Any]:
        """Each threshold, and its interval over bootstrap samples of the rows."""
        assert isinstance(rule, Thresholds)
        draws, fit = int(np.clip(1e8 / probs.size, 20, 40)), self.unshrunk(probs, targets)
        with progress_bar("bootstrap thresholds", total=draws, unit="draw") as bar:

            def refit(rows: np.ndarray) -> Thresholds:
                bar.update()
                fitted = fit(rows)
                assert isinstance(fitted, Thresholds)
                return fitted

            bounds = threshold_intervals(refit, draw_rows(len(probs), groups, draws))
        return {"threshold": rule.thresholds, "threshold_low": bounds[:, 0], "threshold_high": bounds[:, 1]}

    def unshrunk(self, probs: np.ndarray, targets: np.ndarray) -> FitToRows:
        """Return fits whose thresholds show how they scatter."""
        return self.on(probs, targets)

    def _find(self, probs: np.ndarray, targets: np.ndarray, groups: np.ndarray | None) -> Candidates:
        return find_candidates(probs, targets, self.goal, groups=groups, relative=self.context.plan.relative)

    def _fit_found(self, found: Candidates) -> Thresholds:
        limited = self.goal.min_labels > 0 or self.goal.max_labels is not None
        if not found.groups.any() or not (limited or self.goal.average == "samples") or found.probs.size < LARGE:
            return fit_candidates(found, self.goal)
        with progress_bar("fit thresholds", total=None, unit="step") as bar:
            return fit_candidates(found, self.goal, tell=bar.update)


class OneThreshold(_ThresholdFitter):
    """`threshold`."""


class GroupThresholds(_ThresholdFitter):
    """`group_thresholds`."""

    def _groups(self, num_labels: int) -> np.ndarray | None:
        return np.unique(self.context.label_groups, return_inverse=True)[1]


class ClassThresholds(_ThresholdFitter):
    """`class_thresholds`, pulled toward others where the recipe says so."""

    def _groups(self, num_labels: int) -> np.ndarray | None:
        return np.arange(num_labels)

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        plan = self.context.plan
        if plan.shrink_to == "none":
            return super().fit(probs, targets)

        def each(rows: np.ndarray) -> Thresholds:
            return self._fit_found(self._find(probs[rows], targets[rows], self._groups(probs.shape[1])))

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
        return self._fit_found(self._find(probs, targets, None))

    def unshrunk(self, probs: np.ndarray, targets: np.ndarray) -> FitToRows:
        """Return fits that are not pulled toward others, which would hide how they scatter."""
        return super().on(probs, targets)

    def _toward(self, probs: np.ndarray, targets: np.ndarray) -> Thresholds:
        plan = self.context.plan
        if plan.shrink_to != "shares":
            groups = None if plan.shrink_to == "one" else np.unique(self.context.label_groups, return_inverse=True)[1]
            return self._fit_found(self._find(probs, targets, groups))
        scale = relative_to_row(probs) if plan.relative else probs
        thresholds = share_thresholds(scale, np.count_nonzero(targets, axis=0) / len(targets))
        return Thresholds(thresholds=tuple(thresholds.tolist()), relative=plan.relative)


class TopLabels(_LabelFitter):
    """`top`."""

    rule = Thresholds

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        return fit_top(probs, targets, self.goal)


class LabelShares(_LabelFitter):
    """`share`."""

    rule = Shares
    NUM_RARE: ClassVar[int] = 5  # rarest labels, in the table of a possible shake-up

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        shares = tuple(self._shares(targets).tolist())
        return Shares(shares=shares, relative=self.context.plan.relative, **self._limits)

    def _shares(self, targets: np.ndarray) -> np.ndarray:
        """The share of the rows that each label should have, float64 (C,)."""
        own, given = np.count_nonzero(targets, axis=0) / len(targets), self.context.given_shares
        if given is None:
            return own
        return given if self.context.plan.shares == "csv" else (own + given) / 2

    def tell(self, rule: Rule, answers: np.ndarray, probs: np.ndarray, targets: np.ndarray) -> str | None:
        """Return a line about what was fitted, and what it gains; None where there is nothing to say.

        Args:
            answers: of rules that have not seen the rows, first axis N.
        """
        return None

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
        rare = np.argsort(np.where(shares > 0, shares, 2), kind="stable")[: self.NUM_RARE]

        def apply(some: np.ndarray, changed: np.ndarray) -> np.ndarray:
            return replace(rule, shares=tuple(changed.tolist())).apply(some)

        return (
            rare,
            np.round(shares[rare] * len(probs)).astype(int),
            sensitivity(probs, shares, score, apply, labels=rare),
        )
