"""Commands in processes forked from one that has imported what is heavy, which takes seconds each time.

That process imports and forks, and does nothing else: the threads of OpenMP would be missing in a child of a process
that has computed. A child takes on its own environment, folder, output files and, where asked, session, and is then
what `python -m imettk` is. Only what Python and libraries read when they start stays as it was in the first process:
`ForkServer.fits` tells which environments need a real start.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

READ_AT_START = ("GOMP", "HF_", "LD_", "MKL", "MPL", "OMP", "OPENBLAS", "PYTHON", "TORCH_")
HEAVY = (
    "albumentations", "cv2", "iterstrat", "matplotlib.pyplot", "pandas", "scipy.optimize", "sklearn.datasets",
    "sklearn.metrics", "telegram", "timm", "torch.distributed", "torch.utils.tensorboard", "warmup_scheduler",
    "imettk.cli", "imettk.demo", "imettk.device", "imettk.runs", "imettk.stages",
)  # fmt: skip
PATIENCE = 3600.0  # seconds, against what hangs: the slowest machine has ended before
COMMAND = "from imettk.cli import main; main()"

# Arguments: a number of processes, and the code and words of each. `imettk.launch`, but for how a process starts.
LAUNCH = """
import sys, time
from __main__ import Fork
import imettk.launch

class Forking:
    Popen = Fork

imettk.launch.subprocess = Forking
imettk.launch.GRACE_SECONDS = 1.0
num_processes, *words = sys.argv[1:]
sys.exit(imettk.launch.launch([sys.executable, "-c", *words], int(num_processes), started=time.monotonic()))
"""


class Forked:
    """A process that was forked; has what the tests need of `subprocess.Popen`.

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
        """Return the exit code when it has ended; kill it where that takes longer, and raise `TimeoutExpired`."""
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
        """What it has printed so far."""
        return (self._folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far."""
        return (self._folder / "stderr").read_text()


class ForkServer:
    """The process to fork from; starts with the first command. A context manager."""

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
        """
        whole = dict(os.environ) | dict(environment or {})
        if not self.fits(environment):
            raise ValueError("a forked process cannot have another environment of what libraries read when they start")
        if self._process is None:
            self._start_server()
        folder = Path(self._folder.name) / str(len(self._children))
        folder.mkdir()
        words = [str(word) for word in arguments]
        request = {"words": words, "code": code, "environment": whole, "session": session}
        pid = self.ask(request | {"cwd": os.getcwd(), "folder": str(folder)})
        assert pid is not None
        self._children.append(Forked(self, pid, folder))
        return self._children[-1]

    def fits(self, environment: Mapping[str, str] | None = None) -> bool:
        """Whether a forked process with these variables is what a real one would be."""
        whole = dict(os.environ) | dict(environment or {})
        began = os.environ if self._process is None else self._environment
        names = {name for name in {*whole, *began} if name.startswith(READ_AT_START)}
        return all(whole.get(name) == began.get(name) for name in names)

    def ask(
        self, request: dict[str, Any], timeout: float | None = None, on_timeout: Callable[[], object] = lambda: None
    ) -> int | None:
        """Send a request and return its answer; `on_timeout` is called where that takes longer, to hurry it."""
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
            [sys.executable, __file__, str(requests), str(replies)],
            stdin=subprocess.DEVNULL,
            pass_fds=(requests, replies),
            start_new_session=True,
        )
        os.close(requests)
        os.close(replies)
        self._requests, self._replies = os.fdopen(to_server, "w"), os.fdopen(from_server)


def serve(requests: IO[str], replies: int) -> dict[str, Any] | None:
    """Answer requests until there are no more; in a child return, with what it is to be."""
    for line in iter(requests.readline, ""):
        request = json.loads(line)
        if "wait" not in request:
            if fork() == 0:
                return request  # and it answers for itself, when it is what it has to be
            continue
        pid, status = os.waitpid(request["wait"], 0 if request["blocking"] else os.WNOHANG)
        os.write(replies, (json.dumps(os.waitstatus_to_exitcode(status) if pid else None) + "\n").encode())
    return None


def fork() -> int:
    """Fork: 0 in the child. Python 3.12 warns where libraries have threads; OpenBLAS's know of forks."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def become(request: dict[str, Any], outputs: Mapping[int, int]) -> None:
    """Take on what the request says, and these descriptors in place of 1 and 2."""
    import random

    import numpy as np

    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    if request["session"]:
        os.setsid()
    for number, file in outputs.items():
        os.dup2(file, number)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    random.seed()
    np.random.seed()
    sys.argv = ["imettk" if request["code"] == COMMAND else "-c", *request["words"]]


def run(code: str) -> NoReturn:
    """Run this as `python -c` would, and end."""
    imettk.cli.STARTED = time.monotonic()
    ending: BaseException | None = None
    try:
        exec(compile(code, "<forked>", "exec"), {"__name__": "__main__"})
    except BaseException as error:
        ending = error
    leave(ending)


def leave(ending: BaseException | None) -> NoReturn:
    """End as Python does, but for taking its memory apart, which copies every page that is shared."""
    import atexit
    import threading
    import traceback

    code = 0
    if isinstance(ending, SystemExit):
        code = ending.code if isinstance(ending.code, int) else ending.code is not None
        if code and not isinstance(ending.code, int):
            print(ending.code, file=sys.stderr)
    elif ending is not None:
        traceback.print_exception(ending)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if isinstance(ending, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code)


class Fork:
    """What `imettk.launch` and `imettk.demo` need of `subprocess.Popen`, for `python -c CODE` and `python -m imettk`.

    It forks where it is, in a process that was forked itself and has not computed.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        stderr: IO[bytes] | None = None,
        start_new_session: bool = False,
    ) -> None:
        assert command[0] == sys.executable and command[1] in ("-c", "-m")
        self.returncode: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = fork()
        if self.pid:
            return
        code, words = (command[2], command[3:]) if command[1] == "-c" else (COMMAND, command[3:])
        request = {"environment": dict(env), "session": start_new_session, "code": code, "words": words}
        become(request | {"cwd": os.getcwd()}, {} if stderr is None else {2: stderr.fileno()})
        run(code)

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.wait(os.WNOHANG)

    def wait(self, options: int = 0) -> int | None:
        """Return the exit code when it has ended."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, if it has not ended."""
        self.send_signal(signal.SIGKILL)


def import_all() -> None:
    """Import what commands need."""
    import importlib
    import pkgutil

    for name in HEAVY:
        importlib.import_module(name)
    import imettk.stages

    for module in pkgutil.iter_modules(imettk.stages.__path__):
        importlib.import_module(f"imettk.stages.{module.name}")


if __name__ == "__main__":
    import gc

    import imettk.cli

    import_all()
    gc.collect()
    gc.freeze()  # pages that are shared stay so
    replies = int(sys.argv[2])
    with open(int(sys.argv[1])) as requests:
        request = serve(requests, replies)
    if request is not None:
        paths = [os.path.join(request["folder"], name) for name in ("stdout", "stderr")]
        files = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) for path in paths]
        become(request, {1: files[0], 2: files[1]})
        for file in files:
            os.close(file)
        os.write(replies, f"{os.getpid()}\n".encode())
        os.close(replies)
        run(request["code"])
