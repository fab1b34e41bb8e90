"""Scales of numeric targets: fitted to the training rows, kept with the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np

from imettk.errors import DataError

Kind = Literal["standard", "log", "range"]


@dataclass(frozen=True)
class Scale:
    """A shift and a spread of each of T targets: (number - shift) / spread; the first of them can be scaled alone.

    An unknown target is NaN and stays NaN.

    Attributes:
        kind: `standard` uses mean and standard deviation; `log` those of log(1 + number); `range` uses minimum and
            maximum - minimum, and the network outputs logits.
        shift, spread: one per target, (T,); spreads are above 0.
    """

    kind: Kind
    shift: tuple[float, ...]
    spread: tuple[float, ...]

    @classmethod
    def fit(cls, targets: np.ndarray, kind: Kind) -> Self:
        """Return the scale of these rows, float (N, T), N >= 1.

        Raises:
            DataError: `kind` is `log` and a number is -1 or below.
        """
        numbers = targets.astype(np.float64)
        if kind == "log" and np.nanmin(numbers) <= -1:
            raise DataError(f"`train.target_scale` log needs numbers above -1, got {np.nanmin(numbers):g}")
        numbers = np.log1p(numbers) if kind == "log" else numbers
        if (unknown := np.isnan(numbers)).any():
            numbers[:, unknown.all(0)] = 0  # numpy warns of the mean of a column without numbers
            shift, spread = np.nanmean(numbers, 0), np.nanstd(numbers, 0)
        else:
            shift, spread = numbers.mean(0), numbers.std(0)
        if kind == "range":
            shift, spread = np.nanmin(numbers, 0), np.nanmax(numbers, 0) - np.nanmin(numbers, 0)
        spread = np.where(spread > 0, spread, 1)
        return cls(kind, tuple(shift.tolist()), tuple(spread.tolist()))

    def forward(self, targets: np.ndarray) -> np.ndarray:
        """Return numbers on the scale that the network learns, float32 (N, T); `range` clips to [0, 1]."""
        numbers = targets.astype(np.float64)
        if self.kind == "log":
            # Only training rows were checked by `fit`: a validation row may hold a number of -1 or below.
            numbers = np.log1p(np.maximum(numbers, np.nextafter(-1, 0)))
        shift, spread = self._first(numbers.shape[-1])
        scaled: np.ndarray = (numbers - shift) / spread
        return (np.clip(scaled, 0, 1) if self.kind == "range" else scaled).astype(np.float32)

    def inverse(self, outputs: np.ndarray) -> np.ndarray:
        """Return the network's outputs, float (..., T), as numbers, float32."""
        scaled = outputs.astype(np.float64)
        if self.kind == "range":
            scaled = 0.5 * (1 + np.tanh(scaled / 2))  # the sigmoid, without exp, which would overflow
        shift, spread = self._first(scaled.shape[-1])
        numbers: np.ndarray = scaled * spread + shift
        # exp overflows float32 from 88.8 on.
        return (np.expm1(np.minimum(numbers, 80)) if self.kind == "log" else numbers).astype(np.float32)

    def _first(self, num_targets: int) -> tuple[np.ndarray, np.ndarray]:
        """Return shift and spread of the first targets, float64 (T,)."""
        return np.array(self.shift[:num_targets]), np.array(self.spread[:num_targets])

    def to_values(self) -> dict[str, Any]:
        """Return the scale as plain values, for the header of a file."""
        return asdict(self) | {"shift": list(self.shift), "spread": list(self.spread)}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Return the scale that `to_values` wrote."""
        return cls(values["kind"], tuple(values["shift"]), tuple(values["spread"]))
