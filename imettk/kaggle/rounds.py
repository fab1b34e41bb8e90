"""Rounds of looks at one chain or several, until each has ended, with a screen for whoever waits."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from imettk.errors import PlatformError
from imettk.kaggle.chain import Follower
from imettk.kaggle.client import Kaggle
from imettk.kaggle.plan import RUNNING, read_chain
from imettk.kaggle.sessions import ask_session, gpu_quota
from imettk.kaggle.watch import clock, describe, watch_line
from imettk.progress import say, status_line

POLL_SECONDS = 60.0
ROWS = 4  # of a terminal, for each chain
LINE_SECONDS = 300.0  # between two lines in a log
TELL_SECONDS = 900.0  # without one clear look, after which a message says so
UNCLEAR_SECONDS = 24 * 3600.0  # without one clear look, after which nobody goes on looking


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
        return f"{unclear}; so for {UNCLEAR_SECONDS / 3600:.0f} hours: the same command goes on later"


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
        lines = [stack.enter_context(status_line(place)) for place in range(ROWS * len(followers))]
        while True:
            for place, follower in enumerate(followers):
                ends[place] = ends[place] or follower.look() or silences[place].note()
            if all(ends):
                return ends
            texts = [_screen(follower) for follower, end in zip(followers, ends, strict=True) if not end]
            rows = [row for text in texts for row in _rows(text, shutil.get_terminal_size().columns)]
            for line, row in zip(lines, rows + [""] * len(lines), strict=False):
                line.set_description_str(row)
            if not sys.stderr.isatty() and time.monotonic() - line_at >= LINE_SECONDS:
                line_at = time.monotonic()
                say("\n".join(texts))
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
        job.seen, job.seen_at = session.status, kaggle.now() or time.time()
        if session.status == "RUNNING":
            job.running_at = job.running_at or job.seen_at
    if fault:
        say(f"{fault}; as last seen:")
    say(describe(chain, None if fault else kaggle.now() or time.time(), None if fault else gpu_quota(kaggle)))


def _rows(text: str, columns: int) -> list[str]:
    """A text as the `ROWS` rows of a terminal: in a single one its end, which people wait for, would be cut off."""
    rows = textwrap.wrap(text, max(20, columns - 1), max_lines=ROWS, placeholder=" ...", subsequent_indent="  ")
    return rows + [""] * (ROWS - len(rows))


def _screen(follower: Follower) -> str:
    now = follower.now()
    return f"{clock(now)} {watch_line(follower.chain, now, follower.room.quota())}"
