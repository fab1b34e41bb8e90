"""The outcome of a session, judged by the output list that its kernel wrote and by its fold's status."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from imettk.kaggle.chain_state import DONE, FAILED, PAUSED, SKIPPED, Chain, Job
from imettk.kaggle.sessions import COMPLETE
from imettk.tracking.run_dir import JUDGED

SMALL_BYTES = 20_000_000
JUDGED_BYTES = 200_000_000
SMALL_SUFFIXES = (".json", ".jsonl", ".csv", ".png", ".html")
SUBMISSION = "submission.csv"
USER_ERROR = 2  # exit code of a command whose input is wrong: another try would fail in the same way


@dataclass(frozen=True)
class Outcome:
    """The outcome of a session.

    Attributes:
        state: the state of its job.
        note: how far it came, or why it failed.
        may_heal: whether another try may go better.
        in_log: whether the end of the log explains the failure better than the note.
    """

    state: str
    note: str = ""
    may_heal: bool = True
    in_log: bool = False

    @property
    def has_failed(self) -> bool:
        """True if the session counts as failed."""
        return self.state == FAILED


def judge(chain: Chain, job: Job, listed: dict[str, Any], status: dict[str, Any]) -> Outcome:
    """Judge a session whose command came to its end.

    Args:
        listed: its output list.
        status: the `status.json` of its fold; empty if there is none.
    """
    if lacking := [other for other in chain.jobs if other.push in listed["lacks"]]:
        return skip(job, lacking)
    code = listed["code"]  # of the command: the session itself is COMPLETE whatever the command did
    if job.command == "train":
        job.step, job.num_steps = _whole(status.get("step")), _whole(status.get("num_steps"))
    place = f"step {job.step} of {job.num_steps or '?'}" if job.command == "train" else ""
    # A training is judged by its fold's status, not by its code, which is 0 for a pause as well.
    if code == 0 if job.command != "train" else status.get("state") == "done":
        if job.has_output:
            return Outcome(DONE, place)
        return Outcome(FAILED, f"fold {job.fold} is done, but its output has neither model nor checkpoints")
    if code != 0:
        is_final = code == USER_ERROR
        return Outcome(FAILED, f"{job.command} ended with code {code}", may_heal=not is_final, in_log=is_final)
    if status.get("state") != "paused":
        return Outcome(FAILED, f"its output does not say whether the fold is done (fold{job.fold}/status.json)")
    # Without progress in three sessions, more of them would only use up the week's hours.
    earlier = chain.of("train", job.fold)[:-1]
    if sum(other.note == place for other in earlier[-2:]) == 2:
        return Outcome(FAILED, f"three sessions have not got beyond {place}: is the limit too short?", may_heal=False)
    return Outcome(PAUSED, place)


def skip(job: Job, unattached: list[Job]) -> Outcome:
    """End a session that did not get the outputs of these jobs, and decide whether to ask for those outputs again."""
    unusable = False
    for source in unattached:
        source.lacked += 1
        # The platform may never attach the output of a session that did not end well: fall back to the one before. The
        # output of a COMPLETE one may be late: ask once more, and count this as a failure. (`seen` is "" in jobs of an
        # earlier imettk.)
        if source.seen not in ("", COMPLETE) or (source.command == "train" and source.lacked > 1):
            source.state, source.has_output = FAILED, False
            source.note = f"{source.seen}: Kaggle does not attach its output"
            unusable = True
    note = f"the output of {', '.join(source.slug for source in unattached)} was not attached"
    return Outcome(SKIPPED, f"{note}; going on from the one before") if unusable else Outcome(FAILED, note)


def is_usable(job: Job, code: int | None, names: Collection[str]) -> bool:
    """Return whether a later session can use this output; a training that failed early may have left nothing."""
    if job.command != "train":
        return code == 0
    parts = (f"fold{job.fold}/checkpoints/", f"fold{job.fold}/model.safetensors")
    return any(name.startswith(parts) for name in names)


def is_small(name: str, size: int) -> bool:
    """Return whether a run folder on the laptop needs a file for log, report or submission: no weights, no images."""
    if name == SUBMISSION:
        return True
    if name == JUDGED:  # `imettk log compare` runs on the laptop, where nothing could make it again
        return size <= JUDGED_BYTES
    return name.endswith(SMALL_SUFFIXES) and size <= SMALL_BYTES and not name.startswith("cache/")


def _whole(value: Any) -> int:
    """Return a positive number of steps from a status, which may contain anything; otherwise 0."""
    return value if isinstance(value, int) and value > 0 else 0


def last_words(log: str) -> str:
    """Return the line of a log in which a command explains its end; "" if there is none."""
    lines = [line for line in log.splitlines() if line.startswith("imettk: ") and "ended with code" not in line]
    return lines[-1].removeprefix("imettk: ") if lines else ""
