"""`journal.jsonl`: a line for each event of a fold's training, over all of its sessions.

The file is append-only, and a session may repeat what a killed one did after its last checkpoint. So events that were
undone stay in the file, and readers leave them out; nothing is rewritten, which a kill could interrupt.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from imettk.errors import MismatchError

STARTS = ("session", "rollback")  # events after which training continues from their step
ENDS = ("done", "paused", "failed")  # the last event of a session that was not killed
LATEST = 1e11  # seconds since the epoch, in the year 5138: a larger time is damage


class Journal:
    """Appends events to the file; each line is flushed at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()  # checkpoints are written, and reported, by their own thread
        self._file = open(path, "a+b")  # noqa: SIM115 (kept open for the life of the session)
        # A line that a kill cut short gets its newline now: the next event would otherwise be lost with it.
        self._file.seek(0, 2)
        if self._file.tell() > 0:
            self._file.seek(-1, 2)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def write(self, event: str, **values: Any) -> None:
        """Append one event with the time in seconds since the epoch."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **values})
        with self._lock:
            self._file.write(line.encode() + b"\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the events that still count, in order.

    A session that starts at step k, or rolls back to k, repeats what came after k: the earlier events beyond k are left
    out, so that steps neither repeat nor jump. The same holds for a validation at k that is still pending. A line that
    a kill cut short is left out as well.

    Raises:
        MismatchError: a line is JSON but not an event.
    """
    events: list[dict[str, Any]] = []
    for event in _read_lines(path):
        if event["event"] in STARTS:
            events = [past for past in events if past["event"] in STARTS or not _is_undone(past, event)]
        events.append(event)
    return events


def merge_journals(paths: Iterable[Path]) -> bytes:
    """Return the content of a journal that has each event of several copies of a training once, in order of time."""
    events = {json.dumps(event): event["time"] for path in paths for event in _read_lines(path)}
    return "".join(f"{line}\n" for line, _ in sorted(events.items(), key=lambda pair: pair[1])).encode()


class SessionSpan(NamedTuple):
    """A session in seconds since the epoch, and its end: done, paused, failed, or killed if it wrote none."""

    start: float
    end: float
    state: str


def read_sessions(path: Path) -> list[SessionSpan]:
    """Return all sessions in order, each up to its last event, even one that a later session repeated."""
    spans: list[SessionSpan] = []
    for event in _read_lines(path):
        if event["event"] == "session":
            spans.append(SessionSpan(event["time"], event["time"], "killed"))
        elif spans:
            state = event["event"] if event["event"] in ENDS else "killed"
            spans[-1] = spans[-1]._replace(end=event["time"], state=state)
    return spans


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every event, without lines that a kill cut short."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except ValueError:  # cut short by a kill, not necessarily the last line: a later session appended to it
            continue
        if fault := _fault_of(event):
            raise MismatchError(f"{path} line {number} is damaged, {fault}: remove the line")
        yield event


def _fault_of(event: Any) -> str:
    """Return the reason why a value is not an event; "" if it is one."""
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return "it is not an event"
    if not is_number(event.get("time")) or not 0 <= event["time"] < LATEST:
        return "it has no time"
    step = event.get("step", None if event["event"] in STARTS else 0)
    return "" if isinstance(step, int) and 0 <= step < 2**63 else "it has no step"


def is_number(value: Any) -> bool:
    """Return True if a value from JSON is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_undone(event: dict[str, Any], start: dict[str, Any]) -> bool:
    """Return True if a session or rollback that starts like this repeats the event."""
    step = event.get("step", 0)
    if step == start["step"] and start.get("owes_validation", False):
        return event["event"] in ("average", "validate", "early_stop")
    return step > start["step"]
