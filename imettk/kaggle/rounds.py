"""Rounds of looks at one chain or several, until each has ended, with a screen for whoever waits."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from imettk.errors import PlatformError
from imettk.kaggle.chain import Follower
from imettk.kaggle.chain_state import RUNNING, read_chain
from imettk.kaggle.client import Kaggle
from imettk.kaggle.sessions import ask_session, gpu_quota
from imettk.kaggle.watch import clock, describe, watch_parts
from imettk.progress import say, status_line

POLL_SECONDS = 60.0
LINE_SECONDS = 300.0  # between two lines in a log
TELL_SECONDS = 900.0  # without one clear look, after which a message says so
UNCLEAR_SECONDS = 24 * 3600.0  # without one clear look, after which nobody goes on looking
INDENT = " " * 6  # of lines below the time of day


class Silence:
    """How long a chain has not been seen clearly, by a clock that stands still while a laptop sleeps.

    Args:
        tell: gets a message when it has lasted for long, and when it is over.
    """

    def __init__(self, follower: Follower, tell: Callable[[str], None]) -> None:
        self._follower, self._tell = follower, tell
        self._clear_at, self._told = time.monotonic(), False

    def note(self) -> str:
        """Take note of the last look; why nobody should go on looking, or ""."""
        unclear, name = self._follower.unclear, self._follower.chain.name
        if not unclear:
            if self._told:
                self._tell(f"{name}: seen clearly again")
            self._clear_at, self._told = time.monotonic(), False
            return ""
        seconds = time.monotonic() - self._clear_at
        if seconds > TELL_SECONDS and not self._told:
            self._told = True
            self._tell(
                f"{name}: not seen clearly for {seconds / 60:.0f} minutes ({unclear}); looking on, nothing is lost"
            )
        if seconds <= UNCLEAR_SECONDS:
            return ""
        hours = f"{UNCLEAR_SECONDS / 3600:.0f} hours"
        return f"not seen clearly for {hours} ({unclear}); its sessions may go on, and the same command watches again"


class Screen:
    """The lines below everything else in a terminal, broken where its width ends; nothing where there is none."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._lines: list[Any] = []

    def show(self, chains: Sequence[list[str]]) -> None:
        """Draw the parts of each chain in the place of what stood there."""
        if not sys.stderr.isatty():
            return
        width = max(20, shutil.get_terminal_size().columns - 1)
        texts = [
            line
            for first, *others in chains
            for part, indent in [(first, ""), *((other, INDENT) for other in others)]
            for line in textwrap.wrap(part, width, initial_indent=indent, subsequent_indent=INDENT)
        ]
        while len(self._lines) < len(texts):
            self._lines.append(self._stack.enter_context(status_line(len(self._lines))))
        for line, text in zip(self._lines, texts + [""] * (len(self._lines) - len(texts)), strict=True):
            line.set_description_str(text)


def follow(followers: Sequence[Follower], tell: Callable[[str], None] = lambda text: None) -> list[str]:
    """Look until every chain has ended, in their order: sessions go to the first that can use them.

    Args:
        tell: gets messages about the watching itself.

    Returns:
        "done" for each, or why it has stopped or is not watched any more; nothing is given up by that.
    """
    ends = [""] * len(followers)
    silences = [Silence(follower, tell) for follower in followers]
    line_at = time.monotonic()
    with ExitStack() as stack:
        screen = Screen(stack)
        while True:
            for place, follower in enumerate(followers):
                ends[place] = ends[place] or follower.look() or silences[place].note()
            if all(ends):
                return ends
            parts = [_parts(follower) for follower, end in zip(followers, ends, strict=True) if not end]
            screen.show(parts)
            if not sys.stderr.isatty() and time.monotonic() - line_at >= LINE_SECONDS:
                line_at = time.monotonic()
                say("\n".join("; ".join(of_chain) for of_chain in parts))
            followers[0].kaggle.patience.sleep(POLL_SECONDS)


def show(kaggle: Kaggle, folder: Path) -> None:
    """Print where a chain is, after a look at its open sessions; nothing is changed, whoever watches it.

    Where the platform does not answer, its sessions are shown as they were last seen, and when that was.
    """
    chain = read_chain(folder)
    assert chain is not None
    fault = ""
    for job in chain.open_jobs:
        if job.state != RUNNING:
            continue
        try:
            session = ask_session(kaggle, chain.reference(job), job.version)
        except PlatformError as error:
            fault = str(error)
            break
        job.seen, job.seen_at = session.status, kaggle.time()
        if session.status == "RUNNING":
            job.running_at = job.running_at or job.seen_at
    if fault:
        say(f"{fault}; as last seen:")
    say(describe(chain, None if fault else kaggle.time(), None if fault else gpu_quota(kaggle)))


def _parts(follower: Follower) -> list[str]:
    now = follower.now()
    first, *others = watch_parts(follower.chain, now, follower.room.quota())
    return [f"{clock(now)} {first}", *others]
