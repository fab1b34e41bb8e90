"""The rule `value`: numbers as answers, clipped to the range of the training rows and rounded if they are whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from imettk.errors import ConfigError, MismatchError
from imettk.postprocess.fitters import FitContext, RuleFitter
from imettk.postprocess.rule import Rule, column_order
from imettk.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Values(Rule):
    """Numbers that the network outputs as answers, float32 (N, T).

    Attributes:
        low, high: bounds that answers are clipped to, (T,).
        whole: round answers to whole numbers.
        columns: columns of the submission, in order, if there are several.
        sums: for each target, the targets to add up as its answer, () for its own number, (T,); () if no target is a
            sum.
    """

    kind: ClassVar[str] = "value"
    sure_by_agreement: ClassVar[bool] = True
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    whole: bool = False
    columns: tuple[str, ...] = ()
    sums: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.sums, tuple):  # JSON turns the inner tuples into lists
            parts = tuple(tuple(part) if isinstance(part, list) else part for part in self.sums)
            object.__setattr__(self, "sums", parts)

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Clip numbers (N, T), replace targets that are sums, and round if answers are whole."""
        if len(self.low) != probs.shape[1]:
            raise MismatchError(f"the rule is for {len(self.low)} targets, the predictions have {probs.shape[1]}")
        ends = np.array(self.low, np.float32), np.array(self.high, np.float32)
        kept = np.clip(probs, *ends)
        if any(self.sums):
            totals = [kept[:, part].sum(1) if part else kept[:, at] for at, part in enumerate(map(list, self.sums))]
            kept = np.clip(np.stack(totals, axis=1), *ends)
        return np.asarray(np.rint(kept) if self.whole else kept)

    def cells(self, answers: np.ndarray, labels: Sequence[str], task: Task) -> list[list[str]]:
        return task.cells(answers[:, self.places(labels)], labels)

    def known_cells(self, known: list[list[str]], labels: Sequence[str], task: Task) -> list[list[str]]:
        return [[row[place] for place in self.places(labels)] for row in known]

    def places(self, labels: Sequence[str]) -> list[int]:
        """Return the target of each column of the submission, int (T,); errors as in `column_order`."""
        return column_order(self.columns, labels, "targets")

    def is_sound(self) -> bool:
        ends = (self.low, self.high)
        return (
            isinstance(self.whole, bool)
            and all(isinstance(end, tuple) and all(isinstance(number, int | float) for number in end) for end in ends)
            and len(self.low) == len(self.high)
            and isinstance(self.sums, tuple)
            and all(isinstance(part, tuple) for part in self.sums)
            and all(isinstance(at, int) and 0 <= at < len(self.low) for part in self.sums for at in part)
            and len(self.sums) in (0, len(self.low))
            and all(low <= high for low, high in zip(*ends, strict=True))
        )


class NumberValues(RuleFitter):
    """Fitter of the rule `value`."""

    rule = Values

    def __init__(self, context: FitContext) -> None:
        super().__init__(context)
        Values(columns=context.columns).places(context.labels)
        self._sums = read_sums(context.plan.sums, context.labels)

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        low, high = (tuple(end.astype(float).tolist()) for end in (targets.min(0), targets.max(0)))
        plan, columns = self.context.plan, self.context.columns
        return Values(low=low, high=high, whole=plan.whole, columns=columns, sums=self._sums)

    def read_cells(self, cells: Sequence[Sequence[str]]) -> np.ndarray:
        places = Values(columns=self.context.columns).places(self.context.labels)
        answers = np.zeros((len(cells), len(places)), np.float32)
        answers[:, places] = np.array(cells, np.float64)
        return answers


def read_sums(texts: Sequence[str], labels: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Return the targets that add up to each target, (T,), () for its own number; () if no target is a sum.

    Raises:
        ConfigError: a text is not `target = target + target`, or a part is a sum itself.
    """
    names, sums = {label: place for place, label in enumerate(labels)}, {}
    for text in texts:
        total, _, rest = (part.strip() for part in text.partition(" = "))
        parts = [part.strip() for part in rest.split(" + ")]
        if len({total, *parts}) <= len(parts) or len(parts) < 2 or total in sums or not {total, *parts} <= {*names}:
            raise ConfigError(
                f"`rule.sums` {text!r} must be TARGET = TARGET + TARGET, with different targets out of "
                f"{', '.join(labels)}, and one sum per target"
            )
        sums[total] = tuple(names[part] for part in parts)
    for total, places in sums.items():
        if inner := [labels[place] for place in places if labels[place] in sums]:
            raise ConfigError(f"`rule.sums`: {total} is a sum of {inner[0]}, which is itself a sum: list its parts")
    return tuple(sums.get(label, ()) for label in labels) if sums else ()
