"""Grades as answers: cut-points of one number a row, fitted for the recipe's metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imettk.errors import ConfigError, MismatchError
from imettk.postprocess.cutpoints import ABOVE_ALL, BELOW_ALL, Goal, apply_cutpoints, fit_cutpoints
from imettk.postprocess.fitters import FitContext, RuleFitter
from imettk.postprocess.honest import draw_rows
from imettk.postprocess.rule import Rule
from imettk.progress import progress_bar
from imettk.tasks.task import grades_of

NUM_DRAWS = 40  # bootstrap samples for the intervals of cuts


@dataclass(frozen=True, kw_only=True)
class Cutpoints(Rule):
    """A number of each row, and where it turns from one grade into the next.

    Attributes:
        weights: of the network's outputs, (O,), whose sum is the number: the grades, where outputs are probabilities of
            grades, which makes it their expectation.
        cuts: from which number on each grade but the lowest is answered, rising, (K - 1,).
    """

    kind: ClassVar[str] = "cutpoints"
    weights: tuple[float, ...] = ()
    cuts: tuple[float, ...] = ()

    def numbers(self, probs: np.ndarray) -> np.ndarray:
        """Return the number of each row, float64 (N,)."""
        if len(self.weights) != probs.shape[1]:
            raise MismatchError(f"the rule is for {len(self.weights)} outputs, the predictions have {probs.shape[1]}")
        return probs.astype(np.float64) @ np.array(self.weights)

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Return the place of each row's grade among the grades, int64 (N,)."""
        return apply_cutpoints(self.numbers(probs), np.array(self.cuts))

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        """Return how far each number is from the nearest cut, as a sigmoid of the distance, float (N,)."""
        nearest = np.abs(self.numbers(probs)[:, None] - np.array(self.cuts)).min(1)
        return 1 / (1 + np.exp(-np.minimum(nearest, 100)))

    def is_sound(self) -> bool:
        numbers = [*self.weights, *self.cuts] if isinstance(self.cuts, tuple) else [None]
        return all(isinstance(number, int | float) for number in numbers) and list(self.cuts) == sorted(self.cuts)


class GradeCuts(RuleFitter):
    """`cutpoints`."""

    rule = Cutpoints

    def __init__(self, context: FitContext) -> None:
        super().__init__(context)
        grades = grades_of(context.labels)
        if grades is None:
            raise ConfigError(
                "the rule cutpoints is for grades, whose labels are numbers that rise, and these are "
                f"{', '.join(context.labels[:12])}; `table.labels_csv` can list them in order"
            )
        self._grades = grades
        self._goal: Goal = self.scorer.metric.cuts or "quadratic_kappa"
        self._bounds = np.zeros((0, 2))

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        weights = tuple(self._grades.tolist())
        numbers = Cutpoints(weights=weights).numbers(probs)
        cuts = fit_cutpoints(numbers, targets, grades=self._grades, goal=self._goal)
        return Cutpoints(weights=weights, cuts=tuple(cuts.tolist()))

    def describe(
        self, rule: Rule, probs: np.ndarray, targets: np.ndarray, groups: np.ndarray | None
    ) -> Mapping[str, Any]:
        """Return from which number on each grade is answered, and the interval of that over bootstrap samples."""
        assert isinstance(rule, Cutpoints)
        draws = []
        with progress_bar("bootstrap cut-points", total=NUM_DRAWS, unit="draw") as bar:
            for rows in draw_rows(len(probs), groups, NUM_DRAWS):
                fitted = self.fit(probs[rows], targets[rows])
                assert isinstance(fitted, Cutpoints)
                draws.append(fitted.cuts)
                bar.update()
        self._bounds = np.quantile(draws, [0.025, 0.975], axis=0).T
        columns = np.column_stack([rule.cuts, self._bounds])
        low, *ends = (_shown(np.concatenate([[BELOW_ALL], column])) for column in columns.T)
        return {"cutpoint": low, "cutpoint_low": ends[0], "cutpoint_high": ends[1]}

    def tell(self, rule: Rule, answers: np.ndarray, probs: np.ndarray, targets: np.ndarray) -> str | None:
        """Return the cuts with their intervals."""
        assert isinstance(rule, Cutpoints)
        parts = [
            f"{label} from {cut:.3f} ({low:.3f} to {high:.3f})"
            for label, cut, (low, high) in zip(
                self.context.labels[1:], _shown(rule.cuts), _shown(self._bounds), strict=True
            )
        ]
        return f"cut-points of {self._grades[0]:g} to {self._grades[-1]:g}: {', '.join(parts)}"


def _shown(cuts: Any) -> np.ndarray:
    """Return cuts with infinity where no number, or every one, passes."""
    cuts = np.asarray(cuts, np.float64)
    return np.where(cuts <= BELOW_ALL / 2, -np.inf, np.where(cuts >= ABOVE_ALL / 2, np.inf, cuts))
