"""The unattended run: prepare, the folds side by side over as many sessions as they take, validate, infer.

Every push is written down before it happens, so the process can be killed at any moment and started again: what was
pushed is recognised by its nonce, what ended is settled by the list that its kernel wrote, and the rest goes on.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imettk.errors import MismatchError, PlatformError
from imettk.kaggle.client import Kaggle, Unclear
from imettk.kaggle.outputs import list_files, pull, read_remote_list
from imettk.kaggle.plan import DONE, FAILED, PAUSED, PUSHING, RUNNING, Chain, Job
from imettk.kaggle.sessions import ENDED, NoRoom, ask_session, end_session, find_push, push_kernel, recover_push
from imettk.progress import progress_bar, say

POLL_SECONDS = 60.0
LOST_SECONDS = 900.0  # after the end of a session, until its output must be there
UNCLEAR_SECONDS = 24 * 3600.0  # without one clear look at the platform, after which nobody goes on looking
STUCK_SECONDS = 36 * 3600.0  # after a push, by which its session must have ended: none is longer than 12 hours
SESSION_SECONDS = 12 * 3600.0
MAX_CPU = 5  # sessions at once that an account has
LOG_LINES = 20
SMALL_BYTES = 20_000_000
SMALL_SUFFIXES = (".json", ".jsonl", ".csv", ".png", ".html")

Tell = Callable[[str, Job, str], None]  # what happened ("started", "paused", "done", "failed"), to whom, in words


class Follower:
    """Brings a chain forward, one look at the platform after another.

    Args:
        folder: with the chain's state; small files of every output are kept in it as a run folder.
        tell: is called when something happened.
    """

    def __init__(self, kaggle: Kaggle, chain: Chain, folder: Path, tell: Tell | None = None) -> None:
        self.kaggle, self.chain, self.folder = kaggle, chain, folder
        self._tell = tell or (lambda event, job, text: None)
        self._no_room = False
        self._unclear = ""  # what the last look did not find out

    def follow(self) -> str:
        """Go on until the end; "done", or why the chain has stopped.

        Raises:
            PlatformError: there was no clear look for a day. Nothing is given up: started again, it goes on.
        """
        clear_at = time.monotonic()  # stands still while a laptop sleeps
        # In a log it would be a line a minute, for days.
        with progress_bar(self.chain.name, total=None, unit=" looks", hidden=not sys.stderr.isatty()) as bar:
            while not (end := self.look()):
                bar.set_postfix_str(", ".join(job.slug.removeprefix("imettk-") for job in self.chain.open_jobs))
                bar.update()
                if not self._unclear:
                    clear_at = time.monotonic()
                elif time.monotonic() - clear_at > UNCLEAR_SECONDS:
                    hours = UNCLEAR_SECONDS / 3600
                    raise PlatformError(f"{self._unclear}; so for {hours:.0f} hours: the same command goes on later")
                self.kaggle.patience.sleep(POLL_SECONDS)
        return end

    def look(self) -> str:
        """Settle what has ended, and push what can be pushed; "" while there is more to do, else the end as above.

        A chain that has to stop lets the sessions end that run, and takes note of them; no other is begun.
        """
        chain = self.chain
        self._no_room, self._unclear = False, ""
        for job in chain.open_jobs:
            if job.state == PUSHING:
                self._push(job)
            else:
                self._settle(job)
        for stage, fold, after in self._next():
            if not self._has_room(gpu=self._needs_gpu(stage)):
                continue
            job = chain.add(stage, fold, after, gpu=self._needs_gpu(stage))
            chain.save(self.folder)  # first on disk: a push that nobody remembers would be lost
            self._push(job)
        chain.save(self.folder)
        if chain.open_jobs:
            return ""
        return DONE if chain.is_done("infer") else chain.stopped

    def stop(self) -> None:
        """End what runs; what these sessions have made is lost."""
        for job in self.chain.open_jobs:
            try:
                if job.state == PUSHING and not find_push(self.kaggle, self.chain.kernel(job)):
                    self._end(job, FAILED, "never pushed")
                    continue
                end_session(self.kaggle, self.chain.reference(job))
                self._end(job, FAILED, "stopped by the user")
            except PlatformError as error:
                say(f"{job.slug}: {error}; it may still run: `--stop` again")
        self.chain.stopped = "stopped by the user"
        self.chain.save(self.folder)

    def _next(self) -> list[tuple[str, int | None, list[Job]]]:
        """Stage, fold and inputs of every session that can start now."""
        chain = self.chain
        if chain.stopped:
            return []
        if not chain.is_done("prepare"):
            return [] if self._waits("prepare", None) else [("prepare", None, [])]
        prepared = chain.last_output("prepare")
        assert prepared is not None
        waiting = [fold for fold in chain.folds if not chain.is_done("train", fold)]
        if waiting:
            last = {fold: chain.last_output("train", fold) for fold in waiting}
            return [
                ("train", fold, [prepared, *([one] if (one := last[fold]) is not None else [])])
                for fold in waiting
                if not self._waits("train", fold)
            ]
        trained = [job for fold in chain.folds if (job := chain.last_output("train", fold)) is not None]
        if not chain.is_done("validate"):
            return [] if self._waits("validate", None) else [("validate", None, [prepared, *trained])]
        validated = chain.last_output("validate")
        assert validated is not None
        if chain.is_done("infer") or self._waits("infer", None):
            return []
        return [("infer", None, [prepared, *trained, validated])]

    def _waits(self, stage: str, fold: int | None) -> bool:
        """Whether a session of it is open, or it must not be tried again."""
        jobs = self.chain.of(stage, fold)
        if jobs and jobs[-1].state in (PUSHING, RUNNING):
            return True
        if self.chain.failures(stage, fold) > self.chain.retries:
            last = jobs[-1]
            self.chain.stopped = f"{last.slug} has failed {self.chain.failures(stage, fold)} times: {last.note}"
            return True
        return bool(self.chain.stopped)

    def _needs_gpu(self, stage: str) -> bool:
        return self.chain.gpu and stage != "prepare"

    def _has_room(self, *, gpu: bool) -> bool:
        running = sum(job.gpu == gpu for job in self.chain.open_jobs)
        return not self._no_room and running < (self.chain.at_once if gpu else MAX_CPU)

    def _push(self, job: Job) -> None:
        """Push a session that is written down, if the platform does not have it already."""
        kernel = self.chain.kernel(job)
        try:
            version = recover_push(self.kaggle, kernel)
            if not version and self.chain.stopped:
                self._end(job, FAILED, "never pushed")
                return
            job.version = version or push_kernel(self.kaggle, kernel)
        except NoRoom as error:
            self._no_room = True  # it stays written down, and is pushed at a later look
            if job.note != str(error):
                job.note = str(error)
                say(f"{error}; {job.slug} waits")
            return
        except Unclear as error:
            self._look_later(error)
            return
        except PlatformError as error:
            self._end(job, FAILED, str(error))
            return
        job.state, job.note, job.pushed_at = RUNNING, "", time.time()
        self.chain.save(self.folder)
        say(f"{job.slug}: pushed, version {job.version}")
        self._tell("started", job, "")

    def _settle(self, job: Job) -> None:
        """Look how a session is, and take note of its end."""
        reference = self.chain.reference(job)
        try:
            session = ask_session(self.kaggle, reference, job.version)
            if session.status not in ENDED:
                self._end_if_stuck(job, session.status)
                return
        except Unclear as error:
            self._look_later(error)
            return
        except PlatformError as error:
            self._end(job, FAILED, str(error))
            return
        try:
            listed = read_remote_list(self.kaggle, reference, job.version)
            if listed is None or listed.get("push") != job.push:
                self._without_output(job, session.status, session.failure, listed)
                return
            # Known before anything is downloaded: whatever becomes of that, the next session can take it up.
            job.seconds, job.has_output = float(listed.get("seconds", 0.0)), _can_be_taken_up(job, listed)
            pull(self.kaggle, reference, job.version, self.folder, push=job.push, wanted=_is_small)
        except Unclear as error:
            self._look_later(error)
            return
        except (PlatformError, MismatchError) as error:
            if self._is_lost(job):
                self._end(job, FAILED, str(error))
            else:
                say(f"{error}; looking again later")
            return
        if job.stage == "train":
            self._settle_training(job, listed)
        elif (code := listed.get("code")) != 0:
            self._end(job, FAILED, f"{job.stage} ended with code {code}", self._log(job))
        else:
            self._end(job, DONE, "")

    def _end_if_stuck(self, job: Job, status: str) -> None:
        """A session that has not ended long after it must have is ended."""
        if time.time() - job.pushed_at < STUCK_SECONDS:
            return
        try:
            end_session(self.kaggle, self.chain.reference(job))
        except PlatformError as error:
            say(f"{job.slug}: {error}")
        self._end(job, FAILED, f"still {status} after {STUCK_SECONDS / 3600:.0f} hours")

    def _look_later(self, error: Unclear) -> None:
        self._unclear = str(error)
        say(f"{error}; looking again later")

    def _is_lost(self, job: Job) -> bool:
        """Whether what must be there has been missing for too long, in this process and those before it."""
        job.waits_since = job.waits_since or time.time()
        return time.time() - job.waits_since > LOST_SECONDS

    def _settle_training(self, job: Job, listed: dict[str, Any]) -> None:
        """Done or paused, as the fold's status says."""
        name = f"fold{job.fold}/status.json"
        status = json.loads((self.folder / name).read_text()) if name in listed["files"] else {}
        place = f"step {status.get('step', '?')} of {status.get('num_steps', '?')}"
        if status.get("state") == "done":
            self._end(job, DONE, place)
        elif (code := listed.get("code")) != 0:
            self._end(job, FAILED, f"train ended with code {code}", self._log(job))
        elif status.get("state") == "paused":
            before = self.chain.of("train", job.fold)[:-1]
            if sum(one.note == place and one.state == PAUSED for one in before[-2:]) == 2:
                self._end(job, FAILED, f"three sessions have not gone beyond {place}: is the limit too short?")
                return
            self._end(job, PAUSED, place)
        else:
            self._end(job, FAILED, f"its output does not say whether the fold is done ({name})", self._log(job))

    def _without_output(self, job: Job, status: str, failure: str, listed: dict[str, Any] | None) -> None:
        """A session that ended without the list of its own output; a complete one may need some time to show it."""
        if status == "COMPLETE" and not self._is_lost(job):
            return
        what = "its output is that of another push" if listed else "it left no output"
        self._end(job, FAILED, f"{status}: {what}{f' ({failure})' if failure else ''}", self._log(job))

    def _log(self, job: Job) -> str:
        """The end of its log."""
        try:
            _, log = list_files(self.kaggle, self.chain.reference(job), job.version)
        except PlatformError as error:
            return f"(no log: {error})"
        return "\n".join(log.rstrip().splitlines()[-LOG_LINES:])

    def _end(self, job: Job, state: str, note: str, log: str = "") -> None:
        job.state, job.note, job.ended_at = state, note, time.time()
        if job.pushed_at and not job.seconds:  # it has used hours all the same
            job.seconds = min(job.ended_at - job.pushed_at, float(self.chain.limit_seconds or SESSION_SECONDS))
        self.chain.save(self.folder)
        say(f"{job.slug}: {state}{f', {note}' if note else ''}" + "".join(f"\n  | {one}" for one in log.splitlines()))
        self._tell(state, job, log or note)


def _can_be_taken_up(job: Job, listed: dict[str, Any]) -> bool:
    """Whether the next session has what it needs in this output; a training that failed early may have left nothing."""
    if job.stage != "train":
        return listed.get("code") == 0
    parts = (f"fold{job.fold}/checkpoints/", f"fold{job.fold}/model.safetensors")
    return any(name.startswith(parts) for name in listed["files"])


def _is_small(name: str, size: int) -> bool:
    """What a run folder on the laptop needs for the log and the report: no weights, no images."""
    return name.endswith(SMALL_SUFFIXES) and size <= SMALL_BYTES and not name.startswith("cache/")
