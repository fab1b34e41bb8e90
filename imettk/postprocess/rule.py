"""Decision rules, which turn probabilities into answers; stored as a small JSON, applied to any probabilities."""

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

CHUNK = 4096  # rows processed at a time


class Rule(ABC):
    """A fitted rule, a dataclass; `decisions` converts its answers to the form of the task's targets.

    Attributes:
        kind: its name in the JSON.
        sure_by_agreement: confidence is the agreement of several folds' models, instead of a property of one
            prediction.
    """

    kind: ClassVar[str]
    sure_by_agreement: ClassVar[bool] = False

    @abstractmethod
    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Turn the network's outputs, float (N, O), into answers, first axis N."""

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        """Return the confidence of each row's answer, float (N,), in [0.5, 1) or above.

        Raises:
            ConfigError: the rule has no measure of confidence.
        """
        raise ConfigError(f"pseudo labels need confidences of answers, and the rule {self.kind} has no confidence()")

    def decisions(self, answers: np.ndarray) -> np.ndarray:
        """Return the answers in the form of the task's targets, for tables of labels, pictures and pseudo labels."""
        return answers

    def cells(self, answers: np.ndarray, labels: Sequence[str], task: Task) -> list[list[str]]:
        """Return the cells of a submission for each answer: its labels."""
        return task.cells(answers, labels)

    def known_cells(self, known: list[list[str]], labels: Sequence[str], task: Task) -> list[list[str]]:
        """Return the cells of rows whose labels are known."""
        return known

    def places(self, labels: Sequence[str]) -> list[int]:
        """Return the indices of the labels whose probabilities count."""
        return list(range(len(labels)))

    def drift(self, answers: np.ndarray) -> np.ndarray | None:
        """Return how many rows each label's count is off the promised one, int64 (C,), or None without a promise."""
        return None

    def answer_numbers(self) -> tuple[float, ...]:
        """Return the few numbers that answers are chosen from, rising; () for labels, or unrestricted numbers."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """Return the rule, with its kind, as plain values."""
        plain: dict[str, Any] = asdict(self)  # type: ignore[call-overload]  # every rule is a dataclass
        return {"kind": self.kind} | plain

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return the rule that `to_json` wrote; raise `MismatchError` for fields that this version does not know."""
        if not isinstance(content, dict) or "kind" not in content:
            raise MismatchError("rule.json holds no rule: run `imettk validate` again")
        known = {item.name for item in fields(cls)}  # type: ignore[arg-type]
        plain = {name: value for name, value in content.items() if name != "kind"}
        # Earlier versions wrote the fields of all kinds into every rule: those left empty are dropped.
        if unknown := sorted(name for name in set(plain) - known if plain[name] not in ([], None, False, 0)):
            raise MismatchError(
                f"rule.json holds {', '.join(unknown)}, unknown to this version: run `imettk validate` again"
            )
        lists = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
        rule = cls(**{name: value for name, value in lists.items() if name in known})
        if content["kind"] != cls.kind or not rule.is_sound():
            raise MismatchError("rule.json holds invalid values: run `imettk validate` again")
        return rule

    def is_sound(self) -> bool:
        """Return whether every field holds a valid value: the file may have been edited by hand."""
        return True


@dataclass(frozen=True)
class Likeliest(Rule):
    """The likeliest class."""

    kind: ClassVar[str] = "argmax"

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Turn probabilities (N, C) into the likeliest class, int64 (N,)."""
        return np.asarray(probs.argmax(1))

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        return row_confidence(probs, None)


@dataclass(frozen=True, kw_only=True)
class _LabelRule(Rule):
    """Labels whose probability is at or above a threshold.

    Attributes:
        relative: thresholds apply to probabilities divided by the largest of their row.
        min_labels: a row with fewer labels is filled up with its likeliest ones.
        max_labels: a row with more labels keeps its likeliest ones; None keeps all.
    """

    relative: bool = False
    min_labels: int = 0
    max_labels: int | None = None

    @property
    @abstractmethod
    def _given(self) -> tuple[float, ...]:
        """One number per label."""

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Turn probabilities (N, C) into chosen labels, bool (N, C)."""
        scale = relative_to_row(probs) if self.relative else probs
        # In the dtype of the probabilities: 0.7 in float32 lies below 0.7 in float64 and must reach a threshold of 0.7.
        chosen = scale >= self.thresholds_for(scale).astype(probs.dtype)
        return limit_labels(chosen, probs, min_labels=self.min_labels, max_labels=self.max_labels)

    def thresholds_for(self, scale: np.ndarray) -> np.ndarray:
        """Return the threshold of each label, float64 (C,), for probabilities (N, C), relative ones if the rule is."""
        if len(self._given) != scale.shape[1]:
            raise MismatchError(f"the rule is for {len(self._given)} labels, the predictions have {scale.shape[1]}")
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
    """All labels at or above their thresholds.

    Attributes:
        thresholds: one per label, (C,).
    """

    kind: ClassVar[str] = "threshold"
    thresholds: tuple[float, ...] = ()

    @property
    def _given(self) -> tuple[float, ...]:
        return self.thresholds

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        if self.relative or min(self.thresholds, default=0) <= 1:
            return super().confidence(probs)
        # The rule `top`: no probability reaches a threshold, so labels are chosen by rank.
        if self.min_labels == 0:
            raise ConfigError("the rule gives no row a label, so there is nothing to be confident of")
        return rank_confidence(probs, self.min_labels)


@dataclass(frozen=True, kw_only=True)
class Shares(_LabelRule):
    """Thresholds that give each label its share of the rows, computed from the probabilities they are applied to.

    Attributes:
        shares: share of rows that each label should have, (C,).
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
    """Return the index of each submission column's name, int (T,); without columns, the names' own order.

    Args:
        what: noun for the names, for the message.

    Raises:
        ConfigError: the columns are not exactly the names.
    """
    if not columns:
        return list(range(len(names)))
    if sorted(columns) != sorted(names):
        raise ConfigError(
            f"`table.answer_columns` {', '.join(columns)} must be the {what} {', '.join(names)}, each once"
        )
    return [list(names).index(column) for column in columns]


def relative_to_row(probs: np.ndarray) -> np.ndarray:
    """Divide each probability by the largest of its row, (N, C); a row of zeros stays unchanged."""
    return np.asarray(probs / np.maximum(probs.max(1, keepdims=True), np.finfo(probs.dtype).tiny))


def limit_labels(chosen: np.ndarray, probs: np.ndarray, *, min_labels: int, max_labels: int | None) -> np.ndarray:
    """Fill rows with too few labels with their likeliest ones, and cut rows with too many to their likeliest.

    Args:
        chosen: bool (N, C); modified in place.
        probs: (N, C); among equal ones the first label counts as likelier.

    Returns:
        `chosen`.
    """
    counts = np.count_nonzero(chosen, axis=1)
    wanted = np.clip(counts, min_labels, max_labels)
    rows = np.flatnonzero(wanted != counts)
    for first in range(0, len(rows), CHUNK):
        chunk = rows[first : first + CHUNK]
        # Chosen labels rank before all others, whatever their probabilities: with per-label thresholds a chosen label
        # may be less likely than one that is not, and must not be swapped for it.
        order, few = probs[chunk], wanted[chunk, None] > counts[chunk, None]
        order[chosen[chunk] & few] = np.inf
        order[~chosen[chunk] & ~few] = -np.inf
        tops = top_labels(order, int(wanted[chunk].max()))
        keep = np.arange(tops.shape[1]) < wanted[chunk, None]
        limited = np.zeros((len(chunk), probs.shape[1]), bool)
        np.put_along_axis(limited, tops, keep, axis=1)
        chosen[chunk] = limited
    return chosen


def top_labels(probs: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` likeliest labels of each row, likeliest first, int64 (N, count), or (N, C) if C is smaller.

    Among equal ones the first label counts as likelier, as in `limit_labels`.
    """
    count = min(count, probs.shape[1])
    tops = np.zeros((len(probs), count), np.int64)
    for first in range(0, len(probs) if count else 0, CHUNK):
        part = probs[first : first + CHUNK]
        if count == 1:
            tops[first : first + CHUNK, 0] = part.argmax(1)
            continue
        # Partitioning does not order ties, so all labels that reach the border are taken, sorted by label, and a stable
        # sort by probability then keeps the first of equal ones. A full sort of all labels takes many times as long.
        border = -np.partition(-part, count - 1, axis=1)[:, count - 1 : count]
        most = int(np.count_nonzero(part >= border, axis=1).max())
        reach = np.sort(np.argpartition(-part, most - 1, axis=1)[:, :most], axis=1)
        ranks = np.argsort(-np.take_along_axis(part, reach, 1), axis=1, kind="stable")[:, :count]
        tops[first : first + CHUNK] = np.take_along_axis(reach, ranks, 1)
    return tops
