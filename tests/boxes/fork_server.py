"""A process that imports what commands need, and forks a child for each request.

It computes nothing: a child would lack the OpenMP threads of a parent that has computed. Code in a child finds `Fork`
and `run` in `__main__`. `forked.py` is the other end.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import IO, Any, NoReturn

import numpy as np
from forked import COMMAND

import imettk.cli.main

# Libraries that commands import lazily.
LATE = (
    "iterstrat", "matplotlib.pyplot", "scipy.optimize", "sklearn.datasets", "sklearn.metrics", "telegram", "timm",
    "torch.distributed", "torch.utils.tensorboard", "tyro", "warmup_scheduler",
)  # fmt: skip


def serve(requests: IO[str], replies: int) -> dict[str, Any] | None:
    """Answer requests until there are no more; in a forked child return the request."""
    for line in iter(requests.readline, ""):
        request = json.loads(line)
        if "wait" not in request:
            if fork() == 0:
                return request  # the child itself answers, once it has become the command
            continue
        pid, status = os.waitpid(request["wait"], 0 if request["blocking"] else os.WNOHANG)
        os.write(replies, (json.dumps(os.waitstatus_to_exitcode(status) if pid else None) + "\n").encode())
    return None


def fork() -> int:
    """Fork: 0 in the child. Python 3.12 warns where libraries have threads; OpenBLAS's know of forks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def become(request: dict[str, Any], outputs: Mapping[int, int]) -> None:
    """Take the request's environment, folder and words, and these files for the standard ones."""
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
    is_command = request["code"] == COMMAND
    sys.argv = ["imettk" if is_command else "-c", *request["words"]]
    sys.path[0] = request["cwd"] if is_command else ""
    globals().pop("__file__", None)  # processes that `multiprocessing` spawns would run that file


def run(code: str) -> NoReturn:
    """Run the code as `python -c` would, and exit."""
    imettk.cli.main.STARTED = time.monotonic()
    ending: BaseException | None = None
    try:
        exec(compile(code, "<forked>", "exec"), {"__name__": "__main__"})
    except BaseException as error:
        ending = error
    leave(ending)


def leave(ending: BaseException | None) -> NoReturn:
    """Exit as Python does, without freeing its memory: that would copy every shared page."""
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
    """A stand-in for `subprocess.Popen` in `cli.launch` and `cli.demo`: `python -c CODE` or `python -m imettk`.

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
    """Import the package and what it imports, now or later, and fill the caches that every command fills first."""
    modules = [module.name for module in pkgutil.walk_packages(imettk.__path__, "imettk.")]
    for name in (*LATE, *modules):
        if not name.endswith(".__main__"):
            importlib.import_module(name)
    from imettk.config.overrides import apply_overrides
    from imettk.recipes import load_recipe

    apply_overrides(load_recipe("digits"), ["--train.seed", "1"])  # tyro reads the sources of all sections once


if __name__ == "__main__":
    gc.disable()  # a fourth of the time of these imports would go into looking for garbage among them
    import_all()
    gc.collect()
    gc.freeze()  # pages that are shared stay so
    gc.enable()
    replies = int(sys.argv[2])
    with open(int(sys.argv[1])) as requests:
        request = serve(requests, replies)
    if request is not None:
        paths = [os.path.join(request["folder"], name) for name in ("stdout", "stderr")]
        files = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) for path in paths]
        answer: int | None = None
        try:
            become(request, {1: files[0], 2: files[1]})
            answer = os.getpid()
        finally:
            os.write(replies, (json.dumps(answer) + "\n").encode())
        for file in (*files, replies):
            os.close(file)
        run(request["code"])
