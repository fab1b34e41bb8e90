"""The output of the cell that runs: lines, and one line that is overwritten."""

from __future__ import annotations

import sys
from typing import Any

from imettk.progress import in_notebook


class Cell:
    """Prints lines, and draws those that begin with a carriage return over each other.

    Attributes:
        overwrites: False outside notebooks, where every line is printed.
    """

    def __init__(self) -> None:
        self.overwrites = in_notebook()
        self._bar: Any = None

    def print(self, line: str, *, is_error: bool = False) -> None:
        """Show a line."""
        if line.startswith("\r") and self.overwrites:
            self._overwrite(line.lstrip("\r"))
        else:
            print(line.lstrip("\r"), file=sys.stderr if is_error else sys.stdout, flush=True)

    def _overwrite(self, line: str) -> None:
        # An updated display keeps the saved notebook small: the frontend replaces it instead of appending to it.
        from IPython.display import display

        content = {"text/plain": line}
        if self._bar is None:
            self._bar = display(content, raw=True, display_id=True)
        else:
            self._bar.update(content, raw=True)
