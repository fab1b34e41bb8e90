"""Commands in processes forked from one with the heavy imports done (`fork_server.py`): 0.07 s instead of 5 s.

A process has its own environment, folder, output files and, where asked, session, and is what `python -m imettk` is.
Only what Python and libraries read when they start is that of the first process: where a test changes it, it needs a
real start.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

READ_AT_START = ("GOMP", "HF_", "LD_", "MKL", "MPL", "OMP", "OPENBLAS", "PYTHON", "TORCH_")
SERVER = Path(__file__).with_name("fork_server.py")
PATIENCE = 1800.0  # seconds, against what hangs: the slowest machine has ended before
COMMAND = "from imettk.cli.main import main; main()"

# Arguments: a number of processes, and the code and words of each. As `imettk.cli.launch`, but it forks them.
LAUNCH = """
import sys, time
from __main__ import Fork
import imettk.cli.launch

class Forking:
    Popen = Fork

imettk.cli.launch.subprocess = Forking
imettk.cli.launch.GRACE_SECONDS = 1.0
num_processes, *words = sys.argv[1:]
sys.exit(imettk.cli.launch.launch([sys.executable, "-c", *words], int(num_processes), started=time.monotonic()))
"""


class Forked:
    """A forked process, with the parts of `subprocess.Popen` that the tests need.

    Attributes:
        returncode: None while it is not known to have ended; negative where a signal ended it.
    """

    def __init__(self, server: ForkServer, pid: int, folder: Path) -> None:
        self.pid, self._server, self._folder = pid, server, folder
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.returncode is None:
            self.returncode = self._server.ask({"wait": self.pid, "blocking": False})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code; after `timeout` kill the process and raise `TimeoutExpired`."""
        killed: list[None] = []
        if self.returncode is None:
            request = {"wait": self.pid, "blocking": True}
            self.returncode = self._server.ask(request, timeout, lambda: killed.append(self.kill()))
        if killed:
            raise subprocess.TimeoutExpired("imettk", timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """Send SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    @property
    def stdout(self) -> str:
        """Its standard output so far."""
        return (self._folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        """Its standard error so far."""
        return (self._folder / "stderr").read_text()


class ForkServer:
    """A context manager for the process to fork from, which starts with the first command."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="imettk-forked-")
        self._environment: dict[str, str] = {}
        self._children: list[Forked] = []
        self._requests: IO[str]
        self._replies: IO[str]

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            for child in self._children:
                if child.returncode is None:
                    child.kill()  # not reaped yet, so its number is still its own
            self._process.kill()
            self._process.wait()
            self._requests.close()
            self._replies.close()
        self._folder.cleanup()

    def start(
        self,
        arguments: Sequence[object],
        *,
        code: str = COMMAND,
        environment: Mapping[str, str] | None = None,
        session: bool = False,
    ) -> Forked:
        """Start `imettk ARGUMENTS`, or `python -c CODE ARGUMENTS`, in the present folder.

        Args:
            environment: beside that of this process.
            session: as the leader of a session of its own.

        Raises:
            ValueError: the environment differs from the first process's in what is read when a process starts.
        """
        if self._process is None:
            self._start_server()
        whole = dict(os.environ) | dict(environment or {})
        names = {name for name in {*whole, *self._environment} if name.startswith(READ_AT_START)}
        if late := [name for name in sorted(names) if whole.get(name) != self._environment.get(name)]:
            raise ValueError(f"{', '.join(late)}: read when a process starts, and this one is forked; start a real one")
        folder = Path(self._folder.name) / str(len(self._children))
        folder.mkdir()
        words = [str(word) for word in arguments]
        request = {"words": words, "code": code, "environment": whole, "session": session}
        pid = self.ask(request | {"cwd": os.getcwd(), "folder": str(folder)})
        assert pid is not None, "it could not become what it has to be: see stderr"
        self._children.append(Forked(self, pid, folder))
        return self._children[-1]

    def ask(
        self, request: dict[str, Any], timeout: float | None = None, on_timeout: Callable[[], object] = lambda: None
    ) -> int | None:
        """Send a request and return its answer; call `on_timeout`, which should hasten it, after `timeout` seconds."""
        self._requests.write(json.dumps(request) + "\n")
        self._requests.flush()
        if not select.select([self._replies], [], [], timeout)[0]:
            on_timeout()
        answer = self._replies.readline()
        if not answer:
            raise RuntimeError("the process to fork from has ended: see its stderr")
        return json.loads(answer)

    def _start_server(self) -> None:
        self._environment = dict(os.environ)
        (requests, to_server), (from_server, replies) = os.pipe(), os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, SERVER, str(requests), str(replies)],
            stdin=subprocess.DEVNULL,
            pass_fds=(requests, replies),
            start_new_session=True,
        )
        os.close(requests)
        os.close(replies)
        self._requests, self._replies = os.fdopen(to_server, "w"), os.fdopen(from_server)
