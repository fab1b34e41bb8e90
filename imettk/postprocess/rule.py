"""Decision rules: how probabilities become answers. Kept as a small JSON, applied to any probabilities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np

from imettk.errors import ConfigError, MismatchError
from imettk.postprocess.pseudo import rank_confidence, row_confidence
from imettk.postprocess.ratio import drift, share_thresholds
from imettk.tasks import Task

CHUNK = 4096  # rows that are looked at in one go


class Rule(ABC):
    """A fitted rule, a dataclass; `decisions` of its answers have the form of the task's targets.

    Attributes:
        kind: what its JSON calls it.
        sure_by_agreement: answers are sure where the models of several folds agree, and not by one's predictions.
    """

    kind: ClassVar[str]
    sure_by_agreement: ClassVar[bool] = False

    @abstractmethod
    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Turn what the network gives, float (N, O), into answers, first axis N."""

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        """Return how far each row's answer is from every doubt, float (N,), in [0.5, 1) or above.

        Raises:
            ConfigError: the rule knows no doubt.
        """
        raise ConfigError(f"pseudo labels need to know how sure an answer is: the rule {self.kind} has no confidence()")

    def decisions(self, answers: np.ndarray) -> np.ndarray:
        """Return the answers in the form of the task's targets, for tables of labels, pictures and pseudo labels."""
        return answers

    def cells(self, answers: np.ndarray, labels: Sequence[str], task: Task) -> list[list[str]]:
        """Return what stands in a submission for each answer: its labels."""
        return task.cells(answers, labels)

    def known_cells(self, known: list[list[str]], labels: Sequence[str], task: Task) -> list[list[str]]:
        """Return the same for rows whose labels are known."""
        return known

    def places(self, labels: Sequence[str]) -> list[int]:
        """Return which labels' probabilities count."""
        return list(range(len(labels)))

    def drift(self, answers: np.ndarray) -> np.ndarray | None:
        """Return by how many rows the answers are off what the rule promised each label, int64 (C,), or None."""
        return None

    def answer_numbers(self) -> tuple[float, ...]:
        """Return the few numbers that answers are among, rising; () where they are labels, or any numbers."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """Return the rule as plain values, its kind among them."""
        return {"kind": self.kind} | asdict(self)  # type: ignore[call-overload]  # every rule is a dataclass

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return what `to_json` gave; `MismatchError` names fields that this version does not know."""
        if not isinstance(content, dict) or "kind" not in content:
            raise MismatchError("rule.json holds no rule: run `imettk validate` again")
        known = {item.name for item in fields(cls)}  # type: ignore[arg-type]
        plain = {name: value for name, value in content.items() if name != "kind"}
        if unknown := sorted(name for name in set(plain) - known if plain[name] not in ([], None, False, 0)):
            raise MismatchError(f"rule.json holds {', '.join(unknown)}, which this version does not know: `validate`")
        lists = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
        rule = cls(**{name: value for name, value in lists.items() if name in known})
        if content["kind"] != cls.kind or not rule.is_sound():
            raise MismatchError("rule.json holds values that no rule has: run `imettk validate` again")
        return rule

    def is_sound(self) -> bool:
        """Return whether every field holds what it should: a file may have been changed by hand."""
        return True


@dataclass(frozen=True)
class Likeliest(Rule):
    """The most likely class."""

    kind: ClassVar[str] = "argmax"

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Probabilities (N, C) -> the class, int64 (N,)."""
        return probs.argmax(1)

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        return row_confidence(probs, None)


@dataclass(frozen=True, kw_only=True)
class _LabelRule(Rule):
    """Labels whose probability is at or above a threshold.

    Attributes:
        relative: thresholds are on probabilities divided by the largest of their row.
        min_labels: a row below any thresholds gets so many of its most likely labels.
        max_labels: a row keeps the most likely ones of its labels; None keeps all.
    """

    relative: bool = False
    min_labels: int = 0
    max_labels: int | None = None

    @property
    @abstractmethod
    def _given(self) -> tuple[float, ...]:
        """One number a label."""

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Probabilities (N, C) -> chosen labels, bool (N, C)."""
        scale = relative_to_row(probs) if self.relative else probs
        chosen = scale >= self.thresholds_for(scale).astype(probs.dtype)
        return limit_labels(chosen, probs, min_labels=self.min_labels, max_labels=self.max_labels)

    def thresholds_for(self, scale: np.ndarray) -> np.ndarray:
        """Return the threshold of each label, float64 (C,), for probabilities (N, C), relative if the rule is."""
        if len(self._given) != scale.shape[1]:
            raise MismatchError(f"the rule is for {len(self._given)} labels, the probabilities are of {scale.shape[1]}")
        return np.array(self._given)

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        if self.relative:
            raise ConfigError("pseudo labels need a rule with thresholds on probabilities: set --rule.relative False")
        return row_confidence(probs, self.thresholds_for(probs))

    def is_sound(self) -> bool:
        counts = [self.min_labels, *([] if self.max_labels is None else [self.max_labels])]
        return (
            isinstance(self.relative, bool)
            and all(isinstance(count, int) and count >= 0 for count in counts)
            and isinstance(self._given, tuple)
            and all(isinstance(value, (int, float)) and value == value for value in self._given)
        )


@dataclass(frozen=True, kw_only=True)
class Thresholds(_LabelRule):
    """Every label at or above its threshold.

    Attributes:
        thresholds: one a label, (C,).
    """

    kind: ClassVar[str] = "threshold"
    thresholds: tuple[float, ...] = ()

    @property
    def _given(self) -> tuple[float, ...]:
        return self.thresholds

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        if self.relative or min(self.thresholds, default=0) <= 1:
            return super().confidence(probs)
        # No probability reaches any threshold: labels come by their rank alone.
        if self.min_labels == 0:
            raise ConfigError("the rule gives no row any label, so there is nothing to be sure of")
        return rank_confidence(probs, self.min_labels)


@dataclass(frozen=True, kw_only=True)
class Shares(_LabelRule):
    """Thresholds at which each label has its share of the rows, found in the very probabilities they are applied to.

    Attributes:
        shares: of the rows that each label should have, (C,).
    """

    kind: ClassVar[str] = "share"
    shares: tuple[float, ...] = ()

    @property
    def _given(self) -> tuple[float, ...]:
        return self.shares

    def thresholds_for(self, scale: np.ndarray) -> np.ndarray:
        return share_thresholds(scale, super().thresholds_for(scale))

    def drift(self, answers: np.ndarray) -> np.ndarray | None:
        return drift(answers, np.array(self.shares))


def column_order(columns: Sequence[str], names: Sequence[str], what: str) -> list[int]:
    """Return which of these names each column of the submission is of, int (T,); without columns, each is its own.

    Args:
        what: the names are, as people call them.

    Raises:
        ConfigError: the columns are not the names, each once.
    """
    if not columns:
        return list(range(len(names)))
    if sorted(columns) != sorted(names):
        raise ConfigError(
            f"`table.answer_columns` {', '.join(columns)} are not the {what} {', '.join(names)}, each once"
        )
    return [list(names).index(column) for column in columns]


def relative_to_row(probs: np.ndarray) -> np.ndarray:
    """Each probability divided by the largest of its row, as `probs` (N, C); a row of zeros stays."""
    return probs / np.maximum(probs.max(1, keepdims=True), np.finfo(probs.dtype).tiny)


def limit_labels(chosen: np.ndarray, probs: np.ndarray, *, min_labels: int, max_labels: int | None) -> np.ndarray:
    """Rows with too few labels get their most likely ones, rows with too many keep the most likely of theirs.

    Args:
        chosen: bool (N, C); changed in place.
        probs: (N, C); of equal ones the first label counts as the more likely.

    Returns:
        `chosen`.
    """
    counts = np.count_nonzero(chosen, axis=1)
    wanted = np.clip(counts, min_labels, max_labels)
    rows = np.flatnonzero(wanted != counts)
    for first in range(0, len(rows), CHUNK):
        some = rows[first : first + CHUNK]
        # What is chosen comes before what is not, whatever the probabilities: it stays where there are too few, and
        # what is not chosen cannot come in where there are too many.
        order, few = probs[some], wanted[some, None] > counts[some, None]
        order[chosen[some] & few] = np.inf
        order[~chosen[some] & ~few] = -np.inf
        tops = top_labels(order, int(wanted[some].max()))
        keep = np.arange(tops.shape[1]) < wanted[some, None]
        limited = np.zeros((len(some), probs.shape[1]), bool)
        np.put_along_axis(limited, tops, keep, axis=1)
        chosen[some] = limited
    return chosen


def top_labels(probs: np.ndarray, count: int) -> np.ndarray:
    """The `count` most likely labels of each row, the likeliest first, int64 (N, count) or (N, C) where that is less.

    Of equal ones the first label counts as the more likely, as in `limit_labels`.
    """
    count = min(count, probs.shape[1])
    tops = np.zeros((len(probs), count), np.int64)
    for first in range(0, len(probs) if count else 0, CHUNK):
        part = probs[first : first + CHUNK]
        if count == 1:
            tops[first : first + CHUNK, 0] = part.argmax(1)
            continue
        # All that reach the border, in order of labels, and of these the first in a stable order.
        border = -np.partition(-part, count - 1, axis=1)[:, count - 1 : count]
        most = int(np.count_nonzero(part >= border, axis=1).max())
        reach = np.sort(np.argpartition(-part, most - 1, axis=1)[:, :most], axis=1)
        ranks = np.argsort(-np.take_along_axis(part, reach, 1), axis=1, kind="stable")[:, :count]
        tops[first : first + CHUNK] = np.take_along_axis(reach, ranks, 1)
    return tops
