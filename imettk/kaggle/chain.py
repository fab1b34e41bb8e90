"""The unattended run: prepare, the folds side by side over as many sessions as they take, validate, infer.

A session moves through these states, and each change is on disk before anything depends on it:

    PUSHING --the push was answered, or is found later--> RUNNING --its output list is read--> DONE, PAUSED or FAILED
       '--refused in three looks, or the chain has stopped--> FAILED       '--an input was not attached--> SKIPPED

The process may be killed at any moment and started again. What was pushed is recognised by the random `push` in its
text, what ended is settled by the list that its kernel wrote, and everything else goes on as if nothing had happened.
"""

from __future__ import annotations

from imettk.errors import PlatformError, describe_fault
from imettk.kaggle.chain_state import DONE, FAILED, PUSHING, RUNNING, Job
from imettk.kaggle.jobs import Jobs
from imettk.kaggle.sessions import end_session, is_there
from imettk.kaggle.watch import session_line
from imettk.progress import say


class Follower(Jobs):
    """A chain that is brought forward, one look at the platform after another; arguments as for `Jobs`."""

    def look(self) -> str:
        """Settle what has ended and push what can be pushed; return "" while there is more to do, else how it ended.

        A chain that has to stop begins no more sessions, but waits for those that run and settles them. A fault of this
        machine (a full disk) counts as an unclear answer: whatever it prevented is done at a later look.
        """
        self.unclear = ""
        try:
            self._look()
        except OSError as error:
            fault = describe_fault(error)
            self.look_again(fault[0] if fault else str(error))
            return ""
        if not self.unclear:
            self._reported.clear()
        if self.chain.open_jobs:
            return ""
        return DONE if self.chain.is_done("infer") else self.chain.stopped

    def _look(self) -> None:
        chain = self.chain
        # Open sessions come first: what they leave decides which sessions are next, and whether there is room for them.
        for job in chain.open_jobs:
            if job.state == PUSHING:
                self.push(job)
            else:
                self.settle_job(job)
        self._check_failures()  # before any push: a chain that has just failed too often must not begin another session
        for command, fold, after in chain.next_sessions():
            gpu = chain.gpu and command != "prepare"  # decoding images would waste the week's GPU hours
            if not self.must_wait(after) and self.room.has(chain, gpu=gpu):
                self.push(chain.add(command, fold, after, gpu=gpu))
        chain.save(self.folder)

    def settle(self) -> None:
        """Settle what has ended, look for pushes that may have arrived, and drop what was never sent."""
        for job in self.chain.open_jobs:
            if job.state == RUNNING:
                self.settle_job(job)
            elif job.sent:
                self.recover(job)
        self.chain.jobs = [job for job in self.chain.jobs if job.state != PUSHING or job.sent]

    def stop(self) -> None:
        """End what is queued or running; settle first what has ended, so that its output stays."""
        self.chain.stopped = "stopped by the user"
        for job in self.chain.open_jobs:
            try:
                # First on disk that the chain has stopped: after a kill nothing may be begun again.
                self.chain.save(self.folder)
                if job.state == PUSHING:
                    self.push(job)  # starts nothing now that the chain has stopped: only looks whether it has arrived
                if job.state == RUNNING:
                    self._stop_session(job)
            except (PlatformError, OSError) as error:
                say(f"{job.slug}: {error}; it may still run: `--stop` again")
        self.chain.save(self.folder)

    def _stop_session(self, job: Job) -> None:
        # Settled before it is deleted: deleting a kernel also deletes the output of a session that has just ended.
        session, reference = self.settle_job(job), self.chain.reference(job)
        if session is None and not is_there(self.kaggle, reference):
            self.end(job, FAILED, f"Kaggle no longer shows it: was it deleted? kaggle.com/code/{reference}")
        if job.state != RUNNING or session is None:
            return
        if session.ended:
            say(f"{job.slug}: {session.status}; it is kept, and its output will be fetched")
            return
        say(f"{session_line(self.chain, job, self.now())}: deleting {reference} and what this session has made")
        end_session(self.kaggle, reference)
        self.end(job, FAILED, "stopped by the user")

    def _check_failures(self) -> None:
        """Stop the chain if a session has failed too often."""
        for place in self.chain.places:
            failed = self.chain.failed(*place)
            if len(failed) > self.chain.retries and not self.chain.stopped:
                last = failed[0]
                self.chain.stopped = f"{last.slug} has failed {len(failed)} times: {last.note}"
