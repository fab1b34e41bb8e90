"""The unattended run: prepare, the folds side by side over as many sessions as they take, validate, infer.

Every push is written down before it happens, so the process can be killed at any moment and started again: what was
pushed is recognised by its nonce, what ended is settled by the list that its kernel wrote, and the rest goes on.
"""

from __future__ import annotations

from imettk.errors import PlatformError, describe_fault
from imettk.kaggle.chain_state import DONE, FAILED, PUSHING, RUNNING, Job
from imettk.kaggle.jobs import Jobs
from imettk.kaggle.sessions import end_session, is_there
from imettk.kaggle.watch import session_line
from imettk.progress import say


class Follower(Jobs):
    """Brings a chain forward, one look at the platform after another; arguments as of `Jobs`."""

    def look(self) -> str:
        """Settle what has ended, and push what can be pushed; "" while there is more to do, else how it ended.

        A chain that has to stop lets the sessions end that run, and takes note of them; no other is begun. A fault of
        this machine (a full disk) is like an answer that is not clear: what it kept from happening is done later.
        """
        self.unclear = ""
        try:
            self._look()
        except OSError as error:
            fault = describe_fault(error)
            self.look_later(fault[0] if fault else str(error))
            return ""
        if not self.unclear:
            self._said.clear()
        if self.chain.open_jobs:
            return ""
        return DONE if self.chain.is_done("infer") else self.chain.stopped

    def _look(self) -> None:
        chain = self.chain
        for job in chain.open_jobs:
            if job.state == PUSHING:
                self.push(job)
            else:
                self.settle_job(job)
        self._check_failures()
        for stage, fold, after in chain.next_sessions():
            gpu = chain.gpu and stage != "prepare"
            if not self.must_wait(after) and self.room.has(chain, gpu=gpu):
                self.push(chain.add(stage, fold, after, gpu=gpu))
        chain.save(self.folder)

    def settle(self) -> None:
        """Settle what has ended, and look for what may have arrived; what was not pushed is forgotten."""
        for job in self.chain.open_jobs:
            if job.state == RUNNING:
                self.settle_job(job)
            elif job.sent:
                self.recover(job)
        self.chain.jobs = [job for job in self.chain.jobs if job.state != PUSHING or job.sent]

    def stop(self) -> None:
        """End what is queued or runs. What has ended is settled first, so that its output stays."""
        self.chain.stopped = "stopped by the user"
        for job in self.chain.open_jobs:
            try:
                self.chain.save(self.folder)  # first on disk: nothing is begun again after a kill
                if job.state == PUSHING:
                    self.push(job)  # which only looks whether it has arrived, now that the chain has stopped
                if job.state == RUNNING:
                    self._stop_session(job)
            except (PlatformError, OSError) as error:
                say(f"{job.slug}: {error}; it may still run: `--stop` again")
        self.chain.save(self.folder)

    def _stop_session(self, job: Job) -> None:
        session, reference = self.settle_job(job), self.chain.reference(job)
        if session is None and not is_there(self.kaggle, reference):
            self.end(job, FAILED, f"Kaggle does not show it any more: is it gone? kaggle.com/code/{reference}")
        if job.state != RUNNING or session is None:
            return
        if session.ended:
            say(f"{job.slug}: {session.status}; it is kept, its output is waited for")
            return
        say(f"{session_line(self.chain, job, self.now())}: deleting {reference} and what this session has made")
        end_session(self.kaggle, reference)
        self.end(job, FAILED, "stopped by the user")

    def _check_failures(self) -> None:
        """Stop the chain where a session has failed too often."""
        for place in self.chain.places:
            failed = self.chain.failed(*place)
            if len(failed) > self.chain.retries and not self.chain.stopped:
                last = failed[0]
                self.chain.stopped = f"{last.slug} has failed {len(failed)} times: {last.note}"
