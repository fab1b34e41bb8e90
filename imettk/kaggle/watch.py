"""Texts for the user who waits: the state of a chain and its sessions, when it may be done, and what comes next."""

from __future__ import annotations

import heapq
import time

from imettk.kaggle.chain_state import DONE, PUSHING, RUNNING, Chain, Job
from imettk.kaggle.kernel import MOST_SECONDS
from imettk.kaggle.sessions import Quota


def clock(seconds: float) -> str:
    """Format a local time of day, such as `14:05`."""
    return time.strftime("%H:%M", time.localtime(seconds))


def day(seconds: float) -> str:
    """Format a local time with its day, such as `Sat 28 Nov 14:05`."""
    return time.strftime("%a %d %b %H:%M", time.localtime(seconds))


def span(seconds: float) -> str:
    """Format a duration in hours and minutes, such as `3:12 h`."""
    minutes = max(0, int(seconds // 60))
    return f"{minutes // 60}:{minutes % 60:02d} h"


def session_line(chain: Chain, job: Job, now: float) -> str:
    """Describe an open session in a few words: `f0-s2 RUNNING 3:12 h of 9:00 h`."""
    if job.state == PUSHING:
        return f"{job.place} not pushed yet" + (f" ({job.note})" if job.note else "")
    if job.seen == "RUNNING" and job.running_at:
        limit = float(job.short_seconds or chain.limit_seconds or _own_limit(chain))
        return f"{job.place} RUNNING {span(now - job.running_at)} of {span(limit)}{_last_seen(job)}"
    return f"{job.place} {job.seen or 'pushed'} {span(now - job.pushed_at)}{_last_seen(job)}"


def _own_limit(chain: Chain) -> float:
    """Return the session limit of the chain's recipe in seconds, or the platform's if it is not known."""
    return float(chain.described.get("session", {}).get("limit_seconds", MOST_SECONDS))


def _last_seen(job: Job) -> str:
    """Return when a session was last seen, if the last look did not show it; the reason has a line of its own."""
    if not job.note:
        return ""
    return f" (last seen {clock(job.seen_at)})" if job.seen_at else f" ({job.note})"


def watch_parts(chain: Chain, now: float, quota: Quota | None) -> list[str]:
    """Return the status in parts: the sessions; hours and expected end, as far as known; what comes next."""
    sessions = ", ".join(session_line(chain, job, now) for job in chain.open_jobs) or "no session runs"
    hours = [hours_line(quota)] if quota is not None and chain.gpu else []
    end = end_line(chain, now, quota)
    known = "; ".join([*hours, *([end] if end else [])])
    return [f"{chain.name}: {sessions}", *([known] if known else []), f"next: {next_action(chain)}"]


def hours_line(quota: Quota) -> str:
    """Describe what is left of the week's GPU hours."""
    renewed = f", renewed {day(quota.renewed_at)}" if quota.renewed_at else ""
    return f"{quota.left:.1f} of {quota.allowed:.1f} GPU hours left{renewed}"


def end_line(chain: Chain, now: float, quota: Quota | None) -> str:
    """Describe when training may be done; "" if nothing has been measured."""
    left = _seconds_left(chain, now)
    if not left or (chain.stopped and not chain.open_jobs):
        return ""
    end = f"trained about {day(now + _side_by_side(left, chain.at_once))}"
    needed = sum(left) / 3600
    if chain.gpu and quota is not None and needed > quota.left:
        return f"{needed:.1f} GPU hours are needed, more than this week has left"
    return end


def next_action(chain: Chain) -> str:
    """Describe what the chain does when its running sessions have ended."""
    if chain.stopped:
        return f"the end, when these are over: {chain.stopped}" if chain.open_jobs else f"nothing: {chain.stopped}"
    if any(job.state == PUSHING for job in chain.open_jobs):
        return "a push, as soon as Kaggle takes it"
    command = next((place[0] for place in chain.places if not chain.is_done(*place)), None)
    if command == "train":
        waiting = [str(fold) for fold in chain.folds if not chain.is_done("train", fold)]
        return f"sessions of fold{'s' if len(waiting) > 1 else ''} {', '.join(waiting)} until trained, then validate"
    after = {"prepare": "train", "validate": "infer", "infer": "submission.csv", None: "nothing, all is done"}
    return after[command]


def describe(chain: Chain, now: float | None = None, quota: Quota | None = None) -> str:
    """Describe a chain, with a line for each command and fold.

    Args:
        now: the platform's time of a look just made; None to show states as they were last seen.
    """
    lines = [f"{chain.name}: {chain.recipe}, folds {', '.join(map(str, chain.folds))}"]
    for command, fold in chain.places:
        jobs = chain.of(command, fold)
        name = command if fold is None else f"{command} fold {fold}"
        state = _state(chain, jobs[-1], now) if jobs else "-"
        lines.append(f"  {name:<14}{len(jobs):>3} session{'s' if len(jobs) != 1 else ' '}  {state}")
    pushed = sum(job.pushed_at > 0 for job in chain.jobs)
    expected = (f" of {chain.expected_sessions} expected", f" of {chain.expected_hours:.1f} expected")
    sessions, hours = expected if chain.expected_sessions else ("", "")
    lines.append(f"  sessions {pushed}{sessions}, GPU hours used {chain.gpu_hours:.1f}{hours}")
    if now is not None and (end := end_line(chain, now, quota)):
        lines.append(f"  {end}")
    lines.append(f"  next: {next_action(chain)}")
    return "\n".join(lines)


def _state(chain: Chain, job: Job, now: float | None) -> str:
    """Describe the last session of a command or fold."""
    if job.state in (PUSHING, RUNNING):
        if now is not None:
            return session_line(chain, job, now).removeprefix(f"{job.place} ")
        seen = f"{job.seen}, seen {day(job.seen_at)}" if job.seen_at else f"pushed {day(job.pushed_at)}"
        return f"{job.state}, {job.note}" if job.state == PUSHING and job.note else seen if job.pushed_at else job.state
    return f"{job.state}, {job.note}" if job.note else job.state


def _seconds_left(chain: Chain, now: float) -> list[float]:
    """Return the seconds of training that each unfinished fold still takes; empty if nothing has been measured."""
    # The latest session that made progress counts: an earlier one may have had another accelerator.
    rates: dict[int, tuple[float, int]] = {}  # steps per second and steps in all, by fold
    for fold in chain.folds:
        before = 0
        for job in chain.of("train", fold):
            if job.num_steps and job.seconds and job.step > before:
                rates[fold] = (job.step - before) / job.seconds, job.num_steps
                before = job.step
    # For folds that have not begun: the slowest of the others, or the preflight's measurement.
    usual = max((steps / rate for rate, steps in rates.values()), default=chain.seconds_a_fold)
    left = []
    for fold in chain.folds:
        jobs = chain.of("train", fold)
        if jobs and jobs[-1].state == DONE:
            continue
        if not usual:
            return []
        rate, steps = rates.get(fold, (0.0, 0))
        step = max((job.step for job in jobs), default=0)
        seconds = (steps - step) / rate if rate else usual
        running = [now - job.running_at for job in jobs if job.state == RUNNING and job.running_at]
        left.append(max(0.0, seconds - sum(running)))
    return left


def _side_by_side(seconds: list[float], at_once: int) -> float:
    """Return the time for jobs of these lengths with `at_once` side by side, the longest first."""
    ends = [0.0] * max(1, at_once)
    for length in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + length)
    return max(ends)
