"""The unattended run: prepare, the folds side by side over as many sessions as they take, validate, infer.

Every push is written down before it happens, so the process can be killed at any moment and started again: what was
pushed is recognised by its nonce, what ended is settled by the list that its kernel wrote, and the rest goes on. An
answer that is not clear never ends a session and never begins a second one beside it: the platform is asked again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from imettk.errors import MismatchError, PlatformError, describe_fault
from imettk.kaggle.client import Kaggle, NotThere, Refused, Unclear
from imettk.kaggle.outcome import Outcome, can_be_taken_up, is_small, judge, last_words, skip
from imettk.kaggle.outputs import list_files, pull, read_remote_list
from imettk.kaggle.plan import DONE, FAILED, PUSHING, RUNNING, Chain, Job
from imettk.kaggle.room import Room
from imettk.kaggle.sessions import (
    COMPLETE,
    ENDED,
    LacksSources,
    NoRoom,
    Session,
    ask_session,
    end_session,
    push_kernel,
    recover_push,
)
from imettk.kaggle.watch import session_line, span
from imettk.progress import say
from imettk.tracking.files import read_json

LOST_SECONDS = 900.0  # after the end of a session, until its output must be there
STUCK_SECONDS = 36 * 3600.0  # that no session runs: none is longer than 12 hours
LOOKS = 3  # in a row, before what is missing counts as missing, or a push as refused
SESSION_SECONDS = 12 * 3600.0
LOG_LINES = 20

Tell = Callable[[str, Job, str], None]  # what happened ("started", "paused", "done", "failed"), to whom, in words


class Follower:
    """Brings a chain forward, one look at the platform after another.

    Args:
        folder: with the chain's state; small files of every output are kept in it as a run folder.
        tell: is called when something happened.
        room: shared with other chains; None is the chain's own.

    Attributes:
        unclear: what the last look did not find out; "" where everything was clear.
    """

    def __init__(
        self, kaggle: Kaggle, chain: Chain, folder: Path, tell: Tell | None = None, room: Room | None = None
    ) -> None:
        self.kaggle, self.chain, self.folder = kaggle, chain, folder
        self.room = room or Room(kaggle, [chain], chain.at_once)
        self.unclear = self._said = ""
        self._tell = tell or (lambda event, job, text: None)

    def now(self) -> float:
        """The platform's clock, which no change of this machine's clock moves; ours until it has answered."""
        return self.kaggle.now() or time.time()

    def look(self) -> str:
        """Settle what has ended, and push what can be pushed; "" while there is more to do, else how it ended.

        A chain that has to stop lets the sessions end that run, and takes note of them; no other is begun. A fault of
        this machine (a full disk) is like an answer that is not clear: what it kept from happening is done later.
        """
        self.unclear = ""
        if self.room.chains[0] is self.chain:
            self.room.begin_round()
        try:
            self._look()
        except OSError as error:
            fault = describe_fault(error)
            self._look_later(fault[0] if fault else str(error))
            return ""
        if self.chain.open_jobs:
            return ""
        return DONE if self.chain.is_done("infer") else self.chain.stopped

    def _look(self) -> None:
        chain = self.chain
        for job in chain.open_jobs:
            if job.state == PUSHING:
                self._push(job)
            else:
                self._settle(job)
        self._check_failures()
        for stage, fold, after in chain.next_sessions():
            gpu = chain.gpu and stage != "prepare"
            if self.room.has(gpu=gpu, least_seconds=chain.least_seconds):
                job = chain.add(stage, fold, after, gpu=gpu)
                self._shorten(job)
                self._push(job, new=True)
        chain.save(self.folder)

    def stop(self) -> None:
        """End what is queued or runs. What has ended is settled first, so that its output stays."""
        self.chain.stopped = "stopped by the user"
        for job in self.chain.open_jobs:
            try:
                if job.state == PUSHING:
                    self._push(job)  # which only looks whether it has arrived, now that the chain has stopped
                if job.state == RUNNING:
                    self._stop_session(job)
            except PlatformError as error:
                say(f"{job.slug}: {error}; it may still run: `--stop` again")
        self.chain.save(self.folder)

    def _stop_session(self, job: Job) -> None:
        session = self._settle(job)
        if job.state != RUNNING or session is None:
            return
        if session.ended:
            say(f"{job.slug}: {session.status}; it is kept, its output is waited for")
            return
        reference = self.chain.reference(job)
        say(f"{session_line(self.chain, job, self.now())}: deleting {reference} and what this session has made")
        end_session(self.kaggle, reference)
        self._end(job, FAILED, "stopped by the user")

    def _check_failures(self) -> None:
        """Stop the chain where a session has failed too often."""
        for place in self.chain.places:
            failures = self.chain.failures(*place)
            if failures > self.chain.retries and not self.chain.stopped:
                last = self.chain.of(*place)[-1]
                self.chain.stopped = f"{last.slug} has failed {failures} times: {last.note}"

    def _shorten(self, job: Job) -> None:
        """Let a session end by itself before the week's GPU hours do."""
        left = self.room.seconds() if job.gpu and job.stage == "train" else None  # the others cannot stop half-way
        if left is not None and left < float(self.chain.limit_seconds or SESSION_SECONDS):
            job.short_seconds = int(left)

    def _push(self, job: Job, *, new: bool = False) -> None:
        """Push a session, if the platform does not have it already.

        Args:
            new: whether it cannot have been pushed before.
        """
        kernel = self.chain.kernel(job)
        try:
            self.chain.save(self.folder)  # first on disk: a push that nobody remembers would be lost
            pushed = None if new else recover_push(self.kaggle, kernel)
            if pushed is None and self.chain.stopped:
                self._end(job, FAILED, "never pushed")
                return
            pushed = pushed or push_kernel(self.kaggle, kernel)
        except NoRoom as error:  # it stays written down, and is pushed at a later look
            job.note = str(error)
            self.room.refuse(error, gpu=job.gpu)
        except LacksSources as error:
            self._end_without_sources(job, error)
        except (NotThere, Refused) as error:
            job.looks += 1
            if job.looks < LOOKS:
                self._look_later(str(error))
            else:
                self._end(job, FAILED, str(error))
        except Unclear as error:
            self._look_later(str(error))
        except PlatformError as error:
            self._end(job, FAILED, str(error))
        else:
            job.state, job.note, job.looks, job.pushed_at = RUNNING, "", 0, self.now()
            job.version, job.reference = pushed.version, pushed.reference
            self.room.note_push()
            self.chain.save(self.folder)
            say(f"{job.slug}: pushed, version {job.version}")
            self._tell("started", job, "")

    def _settle(self, job: Job) -> Session | None:
        """Look how a session is, and take note of its end; None where the platform did not say."""
        try:
            session = ask_session(self.kaggle, self.chain.reference(job), job.version)
        except PlatformError as error:  # whatever it says, the session may run
            job.note = str(error)
            self._look_later(str(error))
            return None
        job.seen, job.seen_at, job.note = session.status, self.now(), ""
        if session.status not in ENDED:
            self._check_stuck(job)
            return session
        try:
            self._take_output(job, session)
        except Unclear as error:
            self._look_later(str(error))
        except (PlatformError, MismatchError) as error:
            if self._is_lost(job):
                self._end(job, FAILED, str(error))
            else:
                self._look_later(str(error))
        return session

    def _check_stuck(self, job: Job) -> None:
        """Give up a session that runs longer than any can, by the platform's own clock; it is left where it is."""
        now = self.kaggle.now()
        if job.seen == "RUNNING" and not job.running_at:
            job.running_at = self.now()
        if now is None or not job.running_at or now - job.running_at < STUCK_SECONDS:
            job.looks = 0
            return
        job.looks += 1
        if job.looks >= LOOKS:
            note = f"still {job.seen} after {STUCK_SECONDS / 3600:.0f} hours; it has not been deleted"
            self._end(job, FAILED, f"{note}: look at kaggle.com/code/{self.chain.reference(job)}")

    def _take_output(self, job: Job, session: Session) -> None:
        """Settle a session that has ended by what it has left."""
        reference = self.chain.reference(job)
        listed = read_remote_list(self.kaggle, reference, job.version, push=job.push)
        # The list that a kernel writes at its start names no code. It is the last one of a session that was killed, and
        # one that comes late of a session that was not.
        late = listed is None or (listed["code"] is None and session.status == COMPLETE)
        if late and not self._is_lost(job):
            if job.looks == 1:
                say(f"{job.slug}: {session.status}; its output is not there yet, waiting up to {span(LOST_SECONDS)}")
            return
        if listed is None:
            failure = f" ({session.failure})" if session.failure else ""
            self._end(job, FAILED, f"{session.status}: it left no output{failure}", self._log(job))
            return
        if listed["code"] is None:
            job.has_output = can_be_taken_up(job, None, listed["files"])
            taken = "its checkpoints are taken up" if job.has_output else "it left nothing to take up"
            self._end(job, FAILED, f"{session.status} in the middle of {job.stage}: {taken}", self._log(job))
            return
        # Known before anything is downloaded: whatever becomes of that, the next session can take it up.
        job.seconds = float(listed.get("seconds", 0.0))
        job.has_output = can_be_taken_up(job, listed["code"], listed["files"])
        pull(self.kaggle, reference, job.version, self.folder, push=job.push, wanted=is_small)
        status = self.folder / f"fold{job.fold}" / "status.json"
        has_status = status.relative_to(self.folder).as_posix() in listed["files"]
        self._settle_as(job, judge(self.chain, job, listed, (read_json(status) or {}) if has_status else {}))

    def _settle_as(self, job: Job, outcome: Outcome) -> None:
        """Take note of an outcome; the chain stops where no other try would go better."""
        log = self._log(job) if outcome.has_failed else ""
        self._end(job, outcome.state, outcome.note, log)
        if not outcome.heals and not self.chain.stopped:
            why = last_words(log) or outcome.note
            self.chain.stopped = f"{job.slug}: {why} (correct it, and run the same command)"

    def _look_later(self, error: str) -> None:
        self.unclear = error
        if error != self._said:  # an outage of hours is one line
            self._said = error
            say(f"{error}; looking again later")

    def _is_lost(self, job: Job) -> bool:
        """Whether what must be there has been missing for too long, in this process and those before it."""
        job.looks += 1
        job.waits_since = job.waits_since or self.now()
        return job.looks >= LOOKS and self.now() - job.waits_since > LOST_SECONDS

    def _end_without_sources(self, job: Job, error: LacksSources) -> None:
        """Fall back to earlier outputs where the platform does not attach one; anything else has to be corrected."""
        lacking = [other for other in self.chain.jobs if self.chain.reference(other) in error.sources]
        if len(lacking) == len(error.sources):
            self._settle_as(job, skip(job, lacking))
            return
        self._end(job, FAILED, str(error))
        self.chain.stopped = self.chain.stopped or f"{job.slug}: {error}"

    def _log(self, job: Job) -> str:
        """The end of its log."""
        try:
            _, log = list_files(self.kaggle, self.chain.reference(job), job.version)
        except PlatformError as error:
            return f"(no log: {error})"
        return "\n".join(log.rstrip().splitlines()[-LOG_LINES:])

    def _end(self, job: Job, state: str, note: str, log: str = "") -> None:
        job.state, job.note, job.ended_at, job.looks = state, note, self.now(), 0
        started = job.running_at or job.pushed_at
        if started and not job.seconds:  # it has used hours all the same
            job.seconds = min(max(0.0, job.ended_at - started), float(self.chain.limit_seconds or SESSION_SECONDS))
        self.chain.save(self.folder)
        say(f"{job.slug}: {state}{f', {note}' if note else ''}" + "".join(f"\n  | {line}" for line in log.splitlines()))
        self._tell(state, job, log or note)
