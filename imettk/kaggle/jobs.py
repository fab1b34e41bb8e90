"""The sessions of a chain, one by one: each is pushed once, looked for, and settled by what it has left.

An answer that is not clear never ends a session and never begins a second one beside it: the platform is asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from imettk.errors import MismatchError, PlatformError
from imettk.kaggle.chain_state import FAILED, PUSHING, RUNNING, Chain, Job
from imettk.kaggle.client import Kaggle, NotThere, Unclear
from imettk.kaggle.kernel import MOST_SECONDS
from imettk.kaggle.outcome import Outcome, can_be_taken_up, is_small, judge, last_words, skip
from imettk.kaggle.outputs import log_end, pull, read_remote_list
from imettk.kaggle.room import Room
from imettk.kaggle.sessions import COMPLETE, LacksSources, NoRoom, Pushed, Session, ask_session, push_once, recover_push
from imettk.kaggle.watch import span
from imettk.progress import say
from imettk.tracking.files import read_json

LOST_SECONDS = 900.0  # until the output of a session that has ended, or a push that was not answered, must be there
STUCK_SECONDS = 36 * 3600.0  # that no session runs: none is longer than 12 hours
LOOKS = 3  # in a row, before what is missing counts as missing, or a push as refused
LOG_LINES = 20

Tell = Callable[[str, Job, str], None]  # what happened ("started", "paused", "done", "failed"), to whom, in words


class Jobs:
    """Brings the sessions of a chain forward, each for itself.

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
        self.unclear, self._said = "", set[str]()
        self._tell = tell or (lambda event, job, text: None)

    def now(self) -> float:
        """The platform's clock; see `Kaggle.time`."""
        return self.kaggle.time()

    def push(self, job: Job) -> None:
        """Push a session. One that may be on its way already is only looked for, until it surely does not arrive."""
        if job.sent:
            self.recover(job)
        if job.sent or job.state != PUSHING:
            return
        if self.chain.stopped:
            self.end(job, FAILED, "never pushed")
            return
        self._shorten(job)
        job.sent = True
        self.chain.save(self.folder)  # first on disk: a push that nobody remembers would be lost
        try:
            self._note_pushed(job, push_once(self.kaggle, self.chain.kernel(job)))
        except LacksSources as error:
            self._end_without_sources(job, error)
        except Unclear as error:
            self.look_later(str(error))
        except PlatformError as error:
            job.sent = False
            self._note_refused(job, error)

    def _note_refused(self, job: Job, error: PlatformError) -> None:
        """Take note that a push was not taken; where there is no room it stays written down, for a later look."""
        if isinstance(error, NoRoom):
            job.note = str(error)
            self.room.refuse(error, gpu=job.gpu)
            return
        job.looks += 1
        if job.looks < LOOKS:  # it may be one in passing
            self.look_later(str(error))
        else:
            self.end(job, FAILED, str(error))

    def _shorten(self, job: Job) -> None:
        """Let a session end by itself before the week's GPU hours do."""
        left = self.room.seconds() if job.gpu and job.stage == "train" else None  # the others cannot stop half-way
        is_short = left is not None and self.chain.least_seconds <= left < self._limit
        job.short_seconds = int(left) if left is not None and is_short else 0

    def recover(self, job: Job) -> None:
        """Look for a push whose answer was not read, or that is late; one that never arrives is not `sent` any more."""
        try:
            pushed = recover_push(self.kaggle, self.chain.kernel(job))
        except LacksSources as error:
            self._end_without_sources(job, error)
            return
        except PlatformError as error:
            self.look_later(str(error))
            return
        if pushed is not None:
            self._note_pushed(job, pushed)
        elif self._lasts(job, "", LOST_SECONDS):
            job.sent, job.looks, job.lasted = False, 0, 0.0
        else:
            self.look_later(f"push of {self.chain.reference(job)}: not there; it may still arrive")

    def _note_pushed(self, job: Job, pushed: Pushed) -> None:
        job.state, job.note, job.looks, job.pushed_at = RUNNING, "", 0, self.now()
        job.version, job.reference = pushed.version, pushed.reference
        self.room.note_push()
        self.chain.save(self.folder)
        say(f"{job.slug}: pushed, version {job.version}")
        self._tell("started", job, "")

    def settle_job(self, job: Job) -> Session | None:
        """Look how a session is, and take note of its end; None where the platform did not say."""
        try:
            session = ask_session(self.kaggle, self.chain.reference(job), job.version)
        except PlatformError as error:  # whatever it says, the session may run
            hint = "; if you have deleted it, `--stop` gives it up" if isinstance(error, NotThere) else ""
            job.note = f"{error}{hint}"
            self.look_later(job.note)
            return None
        job.note = ""
        lasts = self._lasts(job, session.status, LOST_SECONDS if session.ended else STUCK_SECONDS)
        if not session.ended:
            if session.status == "RUNNING":
                job.running_at = job.running_at or job.seen_at
            if lasts and session.status != "QUEUED":
                note = f"still {job.seen} after {STUCK_SECONDS / 3600:.0f} hours; it has not been deleted"
                self.end(job, FAILED, f"{note}: look at kaggle.com/code/{self.chain.reference(job)}")
            return session
        try:
            self._take_output(job, session, lost=lasts)
        except Unclear as error:
            self.look_later(str(error))
        except (PlatformError, MismatchError) as error:
            if lasts:
                self.end(job, FAILED, str(error))
            else:
                self.look_later(str(error))
        return session

    def _lasts(self, job: Job, seen: str, limit: float) -> bool:
        """Note how a job is seen now; whether it has been so for longer than this, and in several looks.

        It is counted from look to look, and an eighth of the limit at most for each: the platform's clock may jump, and
        so may ours, which counts where it has none.
        """
        now = self.now()
        if seen != job.seen:
            job.seen, job.looks, job.lasted = seen, 0, 0.0
        elif job.looks:
            job.lasted += max(0.0, min(now - job.seen_at, limit / 8))
        job.seen_at, job.looks = now, job.looks + 1
        return job.looks >= LOOKS and job.lasted > limit

    def _take_output(self, job: Job, session: Session, *, lost: bool) -> None:
        """Settle a session that has ended by what it has left.

        Args:
            lost: what is not there by now is not waited for any longer.
        """
        reference = self.chain.reference(job)
        listed = read_remote_list(self.kaggle, reference, job.version, push=job.push)
        # The list that a kernel writes at its start names no code. It is the last one of a session that was killed, and
        # may be late where it leads to nothing.
        late = listed is None or (
            listed["code"] is None and (session.status == COMPLETE or not can_be_taken_up(job, None, listed["files"]))
        )
        if late and not lost:
            if job.looks == 1:
                say(f"{job.slug}: {session.status}; its output is not there yet, waiting up to {span(LOST_SECONDS)}")
            return
        if listed is None:
            failure = f" ({session.failure})" if session.failure else ""
            self.end(job, FAILED, f"{session.status}: it left no output{failure}", self._log(job))
            return
        if listed["code"] is None:
            job.has_output = can_be_taken_up(job, None, listed["files"])
            taken = "its checkpoints are taken up" if job.has_output else "it left nothing to take up"
            self.end(job, FAILED, f"{session.status} in the middle of {job.stage}: {taken}", self._log(job))
            return
        # Known before anything is downloaded: whatever becomes of that, the next session can take it up.
        job.seconds = float(listed["seconds"])
        job.has_output = can_be_taken_up(job, listed["code"], listed["files"])
        pull(self.kaggle, reference, job.version, self.folder, push=job.push, wanted=is_small)
        status = self.folder / f"fold{job.fold}" / "status.json"
        has_status = status.relative_to(self.folder).as_posix() in listed["files"]
        self._settle_as(job, judge(self.chain, job, listed, (read_json(status) or {}) if has_status else {}))

    def _settle_as(self, job: Job, outcome: Outcome) -> None:
        """Take note of an outcome; the chain stops where no other try would go better."""
        log = self._log(job) if outcome.has_failed else ""
        if not outcome.heals and not self.chain.stopped:
            why = (outcome.in_log and last_words(log)) or outcome.note
            self.chain.stopped = f"{job.slug}: {why} (correct it, and run the same command)"
        self.end(job, outcome.state, outcome.note, log)

    def must_wait(self, inputs: Sequence[Job]) -> bool:
        """Whether one of these outputs was not attached, and may be soon: its session has only just ended."""
        late = [job for job in inputs if job.lacked and abs(self.now() - job.ended_at) < LOST_SECONDS]
        for job in late:
            self.look_later(f"{job.slug}: its output is not attached yet")
        return bool(late)

    def look_later(self, error: str) -> None:
        self.unclear = error
        if error not in self._said:  # an outage of hours is one line for each session
            self._said.add(error)
            say(f"{error}; looking again later")

    def _end_without_sources(self, job: Job, error: LacksSources) -> None:
        """Fall back to earlier outputs where the platform does not attach one; anything else has to be corrected.

        A session that still runs ends by itself, and its list says what it lacks: none is begun beside it.
        """
        lacking = [other for other in self.chain.jobs if self.chain.reference(other) in error.sources]
        outputs_alone = len(lacking) == len(error.sources)
        if not outputs_alone:
            self.chain.stopped = self.chain.stopped or f"{job.slug}: {error}"
        if error.running is not None:
            say(str(error))
            self._note_pushed(job, error.running)
        elif outputs_alone:
            self._settle_as(job, skip(job, lacking))
        else:
            self.end(job, FAILED, str(error))

    def _log(self, job: Job) -> str:
        """The end of its log."""
        return "\n".join(log_end(self.kaggle, self.chain.reference(job), job.version, LOG_LINES))

    def end(self, job: Job, state: str, note: str, log: str = "") -> None:
        job.state, job.note, job.ended_at, job.looks = state, note, self.now(), 0
        started = job.running_at or job.pushed_at
        if started and not job.seconds:  # it has used hours all the same
            job.seconds = min(max(0.0, job.ended_at - started), self._limit)
        say(f"{job.slug}: {state}{f', {note}' if note else ''}" + "".join(f"\n  | {line}" for line in log.splitlines()))
        self._tell(state, job, log or note)  # twice, where the process is killed before it is written down
        self.chain.save(self.folder)

    @property
    def _limit(self) -> float:
        """A session's longest time, in seconds."""
        return float(self.chain.limit_seconds or MOST_SECONDS)
