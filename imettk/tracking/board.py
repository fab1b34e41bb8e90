"""Scalars for TensorBoard, written from the journal: no gaps and no repeated steps over any number of sessions."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SCALARS = {"train": ("loss", "lr", "seconds"), "validate": ("loss", "score", "seconds")}


class Board:
    """Event files for TensorBoard in their own folder, rewritten from the journal at each start.

    Appending to the files of an earlier session would keep the steps that it made after its last checkpoint, which this
    session repeats: TensorBoard would draw them twice.

    Args:
        events: the events of the journal so far.
    """

    def __init__(self, folder: Path, events: Iterable[dict[str, Any]]) -> None:
        from torch.utils.tensorboard import SummaryWriter  # here: it takes a second to import

        self._make = lambda: SummaryWriter(str(folder), flush_secs=30)
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = self._make()
        for event in events:
            self.write(event)

    def restart(self, events: Iterable[dict[str, Any]]) -> None:
        """Start again with these events only."""
        self._writer.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._writer = self._make()
        for event in events:
            self.write(event)

    def write(self, event: dict[str, Any]) -> None:
        """Add the scalars of an event, if it has any."""
        kind = event["event"]
        for name in SCALARS.get(kind, ()):
            value = event.get(name)
            if value is not None and math.isfinite(value):
                self._writer.add_scalar(f"{kind}/{name}", value, event["step"], walltime=event.get("time"))

    def close(self) -> None:
        self._writer.close()
