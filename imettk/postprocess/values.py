"""Numbers as answers: kept in the range that was seen, and rounded where a competition wants whole ones."""

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
    """Answers are the numbers that the network gives, float32 (N, T).

    Attributes:
        low, high: of each target, between which answers are kept, (T,).
        whole: answers are rounded.
        columns: of the submission, in its order, where there are several.
        sums: targets whose numbers are added up to answer a target in place of its own, none for its own, (T,); empty
            where no target is a sum.
    """

    kind: ClassVar[str] = "value"
    sure_by_agreement: ClassVar[bool] = True
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    whole: bool = False
    columns: tuple[str, ...] = ()
    sums: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.sums, tuple):  # of a file, with lists in it
            parts = tuple(tuple(part) if isinstance(part, list) else part for part in self.sums)
            object.__setattr__(self, "sums", parts)

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Keep numbers (N, T) in range, add those up whose sum is a target, and round where answers are whole."""
        if len(self.low) != probs.shape[1]:
            raise MismatchError(f"the rule is for {len(self.low)} targets, the predictions are of {probs.shape[1]}")
        ends = np.array(self.low, np.float32), np.array(self.high, np.float32)
        kept = np.clip(probs, *ends)
        if any(self.sums):
            totals = [kept[:, part].sum(1) if part else kept[:, at] for at, part in enumerate(map(list, self.sums))]
            kept = np.clip(np.stack(totals, axis=1), *ends)
        return np.rint(kept) if self.whole else kept

    def cells(self, answers: np.ndarray, labels: Sequence[str], task: Task) -> list[list[str]]:
        return task.cells(answers[:, self.places(labels)], labels)

    def known_cells(self, known: list[list[str]], labels: Sequence[str], task: Task) -> list[list[str]]:
        return [[row[place] for place in self.places(labels)] for row in known]

    def places(self, labels: Sequence[str]) -> list[int]:
        """Return which targets the columns of the submission are of, int (T,); errors as of `column_order`."""
        return column_order(self.columns, labels, "targets")

    def is_sound(self) -> bool:
        ends = (self.low, self.high)
        return (
            isinstance(self.whole, bool)
            and all(isinstance(end, tuple) and all(isinstance(one, int | float) for one in end) for end in ends)
            and len(self.low) == len(self.high)
            and isinstance(self.sums, tuple)
            and all(isinstance(part, tuple) for part in self.sums)
            and all(isinstance(at, int) and 0 <= at < len(self.low) for part in self.sums for at in part)
            and len(self.sums) in (0, len(self.low))
            and all(low <= high for low, high in zip(*ends, strict=True))
        )


class NumberValues(RuleFitter):
    """`value`."""

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
    """Return the places of the targets that add up to each target, (T,), none for its own; () where none is a sum.

    Raises:
        ConfigError: a text is no `target = target + target`, or a part is a sum itself.
    """
    names, found = {label: place for place, label in enumerate(labels)}, {}
    for text in texts:
        total, _, rest = (part.strip() for part in text.partition(" = "))
        parts = [part.strip() for part in rest.split(" + ")]
        if len({total, *parts}) <= len(parts) or len(parts) < 2 or total in found or not {total, *parts} <= {*names}:
            raise ConfigError(
                f"`rule.sums` {text!r} must be TARGET = TARGET + TARGET, each another one of {', '.join(labels)}, and "
                "the sum once"
            )
        found[total] = tuple(names[part] for part in parts)
    for total, places in found.items():
        if inner := [labels[place] for place in places if labels[place] in found]:
            raise ConfigError(f"`rule.sums`: {total} is a sum of {inner[0]}, which is a sum itself: name its parts")
    return tuple(found.get(label, ()) for label in labels) if found else ()
