"""Events of a training: for a log, the progress bar, and a line on the screen where a person should know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from imettk.progress import say
from imettk.training.position import Position
from imettk.training.step import StepResult

JOURNAL_STEPS = 10


class Recorder:
    """Writer of a training's events; without a log, as outside process 0, it is silent.

    Args:
        write: appends an event, given its name and its values, to the log; may raise `OSError`.
        on_validation: called after each validation, when the log has it.
    """

    def __init__(
        self, write: Callable[..., None] | None = None, *, on_validation: Callable[[], None] = lambda: None
    ) -> None:
        self._log, self._on_validation = write, on_validation
        self._seconds, self._steps = 0.0, 0
        self._warned = False

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
        """Count a step, and write the mean of every `JOURNAL_STEPS` steps of the training (not of this session)."""
        self._seconds += seconds
        self._steps += 1
        if result.finite:  # sums are in the position: a mean over a kill is that of a training without one
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
        """Write the scores of a validation."""
        self._write("validate", step=step, seconds=round(seconds, 3), **scores)
        self._on_validation()

    def average(self, step: int, marks: tuple[int, ...], seconds: float) -> None:
        """Write that the mean of the weights at these steps is ready to be validated."""
        self._write("average", step=step, marks=list(marks), seconds=round(seconds, 3))
        self._say(f"the mean of the weights after steps {', '.join(map(str, marks))} is validated and kept")

    def early_stop(self, step: int, stage: int, validations: int) -> None:
        """Write that a stage ended before its last step."""
        self._write("early_stop", step=step, stage=stage)
        self._say(f"stage {stage} ends at step {step}: {validations} validations without gain")

    def checkpoint(self, step: int, seconds: float) -> None:
        """Write that a checkpoint is on the disk."""
        self._write("checkpoint", step=step, seconds=round(seconds, 3))

    def checkpoint_failed(self, step: int, error: OSError) -> None:
        """Write that a checkpoint could not be saved; the training goes on."""
        self._write("checkpoint_failed", step=step, error=str(error))
        self._say(f"warning: no checkpoint at step {step}: {error}; the run goes on, the one before is intact")

    def rollback(self, at: Position, bad_step: int) -> None:
        """Write that the training continues from an earlier step."""
        self._write("rollback", step=at.step, owes_validation=at.validation_pending, bad_step=bad_step)
        self._say(f"warning: no finite loss up to step {bad_step}: back to the checkpoint of step {at.step}")

    def _write(self, event: str, **values: Any) -> None:
        """Write an event; on a full disk it is lost, and the training goes on."""
        try:
            if self._log is not None:
                self._log(event, **values)
        except OSError as error:
            if not self._warned:
                self._say(f"warning: journal or TensorBoard cannot be written: {error}; the run goes on")
            self._warned = True

    def _say(self, text: str) -> None:
        if self._log is not None:
            say(text)
