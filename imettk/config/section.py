"""Base class of a recipe's sections: ranges that hold for every field, and how a value out of range is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, ClassVar, TypeAlias

from imettk.config.own import is_own
from imettk.errors import ConfigError

LARGEST_FLOAT = 3.4028234e38  # of float32: networks compute in it, and anything larger would be infinite there
LARGEST_INT = 2**63 - 1  # of int64, as numpy and torch have it
# Limits against slips of the keyboard: one zero too many must not take all memory or all processes of a machine.
MOST_EPOCHS = 100_000
MOST_PIXELS = 16_384  # a side
MOST_ROWS = 2**20  # a batch
MOST_LISTED = 10_000  # neighbours, answers, folds
Parameter: TypeAlias = bool | int | float | str  # a value in `loss_params` or `score.params`


class Section:
    """Base of the frozen dataclasses of settings. Each checks its ranges when made; no number may be infinite or NaN.

    JSON is read by pydantic, which refuses unknown fields and wrong types.
    """

    # pydantic looks for this name, so `--help`, which reads no JSON, does without importing pydantic.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    def __post_init__(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]  # every section is a dataclass
            for value in _values(getattr(self, item.name)):
                if isinstance(value, float):
                    self._require(abs(value) <= LARGEST_FLOAT, item.name, "finite (in float32)")  # False for NaN too
                elif isinstance(value, int):
                    self._require(abs(value) <= LARGEST_INT, item.name, "an integer of 64 bits")

    def _at_most(self, **limits: float) -> None:
        """Raise `ConfigError` if a field, or any of its values, exceeds its limit."""
        for name, limit in limits.items():
            for value in _values(getattr(self, name)):
                self._require(value is None or value <= limit, name, f"at most {limit:,}")

    def _one_of(self, name: str, rows: Mapping[str, object], *, own: bool = True) -> None:
        """Raise `ConfigError` unless a field is None, the name of a row, or a user's own where `own` allows it."""
        value = getattr(self, name)
        known = value is None or value in rows or (own and is_own(value))
        self._require(known, name, f"one of {', '.join(rows)}" + (", or your own as recipe:name" if own else ""))

    def _require(self, ok: bool, name: str, rule: str) -> None:
        """Raise `ConfigError` with the field's name, rule and value unless it is `ok`."""
        if not ok:
            raise ConfigError(f"`{name}` of {type(self).__name__} must be {rule}, got {getattr(self, name)!r}")


def _values(content: Any) -> Iterable[Any]:
    """Return the values of a field: the items of a tuple or dict, or the single value."""
    if isinstance(content, dict):
        return content.values()
    return content if isinstance(content, tuple) else (content,)
