"""When a training writes a checkpoint. No bit of it depends on this: a clock decides when, never what."""

from __future__ import annotations

import time

from imettk.config.session import SessionConfig
from imettk.training.checkpoint import Checkpoints, CheckpointWriter
from imettk.training.mining import Mining
from imettk.training.process_group import ProcessGroup
from imettk.training.recorder import Recorder
from imettk.training.session import Session
from imettk.training.state import TrainingState

SAVE_SHARE = 0.05  # of the time that may go into checkpoints after validations, beside those that are due by the clock


class Saving:
    """Writes the checkpoints of a training: by the clock, after cheap validations, and at the end.

    Args:
        state: content of each checkpoint, with what `mining` adds.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        state: TrainingState,
        mining: Mining | None,
        *,
        processes: ProcessGroup,
        session: Session,
        limits: SessionConfig,
        recorder: Recorder,
    ) -> None:
        self._state, self._mining, self._values = state, mining, checkpoints.values
        self._processes, self._session, self._limits, self._recorder = processes, session, limits, recorder
        self._writer = CheckpointWriter(checkpoints.folder, on_done=self._done, on_failure=self._failed)
        self._saved: tuple[int, bool] | None = None  # step, and whether its validation was pending
        self._saved_at = time.monotonic()
        self._validated = False  # since the last checkpoint

    @property
    def is_current(self) -> bool:
        """True if the current position has its checkpoint."""
        return self._saved == self._place

    def note_loaded(self) -> None:
        """Note that the current position has come from a checkpoint."""
        self._saved = self._place

    def note_validation(self) -> None:
        """Note that the training has learned something that only its history holds."""
        self._validated = True

    def is_due(self) -> bool:
        """Return whether to write a checkpoint of the current step now."""
        # Never while steps are being skipped: a rollback needs a last checkpoint that is good.
        if self._state.at.nonfinite_in_a_row > 0 or self.is_current:
            return False
        seconds = time.monotonic() - self._saved_at
        if seconds > self._limits.checkpoint_seconds:
            return True
        # After a validation earlier than due, if that costs little: a training that diverges then loses less.
        return self._validated and seconds * SAVE_SHARE > self._session.save_seconds

    def save(self) -> None:
        """Begin to write the checkpoint of the current step; all processes call this, process 0 writes."""
        mining = {} if self._mining is None else self._mining.tensors()
        self._saved, self._saved_at, self._validated = self._place, time.monotonic(), False
        if self._processes.is_main:
            tensors, values = self._state.tensors(mining)
            self._writer.write(self._state.at.step, tensors, self._values | values)

    def wait(self) -> None:
        """Wait until the current checkpoint, if any, is on the disk; raise here what its thread raised."""
        self._writer.wait()

    @property
    def _place(self) -> tuple[int, bool]:
        return self._state.at.step, self._state.at.validation_pending

    def _done(self, step: int, seconds: float) -> None:
        self._session.note_save(seconds)
        self._recorder.checkpoint(step, seconds)

    def _failed(self, step: int, error: OSError) -> None:
        self._saved = None  # so that it is tried again when the next one is due, and at the end
        self._recorder.checkpoint_failed(step, error)
