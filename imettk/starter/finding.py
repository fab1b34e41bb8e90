"""One line that `imettk new` prints of what it guessed."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that was guessed, why, and by which option or field it is changed."""

    what: str
    value: str
    reason: str
    change: str
