"""What a chain tells by Telegram: its kernels are offline, so whoever watches from outside sends their messages."""

from __future__ import annotations

from pathlib import Path

from imettk.kaggle.chain_state import DONE, FAILED, PAUSED, Chain, Job
from imettk.kaggle.jobs import Tell
from imettk.tracking.journal import read_journal
from imettk.tracking.messages import ended, scored, validated
from imettk.tracking.telegram import Message, Notifier

PLATFORM_SECONDS = 9 * 3600.0  # of a session, where the chain has no limit of its own


def teller(notifier: Notifier, chain: Chain, folder: Path) -> Tell:
    """Messages of a chain's sessions, from what came into the run folder."""

    def tell(event: str, job: Job, text: str) -> None:
        if event == FAILED:
            fault = f"{job.slug} has failed: {job.note}\n{text}"
            notifier.send(lambda: Message(fault, keep_end=True))
        elif job.stage == "train" and event in (PAUSED, DONE):
            _tell_training(notifier, chain, folder, job, event)
        elif job.stage == "validate" and event == DONE:
            notifier.send(lambda: Message(scored(chain.name, folder)))
        else:
            notifier.send(lambda: Message(f"{job.slug}: {event}"))

    return tell


def _tell_training(notifier: Notifier, chain: Chain, folder: Path, job: Job, event: str) -> None:
    """The fold's curve, and how its session ended."""
    fold = job.fold if job.fold is not None else 0
    events = read_journal(folder / f"fold{fold}" / "journal.jsonl")
    if not events:
        notifier.send(lambda: Message(f"{job.slug}: {event}, {job.note}"))
        return
    if any(one["event"] == "validate" for one in events):
        notifier.show(f"fold{fold}", lambda: validated(chain.name, fold, events))
    seconds = float(chain.limit_seconds or PLATFORM_SECONDS)
    notifier.send(lambda: ended(chain.name, fold, events, session_seconds=seconds))
