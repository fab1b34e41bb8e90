"""Decisions from past validations: pure functions of the recorded metrics, so a resumed run decides the same."""

from __future__ import annotations

from collections.abc import Sequence


def is_gain(value: float, best: float | None, *, lower_is_better: bool, min_gain: float = 0.0) -> bool:
    """Return whether `value` beats the best so far by more than `min_gain`; the first finite value always does."""
    if value != value:  # NaN
        return False
    return best is None or (best - value if lower_is_better else value - best) > min_gain


def best_index(values: Sequence[float], *, lower_is_better: bool) -> int | None:
    """Return the position of the first best value; None without a finite one."""
    best: int | None = None
    for position, value in enumerate(values):
        if is_gain(value, None if best is None else values[best], lower_is_better=lower_is_better):
            best = position
    return best


def validations_without_gain(values: Sequence[float], *, lower_is_better: bool, min_gain: float) -> int:
    """Return how many of the last values in a row brought no gain over the best before them."""
    best: float | None = None
    without = 0
    for value in values:
        if is_gain(value, best, lower_is_better=lower_is_better, min_gain=min_gain):
            best, without = value, 0
        else:
            without += 1
    return without


def plateau_share(
    values: Sequence[float], *, factor: float, validations: int, min_gain: float, lower_is_better: bool
) -> float:
    """Return the share of the learning rate that is left after these validations: `factor` for each plateau.

    The rule of torch's `ReduceLROnPlateau(threshold_mode="abs", patience=validations - 1)`: a plateau is `validations`
    in a row without gain, and the count starts again after it.
    """
    best: float | None = None
    share, without = 1.0, 0
    for value in values:
        if is_gain(value, best, lower_is_better=lower_is_better, min_gain=min_gain):
            best, without = value, 0
        else:
            without += 1
        if without == validations:
            share, without = share * factor, 0
    return share
