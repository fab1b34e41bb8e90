"""Probabilities as answers: in one column of the submission, or a column a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from imettk.errors import ConfigError
from imettk.metrics import LABELS, Scorer
from imettk.postprocess.fitters import FitContext, RuleFitter
from imettk.postprocess.pseudo import row_confidence
from imettk.postprocess.rule import Rule
from imettk.tasks import Task

ROUNDING = 1e-6  # by which a row's sum may be off 1
DECIDED = 0.5  # a label is called chosen from this probability on, in tables and pictures alone


@dataclass(frozen=True, kw_only=True)
class Probabilities(Rule):
    """Answers are the probabilities themselves, float (N, C).

    Attributes:
        exclusive: labels exclude each other.
        positive: the label of a single column, or None where there is one label, or labels are 0 and 1.
        columns: of the submission, in its order, where each label has one.
    """

    kind: ClassVar[str] = "probability"
    exclusive: bool = False
    positive: str | None = None
    columns: tuple[str, ...] = ()

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Return them as they are; rows of labels that exclude each other sum to 1, also where a blend's do not."""
        return _sum_to_one(probs) if self.exclusive else probs

    def decisions(self, answers: np.ndarray) -> np.ndarray:
        return answers.argmax(1) if self.exclusive else answers >= DECIDED

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        return row_confidence(probs, None if self.exclusive else np.full(probs.shape[1], DECIDED))

    def cells(self, answers: np.ndarray, labels: Sequence[str], task: Task) -> list[list[str]]:
        """Return the numbers of each row, nine digits each; where labels exclude each other they sum to 1."""
        probs = answers.astype(np.float64)
        if self.exclusive:
            probs = probs / probs.sum(1, keepdims=True)
        return [[f"{prob:.9g}" for prob in row] for row in probs[:, self.places(labels)].tolist()]

    def known_cells(self, known: list[list[str]], labels: Sequence[str], task: Task) -> list[list[str]]:
        """Return 1 for labels that a row is known to have, and 0 for others."""
        targets = task.make_targets(known, {label: number for number, label in enumerate(labels)}, len(labels))
        return self.cells(task.soft_answers(targets, len(labels)), labels, task)

    def read_cells(self, cells: Sequence[Sequence[str]], labels: Sequence[str]) -> np.ndarray:
        """Return the probabilities that cells hold, float64 (N, C); 0 for labels that they leave out."""
        answers = np.zeros((len(cells), len(labels)))
        answers[:, self.places(labels)] = np.array(cells, np.float64)
        return answers

    def places(self, labels: Sequence[str]) -> list[int]:
        """Return which labels the columns of the submission are of, int (K,).

        Raises:
            ConfigError: a column is no label, or nothing says which label's probability a single column holds.
        """
        number = {label: place for place, label in enumerate(labels)}
        if self.columns:
            if strange := [column for column in self.columns if column not in number]:
                raise ConfigError(
                    f"`table.answer_columns` {', '.join(strange)}: no label of that name; labels are {_some(labels)}"
                )
            return [number[column] for column in self.columns]
        positive = self.positive
        if positive is None:
            positive = labels[0] if len(labels) == 1 else "1" if set(labels) == {"0", "1"} else None
        if positive is None:
            raise ConfigError(
                "the submission has one column for probabilities: say of which label with --rule.positive, one of "
                f"{_some(labels)}; or name a column a label in `table.answer_columns`"
            )
        if positive not in number:
            raise ConfigError(f"`rule.positive` {positive!r} is no label; labels are {_some(labels)}")
        return [number[positive]]


class LabelProbabilities(RuleFitter):
    """`probability`."""

    rule, learns = Probabilities, False

    def __init__(self, context: FitContext) -> None:
        super().__init__(context)
        exclusive = context.task is not None and context.task.exclusive
        self._rule = Probabilities(exclusive=exclusive, positive=context.plan.positive, columns=context.columns)
        places = sorted(self._rule.places(context.labels))
        self._judged = None if places == list(range(len(context.labels))) else places
        if self._judged is not None and LABELS not in self.scorer.metric.targets:
            raise ConfigError(
                f"`score.metric` {self.scorer.name} judges all classes of a row, and `table.answer_columns` names "
                f"{len(places)} of {len(context.labels)}"
            )

    @property
    def scorer(self) -> Scorer:
        return super().scorer if self._judged is None else replace(super().scorer, targets=LABELS)

    @property
    def judges_answers(self) -> bool:
        return True

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        return self._rule

    def judged(self, answers: np.ndarray, probs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the columns that are submitted, and which rows have their labels; all of them as they are."""
        task, labels = self.context.task, self.context.labels
        if self._judged is None or task is None:
            return answers, targets
        return answers[:, self._judged], task.label_matrix(targets, len(labels))[:, self._judged].astype(np.uint8)

    def read_cells(self, cells: Sequence[Sequence[str]]) -> np.ndarray:
        return self._rule.read_cells(cells, self.context.labels)


def _sum_to_one(probs: np.ndarray) -> np.ndarray:
    """Divide rows whose sum is not 1 by it; what rounding in float32 leaves stays as it is."""
    sums = probs.sum(1, keepdims=True, dtype=np.float64)
    off = np.abs(sums - 1) > ROUNDING
    return np.where(off, probs / sums, probs) if off.any() else probs


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
