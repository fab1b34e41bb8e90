"""Decision rules: how probabilities become answers. Kept as a small JSON, applied to any probabilities."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

import numpy as np

from imettk.errors import MismatchError
from imettk.postprocess.ratio import share_thresholds

CHUNK = 4096  # rows that are looked at in one go


@dataclass(frozen=True)
class Rule:
    """How probabilities become answers.

    Attributes:
        kind: `threshold` takes every label at or above its threshold; `share` finds, in the very probabilities that it
            is applied to, thresholds at which each label has its share of the rows; `argmax` the most likely class.
        thresholds: one a label, (C,); of `threshold` alone.
        shares: of the rows that each label should have, (C,); of `share` alone.
        relative: thresholds are on probabilities divided by the largest of their row.
        min_labels: a row below any thresholds gets so many of its most likely labels.
        max_labels: a row keeps the most likely ones of its labels; None keeps all.
    """

    kind: Literal["threshold", "share", "argmax"]
    thresholds: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    relative: bool = False
    min_labels: int = 0
    max_labels: int | None = None

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Probabilities (N, C) -> chosen labels, bool (N, C), or the class, int64 (N,)."""
        if self.kind == "argmax":
            return probs.argmax(1)
        scale = relative_to_row(probs) if self.relative else probs
        chosen = scale >= self.thresholds_for(scale).astype(probs.dtype)
        return limit_labels(chosen, probs, min_labels=self.min_labels, max_labels=self.max_labels)

    def thresholds_for(self, scale: np.ndarray) -> np.ndarray:
        """The threshold of each label, float64 (C,), for probabilities (N, C), which are relative if the rule is."""
        given = self.thresholds if self.kind == "threshold" else self.shares
        if len(given) != scale.shape[1]:
            raise MismatchError(f"the rule is for {len(given)} labels, the probabilities are of {scale.shape[1]}")
        return np.array(given) if self.kind == "threshold" else share_thresholds(scale, np.array(given))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Rule:
        """What `to_json` gave; `MismatchError` names fields that this version does not know."""
        known = {item.name for item in fields(cls)}
        if not isinstance(content, dict) or "kind" not in content:
            raise MismatchError("rule.json holds no rule: run `imettk validate` again")
        if unknown := sorted(set(content) - known):
            raise MismatchError(f"rule.json holds {', '.join(unknown)}, which this version does not know: `validate`")
        lists: Any = {name: tuple(value) for name, value in content.items() if isinstance(value, list)}
        rule = cls(**(content | lists))
        if not rule._is_sound():
            raise MismatchError("rule.json holds values that no rule has: run `imettk validate` again")
        return rule

    def _is_sound(self) -> bool:
        """Whether every field holds what it should: a file may have been changed by hand."""
        counts = [self.min_labels, *([] if self.max_labels is None else [self.max_labels])]
        return (
            self.kind in get_args(get_type_hints(Rule)["kind"])
            and isinstance(self.relative, bool)
            and all(isinstance(count, int) and count >= 0 for count in counts)
            and all(isinstance(values, tuple) for values in (self.thresholds, self.shares))
            and all(isinstance(value, (int, float)) and value == value for value in (*self.thresholds, *self.shares))
        )


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
