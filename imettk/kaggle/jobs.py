"""The sessions of a chain, one by one: each is pushed once, looked up, and settled by the output that it has left.

An unclear answer never ends a session and never starts a second one beside it: the platform is asked again at the next
look. Only what has been missing for long, in several looks, counts as missing: the platform answers 403 or 404 in
passing, lists outputs minutes late, and may start a session although the answer to its push was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from imettk.errors import MismatchError, PlatformError
from imettk.kaggle.chain_state import FAILED, PUSHING, RUNNING, Chain, Job
from imettk.kaggle.client import Kaggle, NotThere, Unclear
from imettk.kaggle.kernel import MOST_SECONDS
from imettk.kaggle.outcome import Outcome, is_small, is_usable, judge, last_words, skip
from imettk.kaggle.outputs import log_end, pull, read_remote_list
from imettk.kaggle.room import Room
from imettk.kaggle.sessions import COMPLETE, LacksSources, NoRoom, Pushed, Session, ask_session, push_once, recover_push
from imettk.kaggle.watch import span
from imettk.progress import say
from imettk.tracking.files import read_json

LOST_SECONDS = 900.0  # after which the output of an ended session, or an unanswered push, counts as lost
STUCK_SECONDS = 36 * 3600.0  # after which a session counts as stuck: none may run for more than 12 hours
LOOKS = 3  # in a row, before something counts as missing, or a push as refused
LOG_LINES = 20

Tell = Callable[[str, Job, str], None]  # gets an event ("started", "paused", "done", "failed"), its job, and words


class Jobs:
    """The sessions of a chain, each brought forward by itself.

    Args:
        folder: the folder with the chain's state, and the small files of every output, as a run folder.
        tell: called for every event.
        room: room for sessions that is shared with other chains; None for the chain's own.

    Attributes:
        unclear: what the last look could not find out; "" if everything was clear.
    """

    def __init__(
        self, kaggle: Kaggle, chain: Chain, folder: Path, tell: Tell | None = None, room: Room | None = None
    ) -> None:
        self.kaggle, self.chain, self.folder = kaggle, chain, folder
        self.room = room or Room(kaggle, [chain], chain.at_once)
        self.unclear, self._reported = "", set[str]()
        self._tell = tell or (lambda event, job, text: None)

    def now(self) -> float:
        """Return the platform's time; see `Kaggle.time`."""
        return self.kaggle.time()

    def push(self, job: Job) -> None:
        """Push a session; one that may be on its way already is only looked up, until it surely never arrives."""
        if job.sent:
            self.recover(job)
        if job.sent or job.state != PUSHING:
            return
        if self.chain.stopped:
            self.end(job, FAILED, "never pushed")
            return
        self._shorten(job)
        # On disk before the push: after a kill in the middle of it, the session is looked up instead of pushed again,
        # which would let two sessions train the same fold.
        job.sent = True
        self.chain.save(self.folder)
        try:
            self._note_pushed(job, push_once(self.kaggle, self.chain.kernel(job)))
        except LacksSources as error:
            self._end_without_sources(job, error)
        except Unclear as error:
            self.look_again(str(error))
        except PlatformError as error:  # a clear no: nothing was started
            job.sent = False
            self._note_refused(job, error)

    def _note_refused(self, job: Job, error: PlatformError) -> None:
        """Record that a push was refused; if there was no room for it, it is pushed again at a later look."""
        if isinstance(error, NoRoom):
            job.note = str(error)
            self.room.refuse(error, gpu=job.gpu)
            return
        job.looks += 1
        if job.looks < LOOKS:  # the refusal may be a passing one
            self.look_again(str(error))
        else:
            self.end(job, FAILED, str(error))

    def _shorten(self, job: Job) -> None:
        """Limit a training so that it saves and ends by itself before the week's GPU hours are used up."""
        left = self.room.seconds() if job.gpu and job.command == "train" else None  # the others cannot stop halfway
        is_short = left is not None and self.chain.least_seconds <= left < self._limit
        job.short_seconds = int(left) if left is not None and is_short else 0

    def recover(self, job: Job) -> None:
        """Look for a push that was never answered; if it surely never arrived, mark it as not sent."""
        try:
            pushed = recover_push(self.kaggle, self.chain.kernel(job))
        except LacksSources as error:
            self._end_without_sources(job, error)
            return
        except PlatformError as error:
            self.look_again(str(error))
            return
        if pushed is not None:
            self._note_pushed(job, pushed)
        elif self._lasts(job, "", LOST_SECONDS):
            job.sent, job.looks, job.lasted = False, 0, 0.0
        else:
            self.look_again(f"push of {self.chain.reference(job)}: not there; it may still arrive")

    def _note_pushed(self, job: Job, pushed: Pushed) -> None:
        """Record that a session has arrived on the platform."""
        job.state, job.note, job.looks, job.pushed_at = RUNNING, "", 0, self.now()
        job.version, job.reference = pushed.version, pushed.reference
        self.room.note_push()
        self.chain.save(self.folder)
        say(f"{job.slug}: pushed, version {job.version}")
        self._tell("started", job, "")

    def settle_job(self, job: Job) -> Session | None:
        """Ask for the state of a session, and settle it if it has ended; return None without a clear answer."""
        try:
            session = ask_session(self.kaggle, self.chain.reference(job), job.version)
        except PlatformError as error:  # whatever the answer, the session may be running: one 403 must not double it
            hint = "; if you have deleted it, `--stop` gives it up" if isinstance(error, NotThere) else ""
            job.note = f"{error}{hint}"
            self.look_again(job.note)
            return None
        job.note = ""
        lasts = self._lasts(job, session.status, LOST_SECONDS if session.ended else STUCK_SECONDS)
        if not session.ended:
            if session.status == "RUNNING":
                job.running_at = job.running_at or job.seen_at
            if lasts and session.status != "QUEUED":  # only Kaggle decides how long a session queues
                note = f"still {job.seen} after {STUCK_SECONDS / 3600:.0f} hours; it has not been deleted"
                self.end(job, FAILED, f"{note}: look at kaggle.com/code/{self.chain.reference(job)}")
            return session
        try:
            self._take_output(job, session, is_lost=lasts)
        except Unclear as error:
            self.look_again(str(error))
        except (PlatformError, MismatchError) as error:
            if lasts:
                self.end(job, FAILED, str(error))
            else:
                self.look_again(str(error))
        return session

    def _lasts(self, job: Job, seen: str, limit: float) -> bool:
        """Record a job's status now; return whether it has lasted longer than the limit, and over several looks."""
        now = self.now()
        if seen != job.seen:
            job.seen, job.looks, job.lasted = seen, 0, 0.0
        elif job.looks:
            # Clocks may jump, the platform's and this machine's: the time between two looks counts for an eighth of the
            # limit at most, so that no single jump can make something count as lost.
            job.lasted += max(0.0, min(now - job.seen_at, limit / 8))
        job.seen_at, job.looks = now, job.looks + 1
        return job.looks >= LOOKS and job.lasted > limit

    def _take_output(self, job: Job, session: Session, *, is_lost: bool) -> None:
        """Settle a session that has ended, according to the output that it has left.

        Args:
            is_lost: whether an output that is not there by now will not come.
        """
        reference = self.chain.reference(job)
        listed = read_remote_list(self.kaggle, reference, job.version, push=job.push)
        # A kernel writes a list without an exit code at its start, and replaces it at its end. If the first one is
        # still listed, the session was killed, or the platform is late: wait if the session is COMPLETE, or if there is
        # nothing yet that the next session could continue from.
        late = listed is None or (
            listed["code"] is None and (session.status == COMPLETE or not is_usable(job, None, listed["files"]))
        )
        if late and not is_lost:
            if job.looks == 1:
                say(f"{job.slug}: {session.status}; its output is not there yet, waiting up to {span(LOST_SECONDS)}")
            return
        if listed is None:
            failure = f" ({session.failure})" if session.failure else ""
            self.end(job, FAILED, f"{session.status}: it left no output{failure}", self._log(job))
            return
        if listed["code"] is None:
            job.has_output = is_usable(job, None, listed["files"])
            rest = "the next session continues from its checkpoints" if job.has_output else "it left nothing to use"
            self.end(job, FAILED, f"{session.status} in the middle of {job.command}: {rest}", self._log(job))
            return
        # Set before anything is downloaded here: even if that fails, the next session can have the output on Kaggle.
        job.seconds = float(listed["seconds"])
        job.has_output = is_usable(job, listed["code"], listed["files"])
        pull(self.kaggle, reference, job.version, self.folder, push=job.push, wanted=is_small)
        status = self.folder / f"fold{job.fold}" / "status.json"
        has_status = status.relative_to(self.folder).as_posix() in listed["files"]
        self._settle_as(job, judge(self.chain, job, listed, (read_json(status) or {}) if has_status else {}))

    def _settle_as(self, job: Job, outcome: Outcome) -> None:
        """Record an outcome, and stop the chain if another try could not go better."""
        log = self._log(job) if outcome.has_failed else ""
        if not outcome.may_heal and not self.chain.stopped:
            why = (outcome.in_log and last_words(log)) or outcome.note
            self.chain.stopped = f"{job.slug}: {why} (correct it, and run the same command)"
        self.end(job, outcome.state, outcome.note, log)

    def must_wait(self, inputs: Sequence[Job]) -> bool:
        """Return whether an input could not be attached but may be soon, because its session has only just ended."""
        late = [job for job in inputs if job.lacked and abs(self.now() - job.ended_at) < LOST_SECONDS]
        for job in late:
            self.look_again(f"{job.slug}: its output is not attached yet")
        return bool(late)

    def look_again(self, reason: str) -> None:
        """Mark this look as unclear, and print the reason once: an outage of hours is one line for each session."""
        self.unclear = reason
        if reason not in self._reported:
            self._reported.add(reason)
            say(f"{reason}; looking again later")

    def _end_without_sources(self, job: Job, error: LacksSources) -> None:
        """Fall back to earlier outputs if only outputs could not be attached; stop the chain for any other source."""
        unattached = [other for other in self.chain.jobs if self.chain.reference(other) in error.sources]
        only_outputs = len(unattached) == len(error.sources)
        if not only_outputs:
            self.chain.stopped = self.chain.stopped or f"{job.slug}: {error}"
        if error.running is not None:
            # It could not be stopped, but ends by itself and lists what it lacks: no other is started beside it.
            say(str(error))
            self._note_pushed(job, error.running)
        elif only_outputs:
            self._settle_as(job, skip(job, unattached))
        else:
            self.end(job, FAILED, str(error))

    def _log(self, job: Job) -> str:
        """Return the end of a session's log."""
        return "\n".join(log_end(self.kaggle, self.chain.reference(job), job.version, LOG_LINES))

    def end(self, job: Job, state: str, note: str, log: str = "") -> None:
        """Record the end of a session, print it and report it."""
        job.state, job.note, job.ended_at, job.looks = state, note, self.now(), 0
        started = job.running_at or job.pushed_at
        if started and not job.seconds:  # it left no list, but has used up hours
            job.seconds = min(max(0.0, job.ended_at - started), self._limit)
        say(f"{job.slug}: {state}{f', {note}' if note else ''}" + "".join(f"\n  | {line}" for line in log.splitlines()))
        # Reported before it is saved: a kill in between repeats the message, the other order would lose it.
        self._tell(state, job, log or note)
        self.chain.save(self.folder)

    @property
    def _limit(self) -> float:
        """A session's longest time, in seconds."""
        return float(self.chain.limit_seconds or MOST_SECONDS)
