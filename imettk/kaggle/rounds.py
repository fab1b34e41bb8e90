"""Rounds of looks at one chain or several until all have ended, with a screen for the user who waits."""

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
TELL_SECONDS = 900.0  # without a clear look, after which a message reports it
UNCLEAR_SECONDS = 24 * 3600.0  # without a clear look, after which the watching ends
INDENT = " " * 6  # aligns further lines after the time of day


class Silence:
    """The time for which a chain has not been seen clearly, not counting the sleep of a laptop.

    Args:
        tell: gets a message when the time becomes long, and when it is over.
    """

    def __init__(self, follower: Follower, tell: Callable[[str], None]) -> None:
        self._follower, self._tell = follower, tell
        self._clear_at, self._told = time.monotonic(), False

    def note(self) -> str:
        """Record the last look; return why the watching should end, or ""."""
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
                f"{name}: not seen clearly for {seconds / 60:.0f} minutes ({unclear}); still looking, nothing lost"
            )
        if seconds <= UNCLEAR_SECONDS:
            return ""
        hours = f"{UNCLEAR_SECONDS / 3600:.0f} hours"
        return f"not seen clearly for {hours} ({unclear}); its sessions may go on, and the same command watches again"


class Screen:
    """The status lines at the bottom of a terminal, wrapped at its width; without a terminal they are not shown."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._lines: list[Any] = []

    def show(self, chains: Sequence[list[str]]) -> None:
        """Draw the parts of each chain over those drawn before."""
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
    """Look at every chain in order, round after round, until all have ended; earlier chains get free sessions first.

    Args:
        tell: gets messages about the watching itself.

    Returns:
        For each chain "done", or why it has stopped or is no longer watched, in which case its sessions go on.
    """
    ends = [""] * len(followers)
    silences = [Silence(follower, tell) for follower in followers]
    line_at = time.monotonic()
    with ExitStack() as stack:
        screen = Screen(stack)
        while True:
            for place, follower in enumerate(followers):
                # An ended chain is not looked at again: a look could begin sessions after its end was reported.
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
    """Print the state of a chain after a look at its open sessions, or as last seen if the platform does not answer."""
    chain = read_chain(folder)
    assert chain is not None
    fault = ""
    # The state is not saved: another process may be watching this chain, and only that one may write it.
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
    """Return the status of a chain for the screen, with the time of day."""
    now = follower.now()
    first, *others = watch_parts(follower.chain, now, follower.room.quota())
    return [f"{clock(now)} {first}", *others]
