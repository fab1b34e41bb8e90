"""What all sections of a recipe share: ranges that hold everywhere, and how a value is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, ClassVar, TypeAlias

from imettk.config.own import is_own
from imettk.errors import ConfigError

LARGEST_FLOAT = 3.4028234e38  # of float32, in which networks compute
LARGEST_INT = 2**63 - 1  # of numpy and torch
MOST_EPOCHS = 100_000
MOST_PIXELS = 16_384  # of a side
MOST_ROWS = 2**20  # of a batch
MOST_LISTED = 10_000  # neighbours, answers, folds
Parameter: TypeAlias = bool | int | float | str  # of what a recipe names


class Section:
    """What all sections share: JSON with unknown or ill-typed fields is refused (read by pydantic), as is any number
    that is not finite."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    def __post_init__(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]  # every section is a dataclass
            value = getattr(self, item.name)
            for number in _numbers(value):
                if isinstance(number, float):
                    self._require(abs(number) <= LARGEST_FLOAT, item.name, "finite (in float32)")
                elif isinstance(number, int):
                    self._require(abs(number) <= LARGEST_INT, item.name, "an integer of 64 bits")

    def _at_most(self, **limits: float) -> None:
        """Raise `ConfigError` where a field, or one of its values, is above its limit."""
        for name, limit in limits.items():
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                self._require(number is None or number <= limit, name, f"at most {limit:,}")

    def _one_of(self, name: str, rows: Mapping[str, object], *, own: bool = True) -> None:
        """Raise `ConfigError` where a field is neither the name of a row, nor a user's own, nor None.

        Args:
            own: whether it can be a user's own.
        """
        value = getattr(self, name)
        known = value is None or value in rows or (own and is_own(value))
        self._require(known, name, f"one of {', '.join(rows)}" + (", or your own as recipe:name" if own else ""))

    def _require(self, ok: bool, name: str, rule: str) -> None:
        if not ok:
            raise ConfigError(f"`{name}` of {type(self).__name__} must be {rule}, got {getattr(self, name)!r}")


def _numbers(value: Any) -> Iterable[Any]:
    """Return what a field holds, one by one."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, tuple) else (value,)
