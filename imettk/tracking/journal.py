"""`journal.jsonl`: one line an event, the one truth of what happened to a fold over all its sessions."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any


class Journal:
    """Appends events; every line is flushed, and a line that a kill cut short never joins with the next."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b")  # noqa: SIM115 (kept open for the life of the session)
        self._file.seek(0, 2)
        if self._file.tell() > 0:
            self._file.seek(-1, 2)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def write(self, event: str, **values: Any) -> None:
        """Append one event with the time in seconds since the epoch."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **values})
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The events that still count, in order.

    A session that starts at step k begins anew what an earlier one, killed after its last checkpoint, had done beyond
    k: those events are left out. So steps neither repeat nor jump. A line that a kill cut short is left out as well.
    """
    events: list[dict[str, Any]] = []
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return events
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event["event"] == "session":
            events = [one for one in events if one["event"] == "session" or one.get("step", 0) <= event["step"]]
        events.append(event)
    return events
