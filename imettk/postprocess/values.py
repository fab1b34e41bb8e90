"""Numbers as answers: kept in the range that was seen, and rounded where a competition wants whole ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from imettk.errors import ConfigError, MismatchError
from imettk.postprocess.fitters import FitContext, RuleFitter
from imettk.postprocess.rule import Rule
from imettk.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Values(Rule):
    """Answers are the numbers that the network gives, float32 (N, T).

    Attributes:
        low, high: of each target, between which answers are kept, (T,).
        whole: answers are rounded.
        columns: of the submission, in its order, where there are several.
    """

    kind: ClassVar[str] = "value"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    whole: bool = False
    columns: tuple[str, ...] = ()

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Keep numbers (N, T) in range, and round them where answers are whole."""
        if len(self.low) != probs.shape[1]:
            raise MismatchError(f"the rule is for {len(self.low)} targets, the predictions are of {probs.shape[1]}")
        kept = np.clip(probs, np.array(self.low, np.float32), np.array(self.high, np.float32))
        return np.rint(kept) if self.whole else kept

    def cells(self, answers: np.ndarray, labels: Sequence[str], task: Task) -> list[list[str]]:
        return task.cells(answers[:, self.places(labels)], labels)

    def known_cells(self, known: list[list[str]], labels: Sequence[str], task: Task) -> list[list[str]]:
        return [[row[place] for place in self.places(labels)] for row in known]

    def places(self, labels: Sequence[str]) -> list[int]:
        """Return which targets the columns of the submission are of, int (T,).

        Raises:
            ConfigError: they are not the targets, each once.
        """
        if not self.columns:
            return list(range(len(labels)))
        if sorted(self.columns) != sorted(labels):
            raise ConfigError(
                f"`table.answer_columns` {', '.join(self.columns)} are not the targets {', '.join(labels)}, each once"
            )
        return [list(labels).index(column) for column in self.columns]

    def is_sound(self) -> bool:
        ends = (self.low, self.high)
        return (
            isinstance(self.whole, bool)
            and all(isinstance(end, tuple) and all(isinstance(one, int | float) for one in end) for end in ends)
            and len(self.low) == len(self.high)
            and all(low <= high for low, high in zip(*ends, strict=True))
        )


class NumberValues(RuleFitter):
    """`value`."""

    rule = Values

    def __init__(self, context: FitContext) -> None:
        super().__init__(context)
        Values(columns=context.columns).places(context.labels)

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        low, high = (tuple(end.astype(float).tolist()) for end in (targets.min(0), targets.max(0)))
        return Values(low=low, high=high, whole=self.context.plan.whole, columns=self.context.columns)

    def read_cells(self, cells: Sequence[Sequence[str]]) -> np.ndarray:
        places = Values(columns=self.context.columns).places(self.context.labels)
        answers = np.zeros((len(cells), len(places)), np.float32)
        answers[:, places] = np.array(cells, np.float64)
        return answers
