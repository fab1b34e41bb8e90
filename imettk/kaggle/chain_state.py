"""A chain of sessions as one small file: its settings, and every session that was ever started."""

from __future__ import annotations

import dataclasses
import json
import math
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from imettk.errors import MismatchError
from imettk.files import write_atomically
from imettk.kaggle.kernel import GPU, Kernel
from imettk.kaggle.names import fit
from imettk.tracking.files import read_json

STATE = "chain.json"
LEAST_SECONDS = 1800.0
_REPLACE = "put a copy in its place, or begin another chain with --name NAME --run-dir DIR"
LIMIT_OPTION = "--session.limit-seconds"
# How a job stands: written down, then pushed, then over.
PUSHING, RUNNING, DONE, PAUSED, FAILED = "pushing", "running", "done", "paused", "failed"
FORMER = {"waits_since"}  # what an earlier imettk has noted of a session, and nobody needs
RETRIED = "failed, tried again"
SKIPPED = "without its input"  # which the platform did not attach; no failure of its own
OPEN = (PUSHING, RUNNING)
Made = TypeVar("Made", "Chain", "Job")
# The stages in order, and whose outputs each takes up; a training takes up its own last one too.
_INPUTS = {
    "prepare": (),
    "train": ("prepare",),
    "validate": ("prepare", "train"),
    "infer": ("prepare", "train", "validate"),
}


@dataclass
class Job:
    """One session.

    Attributes:
        fold: None where the stage has none.
        slug: of its kernel; each session has one of its own, so that its output stays what it is.
        push: of this push alone, written down before it happens.
        after: the slugs whose outputs it takes up.
        version: of the kernel; 0 before the push is answered.
        has_output: left something to take up; checkpoints of a failed or killed training count too.
        note: why it failed or waits, or how far it came.
        seconds: that its script ran; where it left no list, that it was open at most.
        pushed_at, running_at, ended_at: when it was pushed, first seen running and settled, in seconds since the epoch
            by the platform's clock; 0 where that has not happened.
        reference: owner/slug of its kernel, as the platform has answered; "" is the one that was asked for.
        sent: it is pushed, or may be: an answer that was never read may have been a yes. True where an earlier imettk
            wrote it.
        seen, seen_at: its last status that was read, and when.
        looks, lasted: how many looks have seen it so, and for how many seconds, as counted from look to look.
        lacked: how often a later session did not get its output.
        short_seconds: limit of this session alone, where the week's hours end before the chain's limit; 0 otherwise.
        step, num_steps: of its fold at its end; 0 where they are not known.
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
    reference: str = ""
    running_at: float = 0.0
    seen: str = ""
    seen_at: float = 0.0
    looks: int = 0
    lasted: float = 0.0
    sent: bool = True
    lacked: int = 0
    short_seconds: int = 0
    step: int = 0
    num_steps: int = 0

    @property
    def place(self) -> str:
        """Short name of its place in the chain and its number, such as `f0-s2`."""
        return "-".join(self.slug.rsplit("-", 2)[1:])


@dataclass
class Chain:
    """A recipe's way over the platform, from `prepare` to a submission.

    Attributes:
        recipe: a built-in name, or that of a `.py` file in the pack.
        arguments: overrides, for every stage.
        competition: slug of the data's folder.
        datasets, competitions, models: what every kernel has attached, the pack with its version first.
        pack: the pack's hash.
        machine: the accelerator of its GPU sessions.
        described: the recipe with all overrides, as plain values; empty where an earlier imettk began the chain.
        seconds_a_fold: of training, as a preflight has measured; 0 where there was none.
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
    models: list[str] = field(default_factory=list)
    machine: str = GPU
    described: dict[str, Any] = field(default_factory=dict)
    seconds_a_fold: float = 0.0

    def of(self, stage: str, fold: int | None = None) -> list[Job]:
        """The sessions of a stage (and fold), in order."""
        return [job for job in self.jobs if (job.stage, job.fold) == (stage, fold)]

    def last_output(self, stage: str, fold: int | None = None) -> Job | None:
        """The last session whose output can be taken up."""
        return next((job for job in reversed(self.of(stage, fold)) if job.has_output), None)

    def is_done(self, stage: str, fold: int | None = None) -> bool:
        """Whether nothing is left to do there, and its output can be taken up.

        Validation and inference are, where they were made from the outputs that count now. A training is, whatever it
        began from: its weights stay what they are.
        """
        jobs = self.of(stage, fold)
        if not jobs or jobs[-1].state != DONE or not jobs[-1].has_output:
            return False
        return stage in ("prepare", "train") or set(jobs[-1].after) == {job.slug for job in self._inputs(stage)}

    def failed(self, stage: str, fold: int | None = None) -> list[Job]:
        """The sessions that have failed since one came further, the last one first."""
        failed: list[Job] = []
        farthest = 0
        for job in self.of(stage, fold):
            if job.state in (DONE, RETRIED) or (job.state == PAUSED and job.step > farthest):
                failed.clear()
            elif job.state == FAILED:
                failed.insert(0, job)
            farthest = max(farthest, job.step if job.has_output else 0)
        return failed

    def _inputs(self, stage: str) -> list[Job]:
        """The outputs of other stages that a session of this one takes up now."""
        return [job for place in self.places if place[0] in _INPUTS[stage] and (job := self.last_output(*place))]

    @property
    def places(self) -> list[tuple[str, int | None]]:
        """Every stage and fold, in order."""
        return [("prepare", None), *(("train", fold) for fold in self.folds), ("validate", None), ("infer", None)]

    def next_sessions(self) -> list[tuple[str, int | None, list[Job]]]:
        """Stage, fold and inputs of every session that can start now."""
        stage, folds = self._next_stage()
        if self.stopped or stage is None:
            return []
        inputs = self._inputs(stage)
        return [
            (stage, fold, [*inputs, *([own] if (own := self.last_output(stage, fold)) and stage == "train" else [])])
            for fold in folds
            if not any(job.state in OPEN for job in self.of(stage, fold))
        ]

    def _next_stage(self) -> tuple[str | None, list[int | None]]:
        """The first stage that is not done, and its folds that are not."""
        for stage in _INPUTS:
            folds = [fold for name, fold in self.places if name == stage and not self.is_done(name, fold)]
            if folds:
                return stage, folds
        return None, []

    def try_again(self) -> None:
        """Forget why it stopped, and how often sessions have failed: somebody has looked into it."""
        self.stopped = ""
        for job in self.jobs:
            job.state = RETRIED if job.state == FAILED else job.state

    @property
    def open_jobs(self) -> list[Job]:
        return [job for job in self.jobs if job.state in OPEN]

    @property
    def least_seconds(self) -> float:
        """Hours of the week, in seconds, below which a session is not worth beginning.

        What is kept free for saving comes off them; a session with a short limit of its own needs no more than that.
        """
        least = max(LEAST_SECONDS, 2 * float(self.described.get("session", {}).get("margin_seconds", 0.0)))
        return min(least, float(self.limit_seconds or least))

    @property
    def gpu_hours(self) -> float:
        """That its sessions have used, as far as they are over."""
        return sum(job.seconds for job in self.jobs if job.gpu) / 3600

    def reference(self, job: Job) -> str:
        """owner/slug of its kernel."""
        return job.reference or f"{self.owner}/{job.slug}"

    def add(self, stage: str, fold: int | None, after: list[Job], *, gpu: bool) -> Job:
        """Write down a session that is going to be pushed."""
        number = len(self.of(stage, fold)) + 1
        tail = f"-{stage if fold is None else f'f{fold}'}-s{number}"
        slug = fit(f"imettk-{self.name}", tail)
        job = Job(stage, fold, slug, secrets.token_hex(8), [job.slug for job in after], gpu, sent=False)
        self.jobs.append(job)
        return job

    def kernel(self, job: Job) -> Kernel:
        """The kernel to push for it."""
        by_slug = {other.slug: other for other in self.jobs}
        fold = () if job.fold is None else ("--fold", str(job.fold))
        limit = job.short_seconds or self.limit_seconds
        arguments = _with_limit(self.arguments, job.short_seconds) if job.short_seconds else self.arguments
        return Kernel(
            reference=f"{self.owner}/{job.slug}",
            stage=job.stage,
            recipe=self.recipe,
            competition=self.competition,
            arguments=(*arguments, *fold),
            datasets=tuple(self.datasets),
            competitions=tuple(self.competitions),
            models=tuple(self.models),
            kernels=tuple(self.reference(by_slug[slug]) for slug in job.after),
            gpu=job.gpu,
            machine=self.machine,
            pack=self.pack,
            push=job.push,
            after=tuple(by_slug[slug].push for slug in job.after),
            limit_seconds=limit,
        )

    def save(self, folder: Path) -> None:
        """Write the state, whole or not at all."""
        content = json.dumps({"time": round(time.time(), 3), **dataclasses.asdict(self)}, indent=2)
        write_atomically(folder / STATE, content.encode() + b"\n")


def _with_limit(arguments: list[str], seconds: int) -> list[str]:
    """Arguments with another limit of the session in the place of theirs."""
    words = list(arguments)
    if LIMIT_OPTION in words:
        place = words.index(LIMIT_OPTION)
        del words[place : place + 2]
    return [*words, LIMIT_OPTION, str(seconds)]


def is_measured(preflight: dict[str, Any]) -> bool:
    """Whether a preflight says what a fold takes; a file that somebody has changed may say anything."""
    seconds = preflight.get("seconds_a_fold")
    return isinstance(seconds, int | float) and math.isfinite(seconds) and seconds > 0


def expect(chain: Chain, preflight: dict[str, Any], *, usable_seconds: float) -> None:
    """Note how many sessions and GPU hours a chain will take, by what a preflight has measured.

    Args:
        usable_seconds: of a session.
    """
    seconds = chain.seconds_a_fold = float(preflight["seconds_a_fold"])
    chain.expected_hours = len(chain.folds) * seconds / 3600 if chain.gpu else 0.0
    chain.expected_sessions = len(chain.folds) * math.ceil(seconds / usable_seconds) + 3  # prepare, validate, infer


def chain_folders(folder: Path) -> list[Path]:
    """This folder, where it has a chain, and those right below it that have one: several recipes run side by side."""
    return sorted(path.parent for name in (STATE, f"*/{STATE}") for path in folder.glob(name))


def read_chain(folder: Path) -> Chain | None:
    """The chain of this folder, or None.

    Raises:
        MismatchError: the file holds something else, or is a later imettk's.
    """
    try:
        content = read_json(folder / STATE)
    except MismatchError as error:
        raise MismatchError(f"{error}: {_REPLACE}") from None
    if content is None:
        return None
    content.pop("time", None)
    try:
        return _make(Chain, content | {"jobs": [_make(Job, job, folder) for job in content["jobs"]]}, folder)
    except (KeyError, TypeError, AttributeError) as error:
        raise MismatchError(f"{folder / STATE} is damaged ({type(error).__name__}: {error}): {_REPLACE}") from None


def _make(kind: type[Made], values: dict[str, Any], folder: Path) -> Made:
    """One of the file's parts as an object."""
    known = {item.name for item in dataclasses.fields(kind)}
    if later := sorted(values.keys() - known - FORMER):
        raise MismatchError(f"{folder / STATE} has {later[0]!r}, of a later imettk: go on with that one")
    return kind(**{name: value for name, value in values.items() if name in known})
