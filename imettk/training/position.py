"""Position of a training, and the history that later steps depend on: the plain values of a checkpoint.

A step is a function of these, of the weights and of the seed. Anything else that a step read (a clock, a counter in an
object, the state of a generator) would be lost in a kill, and the resumed run would end with other bits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

PENDING = "owes_validation"  # the name in files, which checkpoints of version 0.1 have too


@dataclass
class Position:
    """Counters and history of a training.

    Attributes:
        step: optimizer steps done.
        validation_pending: whether a validation comes before the next step.
        validation_seconds: of the longest validation so far.
        history: step, stage and scores of each validation.
        early_ends: by stage, the number of its steps after which an early stop ended it.
        best: the best watched metric so far.
        nonfinite_in_a_row: how many steps up to this one were skipped.
        nonfinite_steps: how many steps were skipped in all.
        loss_sum: of the steps since the journal's last line.
        loss_steps: how many they are; steps without a finite loss do not count.
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
        """Return this metric in each validation of a stage, in order."""
        return [entry[name] for entry in self.history if entry["stage"] == stage]
