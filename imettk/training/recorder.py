"""What the trainer tells the world: journal, TensorBoard, the progress bar, and a line where a person should know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from imettk.progress import say
from imettk.tracking.board import Board
from imettk.tracking.journal import Journal, read_journal
from imettk.training.position import Position
from imettk.training.step import StepResult

JOURNAL_STEPS = 10


class Recorder:
    """Writes events; with no journal, as in all processes but the first, it is silent."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self._board: Board | None = None
        self._seconds, self._steps = 0.0, 0
        self._warned = False
        self._tell: Callable[[], None] = lambda: None

    def on_validation(self, tell: Callable[[], None]) -> None:
        """Call this after each validation, when it is in the journal."""
        self._tell = tell

    def attach(self, board: Board) -> None:
        """Write scalars there as well."""
        self._board = board

    def step(
        self,
        at: Position,
        result: StepResult,
        optimizer: torch.optim.Optimizer,
        seconds: float,
        bar: Any,
        *,
        flush: bool,
    ) -> None:
        """Count a step; every `JOURNAL_STEPS` (of the training, not of this session) their mean is written."""
        self._seconds += seconds
        self._steps += 1
        if result.finite:
            at.loss_sum += result.loss
            at.loss_steps += 1
        else:
            self._write("nonfinite", step=at.step, in_a_row=at.nonfinite_in_a_row)
            if at.nonfinite_in_a_row == 1:
                self._say(f"warning: step {at.step} has no finite loss: skipped")
        if not flush and at.step % JOURNAL_STEPS:
            return
        loss = at.loss_sum / at.loss_steps if at.loss_steps else None
        rate = max(group["lr"] for group in optimizer.param_groups)
        self._write("train", step=at.step, loss=loss, lr=rate, seconds=round(self._seconds / self._steps, 6))
        if loss is not None:
            bar.set_postfix(loss=f"{loss:.4f}", lr=f"{rate:.2e}", refresh=False)
        at.loss_sum, at.loss_steps = 0.0, 0
        self._seconds, self._steps = 0.0, 0

    def validation(self, step: int, seconds: float, scores: dict[str, float]) -> None:
        """Scores of a validation."""
        self._write("validate", step=step, seconds=round(seconds, 3), **scores)
        self._tell()

    def early_stop(self, step: int, stage: int, validations: int) -> None:
        """A stage ended before its time."""
        self._write("early_stop", step=step, stage=stage)
        self._say(f"stage {stage} ends at step {step}: {validations} validations without gain")

    def checkpoint(self, step: int, seconds: float) -> None:
        """A checkpoint is on the disk."""
        self._write("checkpoint", step=step, seconds=round(seconds, 3))

    def checkpoint_failed(self, step: int, error: OSError) -> None:
        """It is not, and the run goes on."""
        self._write("checkpoint_failed", step=step, error=str(error))
        self._say(f"warning: no checkpoint at step {step}: {error}; the run goes on, the one before is intact")

    def rollback(self, at: Position, bad_step: int) -> None:
        """Training goes on at an earlier step."""
        self._write("rollback", step=at.step, owes_validation=at.validation_pending, bad_step=bad_step)
        if self._journal is not None and self._board is not None:
            self._board.restart(read_journal(self._journal.path))
        self._say(f"warning: no finite loss up to step {bad_step}: back to the checkpoint of step {at.step}")

    def _write(self, event: str, **values: Any) -> None:
        """Write an event; where the disk is full it is lost, and the run goes on."""
        try:
            if self._journal is not None:
                self._journal.write(event, **values)
            if self._board is not None:
                self._board.write({"event": event, **values})
        except OSError as error:
            if not self._warned:
                self._say(f"warning: journal or TensorBoard cannot be written: {error}; the run goes on")
            self._warned = True

    def _say(self, text: str) -> None:
        if self._journal is not None:
            say(text)
