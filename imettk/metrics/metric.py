"""A metric as a row of METRICS, and bound to the parameters of a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from imettk.errors import ConfigError
from imettk.metrics.labels import Average

Needs = Literal["answers", "probs", "values", "ranked"]
CutGoal = Literal["quadratic_kappa", "accuracy", "f1_macro"]
Params = Mapping[str, Any]  # Any: each metric has parameters of its own types
Score = Callable[..., float]
Resampled = Callable[..., Callable[[np.ndarray], float]]


@dataclass(frozen=True)
class Metric:
    """A way to judge answers.

    Attributes:
        needs: `answers` or `values` of the rule, `probs` of the network, or `ranked` answers, int64 (N, k).
        targets: the forms of targets that it accepts, as tasks name them.
        score: (answers, targets, **params) -> score; both arguments have first axis N, and `answers` stands for what
            `needs` names. This and the functions below may be a dict with one function per form of targets.
        higher: whether a higher score is better.
        params: parameters and their defaults.
        check: (params) -> what is wrong with them, or None.
        title: (params) -> its name in print.
        best_constant: (targets, **params) -> the score of the best answer that is the same for all rows; None if
            unknown.
        resampled: (answers, targets, **params) -> a function that scores rows drawn with replacement, int64 (M,), so
            that work shared by all bootstrap samples is done once. None scores each sample from scratch.
        goal: (params) -> beta and average of the F-beta to fit thresholds for, or None.
        cuts: the goal of `postprocess.cutpoints` to fit cut-points of grades for, or None.
        ordered: labels are grades, and their numeric values are compared.
        wants: fields of a recipe's section `rule` that suit this metric, with their values; `imettk new` sets them.
        low, high: bounds of the score; `high` may be a function of the parameters.
    """

    needs: Needs
    targets: tuple[str, ...]
    score: Score | Mapping[str, Score]
    title: Callable[[Params], str]
    higher: bool = True
    params: Params = field(default_factory=dict)
    check: Callable[[Params], str | None] = lambda params: None
    best_constant: Score | Mapping[str, Score] | None = None
    resampled: Resampled | Mapping[str, Resampled] | None = None
    goal: Callable[[Params], tuple[float, Average]] | None = None
    cuts: CutGoal | None = None
    ordered: bool = False
    wants: Params = field(default_factory=dict)
    low: float = -math.inf
    high: float | Callable[[Params], float] = math.inf

    def bound(self, targets: str, params: Params | None = None) -> Scorer:
        """Return the metric for this form of targets, with these parameters over its defaults."""
        return Scorer(self, {**self.params, **(params or {})}, targets)


@dataclass(frozen=True)
class Scorer:
    """A metric with its parameters, for one form of targets, and its name in a recipe."""

    metric: Metric
    params: Params
    targets: str
    name: str = ""

    @property
    def title(self) -> str:
        """The metric's name in print, such as `F2`."""
        return self.metric.title(self.params)

    @property
    def goal(self) -> tuple[float, Average] | None:
        """Beta and average of the F-beta to fit thresholds for, or None."""
        return None if self.metric.goal is None else self.metric.goal(self.params)

    @property
    def needs(self) -> Needs:
        return self.metric.needs

    @property
    def higher(self) -> bool:
        return self.metric.higher

    @property
    def high(self) -> float:
        """The highest possible score."""
        high = self.metric.high
        return high(self.params) if callable(high) else high

    def judged(self, answers: np.ndarray, probs: np.ndarray) -> np.ndarray:
        """Return what the metric judges: a rule's answers, or the network's probabilities."""
        return probs if self.needs == "probs" else answers

    def score(self, given: np.ndarray, targets: np.ndarray) -> float:
        """Return the score of these answers (or probabilities); NaN if there are no rows."""
        return float(self._for_targets(self.metric.score)(given, targets, **self.params)) if len(targets) else math.nan

    def gain(self, score: float, before: float) -> float:
        """Return how much better a score is than an earlier one; negative if it is worse."""
        return score - before if self.higher else before - score

    def best_constant(self, targets: np.ndarray) -> float | None:
        """Return the score of the best answer that is the same for all rows, or None if unknown."""
        score_constant = self._for_targets(self.metric.best_constant)
        return None if score_constant is None or not len(targets) else float(score_constant(targets, **self.params))

    def resampled(self, given: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
        """Return a function from rows, with repeats, to their score."""
        resample: Resampled | None = self._for_targets(self.metric.resampled)
        if resample is not None:
            return resample(given, targets, **self.params)
        # Correct for every metric, but each of the 400 bootstrap samples then costs a full score.
        return lambda rows: self.score(given[rows], targets[rows])

    def _for_targets(self, function: Any) -> Any:  # the values of rows differ in their arguments
        """Return the function for this form of targets; a row may hold one for all forms."""
        return function.get(self.targets) if isinstance(function, Mapping) else function


def bind(name: str, metric: Metric, targets: str, *, defaults: Params, given: Params) -> Scorer:
    """Return a metric with the given parameters, falling back to those of the recipe and then to its own defaults.

    Args:
        targets: form of the targets.
        defaults: parameters from other sections of the recipe; names that the metric does not have are ignored.
        given: `score.params` of the recipe.

    Raises:
        ConfigError: the metric has no such parameter, or a value is of the wrong type or out of range.
    """
    known = dict(metric.params)
    if unknown := sorted(set(given) - set(known)):
        has = f"has {', '.join(known)}" if known else "has no parameters"
        raise ConfigError(f"`score.params` holds {', '.join(unknown)}, but the metric {name} {has}")
    params = known | {key: value for key, value in defaults.items() if key in known} | dict(given)
    for key, value in params.items():
        fits = type(known[key])
        # JSON writes 2.0 as 2, and in Python a bool is an int: both are told apart here.
        if fits is float and isinstance(value, int) and not isinstance(value, bool):
            params[key] = value = float(value)
        if not isinstance(value, fits) or isinstance(value, bool) != (fits is bool):
            raise ConfigError(f"`score.params` {key} must be {fits.__name__} for the metric {name}, got {value!r}")
    if wrong := metric.check(params):
        raise ConfigError(f"`score.params` for the metric {name}: {wrong}")
    return Scorer(metric, params, targets, name)
