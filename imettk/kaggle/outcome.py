"""The outcome of a session, read from the list that its kernel wrote and from its fold's status."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from imettk.kaggle.chain_state import DONE, FAILED, PAUSED, SKIPPED, Chain, Job
from imettk.kaggle.sessions import COMPLETE

SMALL_BYTES = 20_000_000
SMALL_SUFFIXES = (".json", ".jsonl", ".csv", ".png", ".html")
SUBMISSION = "submission.csv"
USER_ERROR = 2  # exit code of a stage whose input is wrong: trying again would not help


@dataclass(frozen=True)
class Outcome:
    """How a session ends.

    Attributes:
        state: of its job.
        note: how far it came, or why it failed.
        heals: whether another try may go better.
        in_log: whether the end of the log says why better than the note does.
    """

    state: str
    note: str = ""
    heals: bool = True
    in_log: bool = False

    @property
    def has_failed(self) -> bool:
        return self.state == FAILED


def judge(chain: Chain, job: Job, listed: dict[str, Any], status: dict[str, Any]) -> Outcome:
    """Tell how a session has ended that wrote its list to the end.

    Args:
        listed: the list.
        status: of its fold; empty where it has none.
    """
    if lacking := [other for other in chain.jobs if other.push in listed["lacks"]]:
        return skip(job, lacking)
    code = listed["code"]
    if job.stage == "train":
        job.step, job.num_steps = _whole(status.get("step")), _whole(status.get("num_steps"))
    place = f"step {job.step} of {job.num_steps or '?'}" if job.stage == "train" else ""
    if code == 0 if job.stage != "train" else status.get("state") == "done":
        if job.has_output:
            return Outcome(DONE, place)
        return Outcome(FAILED, f"fold {job.fold} is done, and its output has neither model nor checkpoints")
    if code != 0:
        cannot_heal = code == USER_ERROR
        return Outcome(FAILED, f"{job.stage} ended with code {code}", heals=not cannot_heal, in_log=cannot_heal)
    if status.get("state") != "paused":
        return Outcome(FAILED, f"its output does not say whether the fold is done (fold{job.fold}/status.json)")
    before = chain.of("train", job.fold)[:-1]
    if sum(other.note == place for other in before[-2:]) == 2:
        return Outcome(FAILED, f"three sessions have not gone beyond {place}: is the limit too short?", heals=False)
    return Outcome(PAUSED, place)


def skip(job: Job, lacking: list[Job]) -> Outcome:
    """End a session that did not get outputs it was to take up.

    That of a session that did not end well may never be attached: it is not asked for again, and the one before counts.
    That of a complete one is asked for once more, which counts as a failure.
    """
    unusable = False
    for source in lacking:
        source.lacked += 1
        if source.seen not in ("", COMPLETE) or (  # an earlier imettk has not noted how it was seen
            source.stage == "train" and source.lacked > 1
        ):
            source.state, source.has_output = FAILED, False
            source.note = f"{source.seen}: Kaggle does not attach its output"
            unusable = True
    note = f"the output of {', '.join(source.slug for source in lacking)} was not attached"
    return Outcome(SKIPPED, f"{note}; going on from the one before") if unusable else Outcome(FAILED, note)


def can_be_taken_up(job: Job, code: int | None, names: Collection[str]) -> bool:
    """Whether the next session has what it needs in this output; a training that failed early may have left nothing."""
    if job.stage != "train":
        return code == 0
    parts = (f"fold{job.fold}/checkpoints/", f"fold{job.fold}/model.safetensors")
    return any(name.startswith(parts) for name in names)


def is_small(name: str, size: int) -> bool:
    """Whether a run folder on the laptop needs a file, for log, report or submission: no weights, no images."""
    if name == SUBMISSION:
        return True
    return name.endswith(SMALL_SUFFIXES) and size <= SMALL_BYTES and not name.startswith("cache/")


def _whole(value: Any) -> int:
    """A number of steps in a status, which may hold anything; 0 where it is none."""
    return value if isinstance(value, int) and value > 0 else 0


def last_words(log: str) -> str:
    """The line in which a stage has said why it ended; "" where the log has none."""
    said = [line for line in log.splitlines() if line.startswith("imettk: ") and "ended with code" not in line]
    return said[-1].removeprefix("imettk: ") if said else ""
