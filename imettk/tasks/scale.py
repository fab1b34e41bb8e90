"""Numbers as a network learns them, and back: the scale comes from the training rows, and is kept with the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np

from imettk.errors import DataError

Kind = Literal["standard", "log", "range"]


@dataclass(frozen=True)
class Scale:
    """T targets, each less its shift and divided by its spread; of the first of them alone too. NaN is unknown.

    Attributes:
        kind: `standard` is the mean and standard deviation; `log` those of log(1 + number); `range` the lowest number
            and the distance to the highest, where the network gives logits.
        shift, spread: of each target, (T,); a spread is above 0.
    """

    kind: Kind
    shift: tuple[float, ...]
    spread: tuple[float, ...]

    @classmethod
    def fit(cls, targets: np.ndarray, kind: Kind) -> Self:
        """Return the scale of these rows, float (N, T), at least one.

        Raises:
            DataError: `log` of a number that has none.
        """
        numbers = targets.astype(np.float64)
        if kind == "log" and np.nanmin(numbers) <= -1:
            raise DataError(f"`train.target_scale` log needs numbers above -1, and one is {np.nanmin(numbers):g}")
        numbers = np.log1p(numbers) if kind == "log" else numbers
        if (unknown := np.isnan(numbers)).any():
            numbers[:, unknown.all(0)] = 0
            shift, spread = np.nanmean(numbers, 0), np.nanstd(numbers, 0)
        else:
            shift, spread = numbers.mean(0), numbers.std(0)
        if kind == "range":
            shift, spread = np.nanmin(numbers, 0), np.nanmax(numbers, 0) - np.nanmin(numbers, 0)
        spread = np.where(spread > 0, spread, 1)
        return cls(kind, tuple(shift.tolist()), tuple(spread.tolist()))

    def forward(self, targets: np.ndarray) -> np.ndarray:
        """Return numbers as the network learns them, float32 (N, T); `range` gives [0, 1], also beyond its ends."""
        numbers = targets.astype(np.float64)
        if self.kind == "log":
            numbers = np.log1p(np.maximum(numbers, np.nextafter(-1, 0)))  # a row that validates may hold any
        shift, spread = self._first(numbers.shape[-1])
        scaled = (numbers - shift) / spread
        return (np.clip(scaled, 0, 1) if self.kind == "range" else scaled).astype(np.float32)

    def inverse(self, outputs: np.ndarray) -> np.ndarray:
        """Return what the network gives, float (..., T), as numbers, float32."""
        scaled = outputs.astype(np.float64)
        if self.kind == "range":
            scaled = 0.5 * (1 + np.tanh(scaled / 2))  # a sigmoid that overflows nowhere
        shift, spread = self._first(scaled.shape[-1])
        numbers = scaled * spread + shift
        return (np.expm1(np.minimum(numbers, 80)) if self.kind == "log" else numbers).astype(np.float32)

    def _first(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return shift and spread of so many targets, float64 (T,)."""
        return np.array(self.shift[:number]), np.array(self.spread[:number])

    def to_values(self) -> dict[str, Any]:
        """Return plain values, for the header of a file."""
        return asdict(self) | {"shift": list(self.shift), "spread": list(self.spread)}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_values` returned."""
        return cls(values["kind"], tuple(values["shift"]), tuple(values["spread"]))
