"""`journal.jsonl`: one line an event, the one truth of what happened to a fold over all its sessions."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from imettk.errors import MismatchError

STARTS = ("session", "rollback")  # events from which training goes on at their step
ENDS = ("done", "paused", "failed")  # the last event of a session that was not killed
LATEST = 1e11  # seconds since the epoch: thousands of years


class Journal:
    """Appends events; every line is flushed, and a line that a kill cut short never joins with the next."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()  # checkpoints report from their own thread
        self._file = open(path, "a+b")  # noqa: SIM115 (kept open for the life of the session)
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
    """The events that still count, in order.

    A session that starts at step k begins anew what an earlier one, killed after its last checkpoint, had done beyond
    k, and so does one that rolls back to k: those events are left out, so steps neither repeat nor jump. So is a
    validation at k that it still owes. A line that a kill cut short is left out as well.

    Raises:
        MismatchError: a line is JSON, and no event.
    """
    events: list[dict[str, Any]] = []
    for event in _read_lines(path):
        if event["event"] in STARTS:
            events = [one for one in events if one["event"] in STARTS or not _is_undone(one, event)]
        events.append(event)
    return events


def merge_journals(paths: Iterable[Path]) -> bytes:
    """Join several journals of one training: each event once, in order of time, as the content of a journal's file."""
    events = {json.dumps(event): event["time"] for path in paths for event in _read_lines(path)}
    return "".join(f"{line}\n" for line, _ in sorted(events.items(), key=lambda pair: pair[1])).encode()


class SessionSpan(NamedTuple):
    """A session, in seconds since the epoch, and how it ended: done, paused, failed, or `killed` (without a word)."""

    start: float
    end: float
    state: str


def read_sessions(path: Path) -> list[SessionSpan]:
    """All sessions in order, each up to its last event, also where a later one did its last steps again."""
    spans: list[SessionSpan] = []
    for event in _read_lines(path):
        if event["event"] == "session":
            spans.append(SessionSpan(event["time"], event["time"], "killed"))
        elif spans:
            state = event["event"] if event["event"] in ENDS else "killed"
            spans[-1] = spans[-1]._replace(end=event["time"], state=state)
    return spans


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every event, without lines that a kill cut short."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if fault := _fault_of(event):
            raise MismatchError(f"{path} line {number} is damaged, {fault}: remove the line")
        yield event


def _fault_of(event: Any) -> str:
    """What makes this no event; empty for one."""
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return "it tells of no event"
    if not is_number(event.get("time")) or not 0 <= event["time"] < LATEST:
        return "it has no time"
    step = event.get("step", None if event["event"] in STARTS else 0)
    return "" if isinstance(step, int) and 0 <= step < 2**63 else "it has no step"


def is_number(value: Any) -> bool:
    """Whether a value of some JSON is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_undone(event: dict[str, Any], start: dict[str, Any]) -> bool:
    """Whether a session (or rollback) that starts like this does again what the event tells of."""
    step = event.get("step", 0)
    if step == start["step"] and start.get("owes_validation", False):
        return event["event"] in ("validate", "early_stop")
    return step > start["step"]
