"""A page in a cell."""

from __future__ import annotations

import html
from pathlib import Path

HEIGHT = 720  # pixels


class Page:
    """An HTML page in a file, shown in a frame of its own: its styles do not meet those of the notebook."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"{self.path}: open it in a browser"

    def _repr_html_(self) -> str:
        """Return a frame that holds the whole page, so that it stays in a saved notebook."""
        content = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{content}" width="100%" height="{HEIGHT}" style="border: 0"></iframe>'
