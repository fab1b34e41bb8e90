"""The state of a chain as one small file: its settings, and every session that was ever started."""

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
LEAST_SECONDS = 1800.0  # of the week's GPU time: with less left, a session is not worth starting
_REPLACE = "put a copy in its place, or begin another chain with --name NAME --run-dir DIR"
LIMIT_OPTION = "--session.limit-seconds"
# A job is PUSHING from the moment it is written down, so that a process that is killed in the middle of a push finds it
# again; RUNNING once the platform has answered with a version; and then in one of the states that are over.
PUSHING, RUNNING, DONE, PAUSED, FAILED = "pushing", "running", "done", "paused", "failed"
# FAILED counts towards `Chain.retries`; these two do not: a failure that the user has answered by starting the chain
# again, and a session that ran into nothing because the platform did not attach an output to it.
RETRIED = "failed, tried again"
SKIPPED = "without its input"
OPEN = (PUSHING, RUNNING)
FORMER = {"waits_since"}  # a field of earlier versions that is no longer needed
# In the file a job's command is called "stage", its name in earlier versions: a running chain must survive upgrades.
COMMAND_KEY = "stage"
Made = TypeVar("Made", "Chain", "Job")
# The commands in order, and whose outputs each takes as inputs; a training also takes its own last output.
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
        command: the imettk command that it runs.
        fold: the fold of a training; None for other commands.
        slug: the slug of its kernel. Each session has a kernel of its own: outputs are attached by a kernel's name, and
            another version of it would put its own output in the place of one that others rely on.
        push: a random word in the kernel's text, written down before the push, by which kernel and output are known.
        after: the slugs of the sessions whose outputs it takes as inputs.
        version: the kernel's version; 0 until the push is answered.
        has_output: whether it left something that a later session can use; checkpoints of a failed or killed training
            count too.
        note: why it failed or waits, or how far it came.
        seconds: how long its script ran; if it left no list, at most how long it was open.
        pushed_at, running_at, ended_at: when it was pushed, first seen running, and settled, in seconds since the epoch
            by the platform's clock; 0 if that has not happened.
        reference: the owner/slug that the platform answered; "" if it is the one that was asked for.
        sent: whether it was pushed or may have been: an answer that was never read may have been a yes. True for jobs
            that an earlier imettk wrote.
        seen, seen_at: the last status that was read, and when.
        looks, lasted: how many looks in a row found that status, and over how many seconds, counted from look to look.
        lacked: how many later sessions did not get its output.
        short_seconds: the limit of this session if the week's hours end before the chain's limit; 0 otherwise.
        step, num_steps: how far its fold was at its end; 0 if not known.
    """

    command: str
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
        """Its place in the chain and its number, such as `f0-s2`."""
        return "-".join(self.slug.rsplit("-", 2)[1:])


@dataclass
class Chain:
    """A recipe's way through the platform, from `prepare` to a submission.

    Attributes:
        recipe: a built-in name, or the name of a `.py` file in the pack.
        arguments: options for every command.
        competition: the slug of the data's folder.
        datasets, competitions, models: what every kernel has attached; the pack with its version is the first dataset.
        pack: the pack's hash.
        machine: the accelerator of its GPU sessions.
        described: the recipe with all overrides, as plain values; empty if an earlier imettk began the chain.
        seconds_a_fold: how long a fold trains, as measured by a preflight; 0 if there was none.
        retries: how often in a row a session may fail before the chain stops.
        at_once: how many GPU sessions may run side by side.
        expected_sessions, expected_hours: all sessions, and their GPU hours, as measured by a preflight; 0 if there was
            none.
        stopped: why the chain stopped early; "" if it did not.
        notebook: whether its kernels are notebooks instead of scripts.
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
    notebook: bool = False

    def of(self, command: str, fold: int | None = None) -> list[Job]:
        """Return the sessions of a command (and fold), in order."""
        return [job for job in self.jobs if (job.command, job.fold) == (command, fold)]

    def last_output(self, command: str, fold: int | None = None) -> Job | None:
        """Return the last session whose output can be used."""
        return next((job for job in reversed(self.of(command, fold)) if job.has_output), None)

    def is_done(self, command: str, fold: int | None = None) -> bool:
        """Return whether a command (and fold) is finished and has left its output.

        Validation and inference must have been made from the outputs that count now. A finished training stays finished
        whatever it began from: its weights do not change when `prepare` runs again.
        """
        jobs = self.of(command, fold)
        if not jobs or jobs[-1].state != DONE or not jobs[-1].has_output:
            return False
        return command in ("prepare", "train") or set(jobs[-1].after) == {job.slug for job in self._inputs(command)}

    def failed(self, command: str, fold: int | None = None) -> list[Job]:
        """Return the sessions that failed since the last progress, latest first."""
        failed: list[Job] = []
        farthest = 0
        for job in self.of(command, fold):
            # A pause counts as progress only if it got further: a fold that pauses at the same step for ever, with
            # failures in between, would otherwise never reach `retries`.
            if job.state in (DONE, RETRIED) or (job.state == PAUSED and job.step > farthest):
                failed.clear()
            elif job.state == FAILED:
                failed.insert(0, job)
            farthest = max(farthest, job.step if job.has_output else 0)
        return failed

    def _inputs(self, command: str) -> list[Job]:
        """Return the outputs of other commands that a session of this one would take as inputs now."""
        return [job for place in self.places if place[0] in _INPUTS[command] and (job := self.last_output(*place))]

    @property
    def places(self) -> list[tuple[str, int | None]]:
        """Every command with its fold, in order."""
        return [("prepare", None), *(("train", fold) for fold in self.folds), ("validate", None), ("infer", None)]

    def next_sessions(self) -> list[tuple[str, int | None, list[Job]]]:
        """Return command, fold and inputs of every session that can start now."""
        command, folds = self._next_command()
        if self.stopped or command is None:
            return []
        inputs = self._inputs(command)
        sessions = []
        for fold in folds:
            if any(job.state in OPEN for job in self.of(command, fold)):
                continue
            last = self.last_output(command, fold) if command == "train" else None  # with its checkpoints
            sessions.append((command, fold, inputs if last is None else [*inputs, last]))
        return sessions

    def _next_command(self) -> tuple[str | None, list[int | None]]:
        """Return the first command that is not done, and its folds that are not."""
        for command in _INPUTS:
            folds = [fold for name, fold in self.places if name == command and not self.is_done(name, fold)]
            if folds:
                return command, folds
        return None, []

    def try_again(self) -> None:
        """Forget why the chain stopped and how often sessions failed: the user has looked into it."""
        self.stopped = ""
        for job in self.jobs:
            job.state = RETRIED if job.state == FAILED else job.state

    @property
    def open_jobs(self) -> list[Job]:
        """The sessions that are being pushed or running."""
        return [job for job in self.jobs if job.state in OPEN]

    @property
    def least_seconds(self) -> float:
        """Seconds that must be left of the week's hours for a session to be worth starting.

        The time that is kept free for saving comes off them; a session with a shorter limit needs no more than that.
        """
        least = max(LEAST_SECONDS, 2 * float(self.described.get("session", {}).get("margin_seconds", 0.0)))
        return min(least, float(self.limit_seconds or least))

    @property
    def gpu_hours(self) -> float:
        """GPU hours that the finished sessions have used."""
        return sum(job.seconds for job in self.jobs if job.gpu) / 3600

    def reference(self, job: Job) -> str:
        """Return the owner/slug of a session's kernel."""
        return job.reference or f"{self.owner}/{job.slug}"

    def add(self, command: str, fold: int | None, after: list[Job], *, gpu: bool) -> Job:
        """Record a session that is going to be pushed."""
        number = len(self.of(command, fold)) + 1
        tail = f"-{command if fold is None else f'f{fold}'}-s{number}"
        slug = fit(f"imettk-{self.name}", tail)
        job = Job(command, fold, slug, secrets.token_hex(8), [job.slug for job in after], gpu, sent=False)
        self.jobs.append(job)
        return job

    def kernel(self, job: Job) -> Kernel:
        """Return the kernel to push for a session."""
        by_slug = {other.slug: other for other in self.jobs}
        fold = () if job.fold is None else ("--fold", str(job.fold))
        limit = job.short_seconds or self.limit_seconds
        arguments = _with_limit(self.arguments, job.short_seconds) if job.short_seconds else self.arguments
        return Kernel(
            reference=f"{self.owner}/{job.slug}",
            command=job.command,
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
            notebook=self.notebook,
        )

    def save(self, folder: Path) -> None:
        """Write the state to `chain.json`, whole or not at all."""
        content = {"time": round(time.time(), 3), **dataclasses.asdict(self)}
        content["jobs"] = [{COMMAND_KEY: job.pop("command"), **job} for job in content["jobs"]]
        write_atomically(folder / STATE, json.dumps(content, indent=2).encode() + b"\n")


def _with_limit(arguments: list[str], seconds: int) -> list[str]:
    """Return the arguments with this session limit in place of theirs."""
    words = list(arguments)
    if LIMIT_OPTION in words:
        place = words.index(LIMIT_OPTION)
        del words[place : place + 2]
    return [*words, LIMIT_OPTION, str(seconds)]


def is_measured(preflight: dict[str, Any]) -> bool:
    """Return whether a preflight contains a usable duration of a fold; a file that was edited may contain anything."""
    seconds = preflight.get("seconds_a_fold")
    return isinstance(seconds, int | float) and math.isfinite(seconds) and seconds > 0


def expect(chain: Chain, preflight: dict[str, Any], *, usable_seconds: float) -> None:
    """Record how many sessions and GPU hours a chain will take, according to a preflight.

    Args:
        usable_seconds: how long a session can train.
    """
    seconds = chain.seconds_a_fold = float(preflight["seconds_a_fold"])
    chain.expected_hours = len(chain.folds) * seconds / 3600 if chain.gpu else 0.0
    chain.expected_sessions = len(chain.folds) * math.ceil(seconds / usable_seconds) + 3  # prepare, validate, infer


def chain_folders(folder: Path) -> list[Path]:
    """Return the folders with a chain: this one and those right below it, where several recipes run side by side."""
    return sorted(path.parent for name in (STATE, f"*/{STATE}") for path in folder.glob(name))


def read_chain(folder: Path) -> Chain | None:
    """Return the chain of a folder, or None if it has none.

    Raises:
        MismatchError: the file is damaged, or was written by a later imettk.
    """
    try:
        content = read_json(folder / STATE)
    except MismatchError as error:
        raise MismatchError(f"{error}: {_REPLACE}") from None
    if content is None:
        return None
    content.pop("time", None)
    try:
        jobs = [_make(Job, {"command": job.pop(COMMAND_KEY), **job}, folder) for job in content["jobs"]]
        return _make(Chain, content | {"jobs": jobs}, folder)
    except (KeyError, TypeError, AttributeError) as error:
        raise MismatchError(f"{folder / STATE} is damaged ({type(error).__name__}: {error}): {_REPLACE}") from None


def _make(kind: type[Made], values: dict[str, Any], folder: Path) -> Made:
    """Build a `Chain` or a `Job` from its part of the file."""
    known = {item.name for item in dataclasses.fields(kind)}
    if later := sorted(values.keys() - known - FORMER):
        raise MismatchError(f"{folder / STATE} has {later[0]!r}, a field of a later imettk: continue with that version")
    return kind(**{name: value for name, value in values.items() if name in known})
