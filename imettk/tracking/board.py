"""Scalars for TensorBoard, made from the journal: no gaps and no double steps over any number of sessions."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SCALARS = {"train": ("loss", "lr", "seconds"), "validate": ("loss", "score", "seconds")}


class Board:
    """Event files for TensorBoard in a folder of their own, which is written anew at each start.

    What a killed session had written beyond its last checkpoint is gone with that, as it is from the journal.

    Args:
        events: the journal's so far.
    """

    def __init__(self, folder: Path, events: Iterable[dict[str, Any]]) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import

        self._make = lambda: SummaryWriter(str(folder), flush_secs=30)
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = self._make()
        for event in events:
            self.write(event)

    def restart(self, events: Iterable[dict[str, Any]]) -> None:
        """Begin anew with these events."""
        self._writer.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._writer = self._make()
        for event in events:
            self.write(event)

    def write(self, event: dict[str, Any]) -> None:
        """Add an event's scalars, if it has any."""
        kind = event["event"]
        for name in SCALARS.get(kind, ()):
            value = event.get(name)
            if value is not None and math.isfinite(value):
                self._writer.add_scalar(f"{kind}/{name}", value, event["step"], walltime=event.get("time"))

    def close(self) -> None:
        self._writer.close()
