"""Where a training is, and what has happened that later steps depend on: the plain values of a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

PENDING = "owes_validation"  # the name in files, which checkpoints of version 0.1 have too


@dataclass
class Position:
    """Counters and history.

    Attributes:
        step: optimizer steps behind us.
        owes_validation: a validation comes before the next step.
        validation_seconds: the longest so far.
        history: of each validation its step, stage and scores.
        early_ends: by stage, after how many of its steps an early stop ended it.
        best: the best watched metric so far.
        nonfinite_in_a_row: the last steps that were skipped.
        nonfinite_steps: all that were.
        loss_sum: of the steps since the journal's last line.
        loss_steps: how many they are.
    """

    step: int = 0
    validation_pending: bool = False
    validation_seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    early_ends: dict[int, int] = field(default_factory=dict)
    best: float | None = None
    nonfinite_in_a_row: int = 0
    nonfinite_steps: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0

    def to_values(self) -> dict[str, Any]:
        """Return what JSON can keep; a copy, since a checkpoint is written while training goes on."""
        values = asdict(self)
        values[PENDING] = values.pop("validation_pending")
        return values

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Position:
        """Restore what `to_values` returned, after its way through JSON, whose keys are strings."""
        early_ends = {int(stage): steps for stage, steps in values["early_ends"].items()}
        renamed = {"early_ends": early_ends, "validation_pending": values[PENDING]}
        return cls(**{name: value for name, value in values.items() if name != PENDING} | renamed)

    def note_verdict(self, finite: bool) -> None:
        """Count a step as taken or skipped."""
        self.nonfinite_in_a_row = 0 if finite else self.nonfinite_in_a_row + 1
        self.nonfinite_steps += not finite

    def metrics(self, stage: int, name: str) -> list[float]:
        """This metric in each validation of a stage, in order."""
        return [entry[name] for entry in self.history if entry["stage"] == stage]
