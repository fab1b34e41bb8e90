"""The only progress bar: tqdm in a terminal or a notebook, a plain line now and then in a log."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
LOG_SECONDS = 15.0  # between two lines: a kernel's log page grows with each
# Environment: set for a command whose reader overwrites a line that begins with a carriage return by the next one.
RELAYED = "IMETTK_RELAYED"


class _Lines:
    """A file for tqdm that writes each refresh as a line of its own instead of overwriting the last one."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text:
            self._file.write(("\r" if RELAYED in os.environ else "") + text + "\n")

    def flush(self) -> None:
        self._file.flush()


def progress_bar(what: str, *, total: int | None, done: int = 0, unit: str = "it", hidden: bool = False) -> tqdm[Any]:
    """Return a bar from `done` to `total` (None if unknown); `set_postfix` adds values to it, `update` moves it."""
    if sys.stderr.isatty():
        return tqdm(desc=what, total=total, initial=done, unit=unit, dynamic_ncols=True, disable=hidden)
    if in_notebook() and importlib.util.find_spec("ipywidgets") is not None:  # which tqdm's bar there is drawn with
        from tqdm.auto import tqdm as widget

        return widget(desc=what, total=total, initial=done, unit=unit, disable=hidden)
    lines: Any = _Lines(sys.stderr)
    seconds = 1.0 if RELAYED in os.environ else LOG_SECONDS
    return tqdm(
        desc=what,
        total=total,
        initial=done,
        unit=unit,
        ncols=110,
        file=lines,
        mininterval=seconds,
        maxinterval=seconds,
        ascii=" #",
        disable=hidden,
    )


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook, whose cells can show more than lines."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", bool)()
    return hasattr(shell, "kernel")


def with_bar(items: Iterable[Item], what: str, *, total: int, unit: str, hidden: bool = False) -> Iterator[Item]:
    """Yield items while a bar moves, one unit an item."""
    with progress_bar(what, total=total, unit=unit, hidden=hidden) as bar:
        for item in items:
            yield item
            bar.update()


def status_line(place: int = 0) -> tqdm[Any]:
    """Return a line in a terminal whose text `set_description_str` changes; it is hidden without a terminal.

    Args:
        place: the position of this line among several, from the top.
    """
    hidden = not sys.stderr.isatty()
    return tqdm(bar_format="{desc}", position=place, leave=False, dynamic_ncols=True, disable=hidden)


def say(text: str) -> None:
    """Print a line at once, above any bar that is being drawn; escape characters that the output cannot encode."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    tqdm.write(text.encode(encoding, "backslashreplace").decode(encoding), file=sys.stdout)
    sys.stdout.flush()
