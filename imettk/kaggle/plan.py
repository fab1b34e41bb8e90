"""What a chain of sessions is, as one small file: settings, and every session that was ever started."""

from __future__ import annotations

import dataclasses
import json
import math
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imettk.errors import MismatchError, UserError
from imettk.files import write_atomically
from imettk.kaggle.kernel import MAX_SLUG, Kernel

STATE = "chain.json"
# How a job stands: written down, then pushed, then over.
PUSHING, RUNNING, DONE, PAUSED, FAILED = "pushing", "running", "done", "paused", "failed"
RETRIED = "failed, tried again"
OPEN = (PUSHING, RUNNING)


@dataclass
class Job:
    """One session.

    Attributes:
        fold: None where the stage has none.
        slug: of its kernel; each session has one of its own, so that its output stays what it is.
        push: of this push alone, written down before it happens.
        after: the slugs whose outputs it takes up.
        version: of the kernel; 0 before the push is answered.
        has_output: left something to take up; checkpoints of a failed training count too.
        note: why it failed or waits, or how far it came.
        seconds: that its script ran; where it left no list, that it was open at most.
        waits_since: since when its output, which must be there, is not; 0 where nothing is missing.
    """

    stage: str
    fold: int | None
    slug: str
    push: str
    after: list[str]
    gpu: bool
    state: str = PUSHING
    version: int = 0
    has_output: bool = False
    note: str = ""
    seconds: float = 0.0
    pushed_at: float = 0.0
    ended_at: float = 0.0
    waits_since: float = 0.0


@dataclass
class Chain:
    """A recipe's way over the platform, from `prepare` to a submission.

    Attributes:
        recipe: a built-in name, or that of a `.py` file in the pack.
        arguments: overrides, for every stage.
        competition: slug of the data's folder.
        datasets, competitions: what every kernel has attached, the pack with its version first.
        pack: the pack's hash.
        retries: how often in a row a session may fail before the chain stops.
        at_once: GPU sessions that may run side by side.
        expected_sessions, expected_hours: in all, and on a GPU, as a preflight has measured; 0 where there was none.
        stopped: why it came to an end before its end; "" where it did not.
    """

    name: str
    owner: str
    recipe: str
    competition: str
    folds: list[int]
    datasets: list[str]
    competitions: list[str]
    pack: str
    arguments: list[str] = field(default_factory=list)
    gpu: bool = True
    retries: int = 2
    limit_seconds: int | None = None
    at_once: int = 2
    expected_sessions: int = 0
    expected_hours: float = 0.0
    jobs: list[Job] = field(default_factory=list)
    stopped: str = ""

    def of(self, stage: str, fold: int | None = None) -> list[Job]:
        """The sessions of a stage (and fold), in order."""
        return [job for job in self.jobs if (job.stage, job.fold) == (stage, fold)]

    def last_output(self, stage: str, fold: int | None = None) -> Job | None:
        """The last session whose output can be taken up."""
        return next((job for job in reversed(self.of(stage, fold)) if job.has_output), None)

    def is_done(self, stage: str, fold: int | None = None) -> bool:
        """Whether nothing is left to do there."""
        jobs = self.of(stage, fold)
        return bool(jobs) and jobs[-1].state == DONE

    def failures(self, stage: str, fold: int | None = None) -> int:
        """How many of its last sessions have failed in a row."""
        count = 0
        for job in reversed(self.of(stage, fold)):
            if job.state != FAILED:
                break
            count += 1
        return count

    def differences(self, asked: dict[str, Any]) -> list[str]:
        """In which of these settings it is another chain than is asked for: "folds [0], not [0, 1]"."""
        return [
            f"{name} {getattr(self, name)!r}, not {value!r}"
            for name, value in asked.items()
            if getattr(self, name) != value
        ]

    def try_again(self) -> None:
        """Forget why it stopped, and how often sessions have failed: somebody has looked into it."""
        self.stopped = ""
        for job in self.jobs:
            job.state = RETRIED if job.state == FAILED else job.state

    @property
    def open_jobs(self) -> list[Job]:
        return [job for job in self.jobs if job.state in OPEN]

    @property
    def gpu_hours(self) -> float:
        """That its sessions have used, as far as they are over."""
        return sum(job.seconds for job in self.jobs if job.gpu) / 3600

    def reference(self, job: Job) -> str:
        """owner/slug of its kernel."""
        return f"{self.owner}/{job.slug}"

    def add(self, stage: str, fold: int | None, after: list[Job], *, gpu: bool) -> Job:
        """Write down a session that is going to be pushed."""
        number = len(self.of(stage, fold)) + 1
        place = stage if fold is None else f"f{fold}"
        tail = f"-{place}-s{number}"
        slug = f"imettk-{self.name}"[: MAX_SLUG - len(tail)].rstrip("-") + tail
        job = Job(stage, fold, slug, secrets.token_hex(8), [one.slug for one in after], gpu)
        self.jobs.append(job)
        return job

    def kernel(self, job: Job) -> Kernel:
        """What is pushed for it."""
        by_slug = {one.slug: one for one in self.jobs}
        fold = () if job.fold is None else ("--fold", str(job.fold))
        return Kernel(
            reference=self.reference(job),
            stage=job.stage,
            recipe=self.recipe,
            competition=self.competition,
            arguments=(*self.arguments, *fold),
            datasets=tuple(self.datasets),
            competitions=tuple(self.competitions),
            kernels=tuple(f"{self.owner}/{slug}" for slug in job.after),
            gpu=job.gpu,
            pack=self.pack,
            push=job.push,
            after=tuple(by_slug[slug].push for slug in job.after),
            limit_seconds=self.limit_seconds,
        )

    def save(self, folder: Path) -> None:
        """Write the state, whole or not at all."""
        content = json.dumps({"time": round(time.time(), 3), **dataclasses.asdict(self)}, indent=2)
        write_atomically(folder / STATE, content.encode() + b"\n")


def expect(chain: Chain, preflight: dict[str, Any], *, usable_seconds: float) -> None:
    """Note how many sessions and GPU hours a chain will take, by what a preflight has measured.

    Args:
        usable_seconds: of a session.
    """
    seconds = float(preflight["seconds_a_fold"])
    chain.expected_hours = len(chain.folds) * seconds / 3600 if chain.gpu else 0.0
    chain.expected_sessions = len(chain.folds) * math.ceil(seconds / usable_seconds) + 3  # prepare, validate, infer


def read_chain(folder: Path) -> Chain | None:
    """The chain of this folder, or None.

    Raises:
        MismatchError: the file holds something else.
    """
    try:
        content: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
        content.pop("time")
        return Chain(**(content | {"jobs": [Job(**job) for job in content["jobs"]]}))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise MismatchError(f"{folder / STATE} is damaged: {error}") from None


def describe(chain: Chain) -> str:
    """Where a chain is, a line for each stage and fold."""
    lines = [f"{chain.name}: {chain.recipe}, folds {', '.join(map(str, chain.folds))}"]
    places: list[tuple[str, int | None]] = [("prepare", None), *(("train", fold) for fold in chain.folds)]
    for stage, fold in [*places, ("validate", None), ("infer", None)]:
        jobs = chain.of(stage, fold)
        name = stage if fold is None else f"{stage} fold {fold}"
        last = jobs[-1] if jobs else None
        note = f", {last.note}" if last is not None and last.note else ""
        lines.append(f"  {name:<14}{len(jobs):>3} sessions  {last.state if last is not None else '-'}{note}")
    pushed = sum(job.pushed_at > 0 for job in chain.jobs)
    expected = (f" of {chain.expected_sessions} expected", f" of {chain.expected_hours:.1f} expected")
    sessions, hours = expected if chain.expected_sessions else ("", "")
    lines.append(f"  sessions {pushed}{sessions}, GPU hours used {chain.gpu_hours:.1f}{hours}")
    return "\n".join([*lines, *([f"  {chain.stopped}"] if chain.stopped else [])])


def check_name(name: str) -> str:
    """A chain's name, part of its kernels' slugs; `UserError` where the platform would not take it."""
    if not name.replace("-", "").isalnum() or name != name.lower() or not name.isascii() or len(name) > 30:
        raise UserError(f"--name: {name!r} must have at most 30 lower-case letters, digits and -")
    return name
