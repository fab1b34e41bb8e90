"""What a fold's training tells by Telegram while it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from imettk.config import Recipe
from imettk.tracking import messages
from imettk.tracking.journal import read_journal
from imettk.tracking.telegram import Message, Notifier


class FoldMessages:
    """Messages from a fold's journal; silent without a notifier, as in all processes but the first."""

    def __init__(self, notifier: Notifier | None, recipe: Recipe, fold: int, folder: Path) -> None:
        self._notifier, self._name, self._fold = notifier, recipe.name, fold
        self._path, self._higher = folder / "journal.jsonl", recipe.scorer.higher
        self._session_seconds = recipe.session.limit_seconds - recipe.session.margin_seconds

    def began(self) -> None:
        """A session is about to train."""
        self._send(messages.began)

    def validated(self) -> None:
        """One message, edited after each validation."""
        if self._notifier is not None:
            self._notifier.show(
                f"fold{self._fold}",
                lambda: messages.validated(self._name, self._fold, read_journal(self._path), higher=self._higher),
            )

    def ended(self, fault: str) -> None:
        """The session is over, as the journal's last line says; with the traceback of a failure."""
        seconds = self._session_seconds
        self._send(lambda *at: messages.ended(*at, session_seconds=seconds, fault=fault))

    def hung(self, reason: str) -> None:
        """The process is about to be ended: this message is waited for."""
        if self._notifier is not None:
            self._notifier.send(lambda: Message(f"{self._name}, fold {self._fold}: paused, {reason}"))
            self._notifier.close()

    def _send(self, make: Callable[[str, int, messages.Events], Message]) -> None:
        """Made in the notifier's thread: no step waits for it, and no fault in it is one of the training."""
        if self._notifier is not None:
            self._notifier.send(lambda: make(self._name, self._fold, read_journal(self._path)))
