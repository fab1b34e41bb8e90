"""Messages about a run, written from its journal: the kernel and a watching laptop send the same text."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imettk.tracking.files import read_json
from imettk.tracking.telegram import Message

Events = Sequence[dict[str, Any]]  # as `read_journal` returns them


def began(name: str, fold: int, events: Events) -> Message:
    """Return the message on the start of a session."""
    last = [event for event in events if event["event"] == "session"][-1]
    sessions = sum(event["event"] == "session" for event in events)
    if sessions == 1:
        return Message(f"{name}, fold {fold}: started, {last['num_steps']:,} steps")
    return Message(
        f"{name}, fold {fold}: session {sessions} continues at step {last['step']:,} of {last['num_steps']:,}"
    )


def validated(name: str, fold: int, events: Events, *, higher: bool = True) -> Message:
    """Return the message on the validations so far, with their curve.

    Args:
        higher: True if a higher score is better.
    """
    scores = _curve(events, "validate", "score")
    num_steps = next(event["num_steps"] for event in reversed(events) if event["event"] == "session")
    if not scores:  # a training on all rows validates nothing
        return Message(f"{name}, fold {fold}: step {events[-1].get('step', 0):,} of {num_steps:,}")
    step, score = scores[-1]
    best_step, best = (max if higher else min)(scores, key=lambda point: point[1])
    best_text = "the best so far" if best_step == step else f"best {best:.4f} at step {best_step:,}"
    text = f"{name}, fold {fold}: {score:.4f} at step {step:,} of {num_steps:,} ({best_text})"
    return Message(text, _picture(scores, _curve(events, "train", "loss")))


def ended(name: str, fold: int, events: Events, *, session_seconds: float, fault: str = "") -> Message:
    """Return the message on the end of a session, from the journal's last event.

    Args:
        session_seconds: training time in a session, for an estimate of the sessions to come.
        fault: the traceback or reason of a failure; a long one loses its beginning.
    """
    last = events[-1]
    start = next(event for event in reversed(events) if event["event"] == "session")
    state, step, num_steps = last["event"], last.get("step", 0), start["num_steps"]
    scores = _curve(events, "validate", "score")
    score = f", {scores[-1][1]:.4f}" if scores else ""
    head = f"{name}, fold {fold}: "
    if state == "done":
        return Message(f"{head}done after {step:,} steps{score}")
    if state == "failed":
        return Message(
            f"{head}failed at step {step:,} of {num_steps:,}\n{fault or last.get('reason', '')}", keep_end=True
        )
    left = seconds_left(events, num_steps - step)
    if left is None:
        return Message(f"{head}paused at step {step:,} of {num_steps:,}{score}")
    sessions = max(1, math.ceil(left / session_seconds))
    more = "1 session" if sessions == 1 else f"{sessions} sessions"
    return Message(f"{head}paused at step {step:,} of {num_steps:,}{score}; {format_duration(left)} left, {more}")


def scored(name: str, folder: Path) -> str:
    """Return the message on what `validate` scored, from `scores.json`."""
    scores = read_json(folder / "scores.json") or {}
    if "oof" not in scores:
        return f"{name}: validated"
    low, high = scores.get("interval") or (None, None)
    interval = "" if low is None else f" ({low:.4f} to {high:.4f})"
    return f"{name}: out of fold {scores['metric']} {scores['oof']:.4f}{interval}, folds {len(scores['folds'])}"


def seconds_left(events: Events, steps: int) -> float | None:
    """Return the seconds that so many steps take at this session's pace; None before its first step."""
    # This session only: earlier ones may have had another GPU, and pauses between sessions do not count.
    start = max(place for place, event in enumerate(events) if event["event"] == "session")
    made = events[-1].get("step", 0) - events[start]["step"]
    if made <= 0:
        return None
    return float((events[-1]["time"] - events[start]["time"]) / made * steps)


def _curve(events: Events, kind: str, name: str) -> list[tuple[int, float]]:
    """Return (step, value) pairs of one field of events of a kind, as far as it is a finite number."""
    points = [(event["step"], event[name]) for event in events if event["event"] == kind]
    return [(step, value) for step, value in points if value is not None and math.isfinite(value)]


def _picture(scores: Sequence[tuple[int, float]], losses: Sequence[tuple[int, float]]) -> bytes:
    from imettk.pictures.plots import draw_curve

    file = io.BytesIO()
    draw_curve(file, scores, losses)
    return file.getvalue()


def format_duration(seconds: float) -> str:
    """Return a duration in hours, or in minutes below an hour and a half."""
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{max(1, round(seconds / 60))} min"
