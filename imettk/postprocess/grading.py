"""The rule `cutpoints`: grades from one number a row, with cut-points fitted for the recipe's metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imettk.errors import ConfigError, MismatchError
from imettk.metrics.metric import CutGoal
from imettk.postprocess.cutpoints import ABOVE_ALL, BELOW_ALL, apply_cutpoints, fit_cutpoints
from imettk.postprocess.fitters import FitContext, RuleFitter
from imettk.postprocess.honest import draw_rows
from imettk.postprocess.rule import Rule
from imettk.progress import with_bar
from imettk.tasks.task import grades_of

NUM_DRAWS = 40  # bootstrap samples for the intervals of cuts
MOST_GRADES = 200  # more distinct numbers than this are no grades


@dataclass(frozen=True, kw_only=True)
class Cutpoints(Rule):
    """A number for each row, and the cuts between grades.

    Attributes:
        offset: constant part of the number.
        weights: of the network's outputs, (O,): the number is offset + weights @ outputs. If outputs are probabilities
            of grades, the weights are the grades and the number is the expected grade.
        cuts: the number at which each grade except the lowest starts, rising, (K - 1,).
        grades: the numbers to answer with, (K,); empty if answers are indices of labels.
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
        numbers: np.ndarray = self.offset + probs.astype(np.float64) @ np.array(self.weights)
        return numbers

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Return the label index of each row's grade, int64 (N,), or the grade itself, float32 (N, 1)."""
        places = apply_cutpoints(self.numbers(probs), np.array(self.cuts))
        return np.array(self.grades, np.float32)[places][:, None] if self.grades else places

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        """Return the sigmoid of each number's distance to the nearest cut, float (N,)."""
        nearest = np.abs(self.numbers(probs)[:, None] - np.array(self.cuts)).min(1)
        confidences: np.ndarray = 1 / (1 + np.exp(-np.minimum(nearest, 100)))
        return confidences

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
    """Fitter of the rule `cutpoints`."""

    rule = Cutpoints

    def __init__(self, context: FitContext) -> None:
        super().__init__(context)
        assert context.task is not None
        self._task, self._of_numbers = context.task, context.task.numeric
        grades = None if self._of_numbers else grades_of(context.labels)
        if self._of_numbers and len(context.labels) > 1:
            raise ConfigError(f"the rule cutpoints takes one number a row, and there are {', '.join(context.labels)}")
        if not self._of_numbers and grades is None:
            raise ConfigError(
                "the rule cutpoints needs grades, labels that are numbers in rising order, but the labels are "
                f"{', '.join(context.labels[:12])}; list them in order in `table.labels_csv`, or set `table.task` to "
                "ordinal, which sorts them"
            )
        self._labels = grades
        self._goal: CutGoal = self.scorer.metric.cuts or "quadratic_kappa"
        self._bounds: np.ndarray | None = None  # of the cuts, (K - 1, 2), once `describe` has drawn samples

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        return self._fit(probs, targets, self._grades(targets))

    def _grades(self, targets: np.ndarray) -> np.ndarray:
        """Return the possible grades, float64 (K,): the labels, or the distinct numbers of these rows."""
        if self._labels is not None:
            return self._labels
        grades = np.unique(targets).astype(np.float64)
        if len(grades) > MOST_GRADES:
            raise ConfigError(
                f"the rule cutpoints handles at most {MOST_GRADES} grades, and there are {len(grades)} different "
                "numbers: use the rule value"
            )
        return grades

    def _fit(self, probs: np.ndarray, targets: np.ndarray, grades: np.ndarray) -> Cutpoints:
        offset, weights = self._task.grade_weights(grades)
        answers = grades if self._of_numbers else np.zeros(0)
        bare = Cutpoints(offset=float(offset), weights=tuple(weights.tolist()), grades=tuple(answers.tolist()))
        places = self._task.grade_places(targets, grades)
        cuts = fit_cutpoints(bare.numbers(probs), places, grades=grades, goal=self._goal)
        return Cutpoints(**(vars(bare) | {"cuts": tuple(cuts.tolist())}))

    def describe(
        self, rule: Rule, probs: np.ndarray, targets: np.ndarray, groups: np.ndarray | None
    ) -> Mapping[str, Any]:
        """Return the cut at which each grade starts, and its interval over bootstrap samples."""
        assert isinstance(rule, Cutpoints)
        grades, samples = self._grades(targets), draw_rows(len(probs), groups, NUM_DRAWS)
        draws = [
            self._fit(probs[rows], targets[rows], grades).cuts
            for rows in with_bar(samples, "bootstrap cut-points", total=NUM_DRAWS, unit="draw")
        ]
        self._bounds = bounds = np.quantile(draws, [0.025, 0.975], axis=0).T
        names = ("cutpoint", "cutpoint_low", "cutpoint_high")
        columns = _with_infinities(np.column_stack([rule.cuts, bounds])).T
        if self._of_numbers:  # all cuts in the row of the single target
            return {
                name: [" ".join(f"{cut:.6g}" for cut in column)] for name, column in zip(names, columns, strict=True)
            }
        return {name: np.concatenate([[-np.inf], column]) for name, column in zip(names, columns, strict=True)}

    def tell(self, rule: Rule, answers: np.ndarray, probs: np.ndarray, targets: np.ndarray) -> str | None:
        """Return the cuts, with their intervals if `describe` has computed them."""
        assert isinstance(rule, Cutpoints)
        grades, cuts = self._grades(targets), _with_infinities(rule.cuts)
        intervals = [""] * len(cuts)
        if self._bounds is not None:
            intervals = [f" ({low:.3f} to {high:.3f})" for low, high in _with_infinities(self._bounds)]
        parts = [
            f"{grade:g} from {cut:.3f}{interval}"
            for grade, cut, interval in zip(grades[1:], cuts, intervals, strict=True)
        ]
        return f"cut-points of {grades[0]:g} to {grades[-1]:g}: {', '.join(parts)}"


def _with_infinities(cuts: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return cuts with the stand-ins for infinity in JSON turned into infinity."""
    values = np.asarray(cuts, np.float64)
    return np.where(values <= BELOW_ALL / 2, -np.inf, np.where(values >= ABOVE_ALL / 2, np.inf, values))
