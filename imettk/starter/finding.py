"""A guess as `imettk new` prints it."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """A line about one guess: its subject and value, the reason for it, and the option or field that changes it."""

    what: str
    value: str
    reason: str
    change: str
