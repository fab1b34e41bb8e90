"""Fitters of the rules in `config.choices.RULES` to out-of-fold predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imettk.config import RuleConfig
from imettk.errors import ConfigError
from imettk.metrics import Scorer
from imettk.postprocess.rule import Likeliest, Rule
from imettk.postprocess.thresholds.goal import Goal
from imettk.tasks import Task
from imettk.tasks.task import numbers_of

FitToRows = Callable[[np.ndarray], Rule]


@dataclass(frozen=True)
class FitContext:
    """The context of a fit, beside predictions and targets.

    Attributes:
        plan: the recipe's section `rule`.
        label_groups: group of each label, (C,).
        given_shares: share of rows that each label should have, float64 (C,), if the recipe names a table of them.
        task: the recipe's task.
        columns: columns of the submission, if each answer has its own.
        labels: names of the labels, (C,).
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
    """A fitter of a rule.

    Attributes:
        rule: class of the fitted rule, which also reads it from its JSON.
        goal: the F-beta that thresholds are fitted for, and the limits of labels a row; None for other rules.
        learns: whether the rule depends on the rows, so that it must be scored on rows not used for the fit.
    """

    rule: ClassVar[type[Rule]]
    learns: bool = True
    goal: Goal | None = None

    def __init__(self, context: FitContext) -> None:
        self.context = context
        self._numbers = self._grade_numbers()

    def _grade_numbers(self) -> np.ndarray | None:
        """Return the numbers that the metric judges instead of label indices, float64 (C,); None if it judges those."""
        task, scorer, labels = self.context.task, self.context.scorer, self.context.labels
        if task is None or scorer is None or not scorer.metric.ordered or task.numeric or not labels:
            return None
        if (numbers := numbers_of(labels)) is None:
            raise ConfigError(
                f"`score.metric` {scorer.name} measures distances between grades, so labels must be numbers, got "
                f"{', '.join(labels[:12])}: replace them by numbers"
            )
        return numbers

    @abstractmethod
    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        """Fit the rule to these rows.

        Args:
            probs: float (N, O).
            targets: in the task's form, first axis N.
            folds: fold of each row, int64 (N,), for choices that are cross-validated; related rows share a fold.
        """

    def on(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> FitToRows:
        """Return a function that fits the rule to some of these rows, int64 (M,); work that fits share is done once."""
        return lambda rows: self.fit(probs[rows], targets[rows], None if folds is None else folds[rows])

    def fit_quickly(self, probs: np.ndarray, targets: np.ndarray) -> Rule:
        """Fit a simpler rule of the same kind, for a learning curve."""
        return self.fit(probs, targets)

    @property
    def scorer(self) -> Scorer:
        """The recipe's metric, for the targets that `judged` returns."""
        assert self.context.scorer is not None
        return self.context.scorer

    @property
    def judges_answers(self) -> bool:
        """True if the metric judges the rule's answers, False if it judges the network's outputs."""
        return self.scorer.needs != "probs"

    def judged(self, answers: np.ndarray, probs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the metric judges in these rows, and the matching targets."""
        inputs = self.scorer.judged(answers, probs)
        return (inputs, targets) if self._numbers is None else (self._numbers[inputs], self._numbers[targets])

    def read_cells(self, cells: Sequence[Sequence[str]]) -> np.ndarray:
        """Return the answers in the cells of a submission, first axis N."""
        assert self.context.task is not None
        labels = self.context.labels
        return self.context.task.make_targets(cells, {label: place for place, label in enumerate(labels)}, len(labels))

    def tell(self, rule: Rule, answers: np.ndarray, probs: np.ndarray, targets: np.ndarray) -> str | None:
        """Return a line about the fitted rule and its gain, or None.

        Args:
            answers: from rules not fitted on these rows, first axis N.
        """
        return None

    def part_scores(self, answers: np.ndarray, targets: np.ndarray) -> dict[str, dict[str, float]]:
        """Return the scores of each part of the answers by name, for rules that answer several questions.

        Args:
            answers: from rules not fitted on these rows, first axis N.
        """
        return {}

    def describe(
        self, rule: Rule, probs: np.ndarray, targets: np.ndarray, groups: np.ndarray | None
    ) -> Mapping[str, Any]:
        """Return the rule's columns for the table of labels, (C,) each.

        Args:
            groups: rows that are drawn together, any dtype (N,).
        """
        return {}

    def shake_up(
        self, rule: Rule, probs: np.ndarray, targets: np.ndarray, score: Callable[[np.ndarray], float]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Return scores with fewer or more rows of rare labels; None for a rule that promises no shares.

        Returns:
            Labels (L,), their rows (L,), and scores (L, S), whose middle column is the score without a change.
        """
        return None

    def trace(self, rule: Rule, probs: np.ndarray, targets: np.ndarray, at: np.ndarray) -> dict[str, Any] | None:
        """Return a curve of scores over thresholds; None for a rule without thresholds.

        The values are `scores` of one threshold for all labels at each of `at`, their `metric`, and the rule's `own`
        thresholds.
        """
        return None


class _OwnRule(RuleFitter):
    """Fitter of a user's own rule: a subclass of `Rule` with a class method `fit(probs, targets, context)`."""

    def __init__(self, rule_type: Any, context: FitContext) -> None:  # Any: `fit` is not part of `Rule`
        super().__init__(context)
        self._rule_type = rule_type

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        rule: Rule = self._rule_type.fit(probs, targets, self.context)
        return rule


def make_fitter(kind: type[RuleFitter] | type[Rule], context: FitContext) -> RuleFitter:
    """Return the fitter of a rule; `kind` is a class of fitters, or a user's own class of rules."""
    return kind(context) if issubclass(kind, RuleFitter) else _OwnRule(kind, context)


def rule_class(kind: type[RuleFitter] | type[Rule]) -> type[Rule]:
    """Return the class that reads such a rule from its JSON."""
    return kind.rule if issubclass(kind, RuleFitter) else kind


class LikeliestClass(RuleFitter):
    """Fitter of the rule `argmax`."""

    rule, learns = Likeliest, False

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        return Likeliest()
