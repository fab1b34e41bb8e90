"""Telegram messages of a chain: its kernels are offline, so the watching process sends them."""

from __future__ import annotations

from pathlib import Path

from imettk.kaggle.chain_state import DONE, FAILED, PAUSED, Chain, Job
from imettk.kaggle.jobs import Tell
from imettk.tracking.journal import read_journal
from imettk.tracking.messages import ended, scored, validated
from imettk.tracking.telegram import Message, Notifier

PLATFORM_SECONDS = 9 * 3600.0  # the length of a session in a chain without a limit of its own


def teller(notifier: Notifier, chain: Chain, folder: Path) -> Tell:
    """Return a function that sends messages about a chain's sessions, with what has come into the run folder."""

    def tell(event: str, job: Job, text: str) -> None:
        if event == FAILED:
            fault = f"{job.slug} has failed: {job.note}\n{text}"
            notifier.send(lambda: Message(fault, keep_end=True))
        elif job.command == "train" and event in (PAUSED, DONE):
            _tell_training(notifier, chain, folder, job, event)
        elif job.command == "validate" and event == DONE:
            notifier.send(lambda: Message(scored(chain.name, folder)))
        else:
            notifier.send(lambda: Message(f"{job.slug}: {event}"))

    return tell


def _tell_training(notifier: Notifier, chain: Chain, folder: Path, job: Job, event: str) -> None:
    """Send the fold's curve, and how its session ended."""
    fold = job.fold if job.fold is not None else 0
    events = read_journal(folder / f"fold{fold}" / "journal.jsonl")
    if not events:
        notifier.send(lambda: Message(f"{job.slug}: {event}, {job.note}"))
        return
    if any(entry["event"] == "validate" for entry in events):
        notifier.show(f"fold{fold}", lambda: validated(chain.name, fold, events))
    seconds = float(chain.limit_seconds or PLATFORM_SECONDS)
    notifier.send(lambda: ended(chain.name, fold, events, session_seconds=seconds))
