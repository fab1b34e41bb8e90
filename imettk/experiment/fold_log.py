"""Everything that a session writes about a fold while it trains: journal, `status.json`, TensorBoard, messages."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from imettk.config import Recipe
from imettk.errors import UserError
from imettk.threads import wait_policy
from imettk.tracking import messages
from imettk.tracking.board import Board
from imettk.tracking.code import code_version
from imettk.tracking.files import write_json
from imettk.tracking.journal import Journal, read_journal
from imettk.tracking.telegram import Message, Notifier
from imettk.training.recorder import Recorder
from imettk.training.trainer import Trainer


class FoldMessages:
    """Telegram messages about a fold, from its journal; silent without a notifier, as outside process 0."""

    def __init__(self, notifier: Notifier | None, recipe: Recipe, fold: int, folder: Path) -> None:
        self._notifier, self._name, self._fold = notifier, recipe.name, fold
        self._path, self._higher = folder / "journal.jsonl", recipe.scorer.higher
        self._session_seconds = recipe.session.limit_seconds - recipe.session.margin_seconds

    def began(self) -> None:
        """Send that a session is about to train."""
        self._send(messages.began)

    def validated(self) -> None:
        """Show the validations so far, in one message that is edited after each of them."""
        if self._notifier is not None:
            self._notifier.show(
                f"fold{self._fold}",
                lambda: messages.validated(self._name, self._fold, read_journal(self._path), higher=self._higher),
            )

    def ended(self, fault: str) -> None:
        """Send how the session ended, as the journal's last line says; with the traceback of a failure."""
        seconds = self._session_seconds
        self._send(lambda *at: messages.ended(*at, session_seconds=seconds, fault=fault))

    def hung(self, reason: str) -> None:
        """Send, and wait until it is sent, that the watchdog is about to end the process."""
        if self._notifier is not None:
            self._notifier.send(lambda: Message(f"{self._name}, fold {self._fold}: paused, {reason}"))
            self._notifier.close()

    def _send(self, make: Callable[[str, int, messages.Events], Message]) -> None:
        """Have the notifier's thread make and send a message: no step waits for it, and its faults stay there."""
        if self._notifier is not None:
            self._notifier.send(lambda: make(self._name, self._fold, read_journal(self._path)))


class FoldLog:
    """Log of one fold in one session; without a journal, as outside process 0, it is silent.

    Args:
        folder: of the fold.
        messages: sent when the session begins, after each validation, and at its end.
        tensorboard: whether scalars are written for TensorBoard too.
    """

    def __init__(
        self, folder: Path, fold: int, journal: Journal | None, messages: FoldMessages, *, tensorboard: bool
    ) -> None:
        self._folder, self._fold, self._journal, self._messages = folder, fold, journal, messages
        self._tensorboard = tensorboard
        self._board: Board | None = None
        self._hangs = False

    def recorder(self) -> Recorder:
        """Return the trainer's way to write events here."""
        write = None if self._journal is None else self.write
        return Recorder(write, on_validation=self._messages.validated)

    def write(self, event: str, **values: Any) -> None:
        """Append an event to the journal, and its scalars to TensorBoard."""
        if self._journal is None:
            return
        try:
            self._journal.write(event, **values)
        finally:  # a disk that is full for one may have room for the other
            if self._board is not None and event == "rollback":
                # The steps that were given up are gone from the journal as it is read, and must go from the curves.
                self._board.restart(read_journal(self._journal.path))
            elif self._board is not None:
                self._board.write({"event": event, **values})

    def begin(self, trainer: Trainer, environment: dict[str, str]) -> None:
        """Write that a session trains from here on, in this environment."""
        if self._journal is not None:
            position = {"step": trainer.at.step, "owes_validation": trainer.at.validation_pending}
            values = {"num_steps": trainer.num_steps, "environment": environment, "code": code_version()}
            values["idle_threads"] = wait_policy()  # outside the environment: no bit depends on it
            self.write("session", **position, **values)
            if self._tensorboard:  # made from the whole journal, in which this session has its line by now
                self._board = Board(self._folder / "tensorboard", read_journal(self._journal.path))
            self._messages.began()
        self._write_status(trainer, "running")

    def end(self, state: str, trainer: Trainer | None, reason: str | None = None, fault: str = "") -> None:
        """Write this session's last line about the fold, and close; after `hang` that one stays the last.

        Args:
            trainer: None where the session failed before there was one.
            fault: the message or traceback of a failure.
        """
        if self._hangs:
            return
        with ExitStack() as parts:  # each is tried: on a full disk any of them may fail
            if self._board is not None:
                parts.callback(self._board.close)
            if self._journal is not None:
                step = 0 if trainer is None else trainer.at.step
                parts.callback(self._journal.close)
                parts.callback(self._journal.write, state, step=step, reason=reason)
            self._write_status(trainer, state, reason)
        if self._journal is not None:
            self._messages.ended(fault)

    def fail(self, error: BaseException, trainer: Trainer | None) -> None:
        """Write that the session failed: with a traceback, unless the fault is the user's or the machine's."""
        plain = isinstance(error, (UserError, OSError))
        fault = str(error) if plain else traceback.format_exc()
        self.end("failed", trainer, " ".join(str(error).split()) or type(error).__name__, fault)

    def hang(self, trainer: Trainer, reason: str) -> None:
        """Write that the watchdog ends the session; the step that hangs may hold anything but the status file."""
        self._hangs = True
        self._write_status(trainer, "paused", reason)
        self._messages.hung(reason)

    def _write_status(self, trainer: Trainer | None, state: str, reason: str | None = None) -> None:
        if self._journal is None or trainer is None:
            return
        sessions = sum(event["event"] == "session" for event in read_journal(self._folder / "journal.jsonl"))
        content: dict[str, Any] = {
            "state": state,
            "fold": self._fold,
            "step": trainer.at.step,
            "num_steps": trainer.num_steps,
            "sessions": sessions,
        }
        write_json(self._folder / "status.json", content | ({"reason": reason} if reason else {}))
