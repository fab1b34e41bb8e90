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
MOST_GRADES = 200  # different numbers that are taken for grades


@dataclass(frozen=True, kw_only=True)
class Cutpoints(Rule):
    """A number of each row, and where it turns from one grade into the next.

    Attributes:
        offset: the number where the network gives 0 for all outputs.
        weights: of these outputs, (O,), whose sum is added: the grades, where outputs are probabilities of grades,
            which makes the number their expectation.
        cuts: from which number on each grade but the lowest is answered, rising, (K - 1,).
        grades: answers are these numbers, (K,); empty where they are places of labels.
    """

    kind: ClassVar[str] = "cutpoints"
    offset: float = 0.0
    weights: tuple[float, ...] = ()
    cuts: tuple[float, ...] = ()
    grades: tuple[float, ...] = ()

    def numbers(self, probs: np.ndarray) -> np.ndarray:
        """Return the number of each row, float64 (N,)."""
        if len(self.weights) != probs.shape[1]:
            raise MismatchError(f"the rule is for {len(self.weights)} outputs, the predictions have {probs.shape[1]}")
        return self.offset + probs.astype(np.float64) @ np.array(self.weights)

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Return the place of each row's grade among the labels, int64 (N,), or the grade itself, float32 (N, 1)."""
        places = apply_cutpoints(self.numbers(probs), np.array(self.cuts))
        return np.array(self.grades, np.float32)[places][:, None] if self.grades else places

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        """Return how far each number is from the nearest cut, as a sigmoid of the distance, float (N,)."""
        nearest = np.abs(self.numbers(probs)[:, None] - np.array(self.cuts)).min(1)
        return 1 / (1 + np.exp(-np.minimum(nearest, 100)))

    def answer_numbers(self) -> tuple[float, ...]:
        return self.grades

    def is_sound(self) -> bool:
        lists = (self.weights, self.cuts, self.grades)
        if not all(isinstance(values, tuple) for values in lists):
            return False
        numbers = [self.offset, *self.weights, *self.cuts, *self.grades]
        return (
            all(isinstance(number, int | float) for number in numbers)
            and list(self.cuts) == sorted(self.cuts)
            and len(self.grades) in (0, len(self.cuts) + 1)
        )


class GradeCuts(RuleFitter):
    """`cutpoints`."""

    rule = Cutpoints

    def __init__(self, context: FitContext) -> None:
        super().__init__(context)
        assert context.task is not None
        self._task, self._of_numbers = context.task, context.task.numeric
        grades = None if self._of_numbers else grades_of(context.labels)
        if self._of_numbers and len(context.labels) > 1:
            raise ConfigError(f"the rule cutpoints is for one number a row, and these are {', '.join(context.labels)}")
        if not self._of_numbers and grades is None:
            raise ConfigError(
                "the rule cutpoints is for grades, whose labels are numbers that rise, and these are "
                f"{', '.join(context.labels[:12])}; `table.labels_csv` can list them in order, "
                "`table.task` ordinal orders them by itself"
            )
        self._labels = grades
        self._goal: Goal = self.scorer.metric.cuts or "quadratic_kappa"
        self._bounds = np.zeros((0, 2))

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        return self._fit(probs, targets, self._grades(targets))

    def _grades(self, targets: np.ndarray) -> np.ndarray:
        """Return the grades that there are, float64 (K,): the labels, or the numbers of these rows."""
        if self._labels is not None:
            return self._labels
        grades = np.unique(targets).astype(np.float64)
        if len(grades) > MOST_GRADES:
            raise ConfigError(
                f"the rule cutpoints answers with one of at most {MOST_GRADES} grades, and there are {len(grades)} "
                "different numbers: take the rule value"
            )
        return grades

    def _fit(self, probs: np.ndarray, targets: np.ndarray, grades: np.ndarray) -> Cutpoints:
        offset, weights = self._task.grade_weights(grades)
        own = grades if self._of_numbers else np.zeros(0)
        bare = Cutpoints(offset=float(offset), weights=tuple(weights.tolist()), grades=tuple(own.tolist()))
        places = self._task.grade_places(targets, grades)
        cuts = fit_cutpoints(bare.numbers(probs), places, grades=grades, goal=self._goal)
        return Cutpoints(**(vars(bare) | {"cuts": tuple(cuts.tolist())}))

    def describe(
        self, rule: Rule, probs: np.ndarray, targets: np.ndarray, groups: np.ndarray | None
    ) -> Mapping[str, Any]:
        """Return from which number on each grade is answered, and the interval of that over bootstrap samples."""
        assert isinstance(rule, Cutpoints)
        grades, draws = self._grades(targets), []
        with progress_bar("bootstrap cut-points", total=NUM_DRAWS, unit="draw") as bar:
            for rows in draw_rows(len(probs), groups, NUM_DRAWS):
                draws.append(self._fit(probs[rows], targets[rows], grades).cuts)
                bar.update()
        self._bounds = np.quantile(draws, [0.025, 0.975], axis=0).T
        names = ("cutpoint", "cutpoint_low", "cutpoint_high")
        columns = _shown(np.column_stack([rule.cuts, self._bounds])).T
        if self._of_numbers:  # all in the row of the one target
            return {
                name: [" ".join(f"{cut:.6g}" for cut in column)] for name, column in zip(names, columns, strict=True)
            }
        return {name: np.concatenate([[-np.inf], column]) for name, column in zip(names, columns, strict=True)}

    def tell(self, rule: Rule, answers: np.ndarray, probs: np.ndarray, targets: np.ndarray) -> str | None:
        """Return the cuts with their intervals."""
        assert isinstance(rule, Cutpoints)
        grades = self._grades(targets)
        parts = [
            f"{grade:g} from {cut:.3f} ({low:.3f} to {high:.3f})"
            for grade, cut, (low, high) in zip(grades[1:], _shown(rule.cuts), _shown(self._bounds), strict=True)
        ]
        return f"cut-points of {grades[0]:g} to {grades[-1]:g}: {', '.join(parts)}"


def _shown(cuts: Any) -> np.ndarray:
    """Return cuts with infinity where every number passes, or none."""
    cuts = np.asarray(cuts, np.float64)
    return np.where(cuts <= BELOW_ALL / 2, -np.inf, np.where(cuts >= ABOVE_ALL / 2, np.inf, cuts))
