"""A metric as a row, and bound to the parameters of a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from imettk.errors import ConfigError
from imettk.metrics.labels import Average

Needs = Literal["answers", "probs", "values", "ranked"]
Score = Callable[..., float]
Resampled = Callable[..., Callable[[np.ndarray], float]]


@dataclass(frozen=True)
class Metric:
    """One way to judge what is answered.

    Attributes:
        needs: `answers` or `values` of the rule, `probs` of the network, or `ranked` answers, int64 (N, k).
        targets: the forms of targets that it takes, as tasks name them.
        score: (what it needs, targets, **params) -> the score, first axis N. This, and the functions below, may be a
            dict of one for each form of targets.
        higher: whether more is better.
        params: parameters and their defaults.
        check: (params) -> what is wrong with them, or None.
        title: what it is called in print, from its parameters.
        best_constant: (targets, **params) -> the score of the best answer that is the same for all rows, or None.
        resampled: (what it needs, targets, **params) -> a function that scores rows drawn with repeats, int64 (M,):
            what all bootstrap samples have in common is done once. None scores each sample anew.
        goal: (params) -> beta and average of the F-beta for which thresholds serve it best, or None.
        cuts: the goal of `postprocess.cutpoints` that cut-points of grades serve it best with, or None.
        ordered: labels are grades, and judged by the numbers that they are.
        wants: fields of a recipe's section `rule` that make answers better, or fit, for this metric, with their values:
            `imettk new` sets them.
        low, high: between which scores lie; `high` may be a function of the parameters.
    """

    needs: Needs
    targets: tuple[str, ...]
    score: Score | Mapping[str, Score]
    title: Callable[[Mapping[str, Any]], str]
    higher: bool = True
    params: Mapping[str, Any] = field(default_factory=dict)
    check: Callable[[Mapping[str, Any]], str | None] = lambda params: None
    best_constant: Score | Mapping[str, Score] | None = None
    resampled: Resampled | Mapping[str, Resampled] | None = None
    goal: Callable[[Mapping[str, Any]], tuple[float, Average]] | None = None
    cuts: Any = None
    ordered: bool = False
    wants: Mapping[str, Any] = field(default_factory=dict)
    low: float = -math.inf
    high: float | Callable[[Mapping[str, Any]], float] = math.inf

    def bound(self, targets: str, params: Mapping[str, Any] | None = None) -> Scorer:
        """Return the metric with these parameters and its own defaults, for this form of targets."""
        return Scorer(self, {**self.params, **(params or {})}, targets)


@dataclass(frozen=True)
class Scorer:
    """A metric with its parameters, for one form of targets, and the name that a recipe gives it."""

    metric: Metric
    params: Mapping[str, Any]
    targets: str
    name: str = ""

    @property
    def title(self) -> str:
        """What the metric is called in print, such as `F2`."""
        return self.metric.title(self.params)

    @property
    def goal(self) -> tuple[float, Average] | None:
        """The F-beta for which thresholds serve it best, its beta and average."""
        return None if self.metric.goal is None else self.metric.goal(self.params)

    @property
    def needs(self) -> Needs:
        return self.metric.needs

    @property
    def higher(self) -> bool:
        return self.metric.higher

    @property
    def high(self) -> float:
        """The highest score that there is."""
        high = self.metric.high
        return high(self.params) if callable(high) else high

    def judged(self, answers: np.ndarray, probs: np.ndarray) -> np.ndarray:
        """Return what the metric needs: a rule's answers, or the probabilities that the network gives."""
        return probs if self.needs == "probs" else answers

    def score(self, given: np.ndarray, targets: np.ndarray) -> float:
        """Return the score of what the metric needs; NaN where there is no row."""
        return float(self._own(self.metric.score)(given, targets, **self.params)) if len(targets) else math.nan

    def gain(self, score: float, before: float) -> float:
        """Return by how much a score is better than another one."""
        return score - before if self.higher else before - score

    def best_constant(self, targets: np.ndarray) -> float | None:
        """Return what the best answer that is the same for all rows scores, where that is known."""
        made = self._own(self.metric.best_constant)
        return None if made is None or not len(targets) else float(made(targets, **self.params))

    def resampled(self, given: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
        """Return a function from rows, with repeats, to their score."""
        made = self._own(self.metric.resampled)
        if made is not None:
            return made(given, targets, **self.params)
        return lambda rows: self.score(given[rows], targets[rows])

    def _own(self, function: Any) -> Any:
        """The function for this form of targets."""
        return function.get(self.targets) if isinstance(function, Mapping) else function


def bind(name: str, metric: Metric, targets: str, *, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> Scorer:
    """Return the metric with the parameters that are given, else those of the recipe, else its own.

    Args:
        targets: their form.
        defaults: what other parts of a recipe say, by parameter; names that the metric does not have are passed over.

    Raises:
        ConfigError: the metric has no such parameter, or one of another type, or not in this range.
    """
    known = dict(metric.params)
    if unknown := sorted(set(given) - set(known)):
        has = f"has {', '.join(known)}" if known else "has none"
        raise ConfigError(f"`score.params` holds {', '.join(unknown)}, and the metric {name} {has}")
    params = known | {key: value for key, value in defaults.items() if key in known} | dict(given)
    for key, value in params.items():
        fits = type(known[key])
        if fits is float and isinstance(value, int) and not isinstance(value, bool):
            params[key] = value = float(value)
        if not isinstance(value, fits) or isinstance(value, bool) != (fits is bool):
            raise ConfigError(f"`score.params` {key} must be {fits.__name__} for the metric {name}, got {value!r}")
    if wrong := metric.check(params):
        raise ConfigError(f"`score.params` for the metric {name}: {wrong}")
    return Scorer(metric, params, targets, name)
