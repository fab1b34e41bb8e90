"""An interpreter that has imported torch and the rest before it starts, but not imettk, for sessions of kernels.

A session starts Python three times, and a training imports for five seconds before it trains for one. Here a process
of the fork server (`forked.py`) forgets imettk and forks once for each start; the sessions find imettk in their pack.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from forked import ForkServer

BOXES = Path(__file__).resolve().parent
SERVE = f"import sys; sys.path.insert(0, {str(BOXES)!r}); import warm_python; warm_python.serve(*sys.argv[1:])"

# The interpreter's other half: it hands its files, words, folder and environment over, and ends as the process does.
CLIENT = """
import json, os, signal, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
socket.send_fds(connection, [b"-"], [0, 1, 2])
request = {"words": sys.argv[2:], "cwd": os.getcwd(), "environment": dict(os.environ)}
connection.sendall(json.dumps(request).encode())
connection.shutdown(socket.SHUT_WR)
code = int(connection.recv(16))
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextlib.contextmanager
def open_warm_python(forks: ForkServer) -> Iterator[Path]:
    """Give the path of the interpreter. It forks outside of its caller's namespaces: sessions must not be isolated."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))  # a socket's path has at most 107 bytes
    address, client, interpreter = folder / "socket", folder / "client.py", folder / "python"
    client.write_text(CLIENT)
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {client} {address} "$@"\n')
    interpreter.chmod(0o700)
    server = forks.start([address, interpreter], code=SERVE)
    try:
        while "ready" not in server.stdout:
            assert server.poll() is None, server.stderr
        yield interpreter
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder)


def serve(address: str, interpreter: str) -> NoReturn:
    """Fork a process for each connection to `address`, with `interpreter` as its `sys.executable`."""
    from __main__ import fork  # of `fork_server.py`

    forget_imettk()
    sys.executable = interpreter
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:  # of earlier connections
                    pass
            if fork() == 0:
                listener.close()
                answer(connection)
            connection.close()


def forget_imettk() -> None:
    """Unload imettk, and take away every path on which it could be found again."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "imettk"]:
        del sys.modules[name]
    sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
    sys.path[:] = [path for path in sys.path if path and Path(path) != BOXES and not (Path(path) / "imettk").is_dir()]
    importlib.invalidate_caches()
    assert importlib.util.find_spec("imettk") is None
    sys.path.insert(0, "")


def answer(connection: socket.socket) -> NoReturn:
    """Start the requested process, and send its exit code."""
    from __main__ import fork

    _, files, *_ = socket.recv_fds(connection, 1, 3)
    with connection.makefile() as text:
        request = json.loads(text.read())
    pid = fork()
    if pid == 0:
        connection.close()
        become_python(request, files)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.sendall(str(code).encode())
    os._exit(0)


def become_python(request: dict[str, Any], files: Sequence[int]) -> NoReturn:
    """Run `python [-u] SCRIPT | -m MODULE | -c CODE` with these words, folder, environment and files."""
    from __main__ import become, run

    become(request | {"session": False, "code": ""}, dict(enumerate(files)))
    os.environ.pop("JPY_PARENT_PID", None)  # a notebook's Python ends where its parent is another process than this
    words = request["words"]
    if words[0] == "-u":
        words = words[1:]
        sys.stdout.reconfigure(write_through=True)
    paths = request["environment"].get("PYTHONPATH", "").split(os.pathsep)
    first = "" if words[0] in ("-c", "-m") else str(Path(words[0]).parent)
    sys.path[:] = [first, *filter(None, paths), *sys.path[1:]]
    if words[0] == "-m":
        sys.argv = words[1:]
        run(f"import runpy; runpy.run_module({words[1]!r}, run_name='__main__', alter_sys=True)")
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        run(words[1])
    sys.argv = words
    run(f"import runpy; runpy.run_path({words[0]!r}, run_name='__main__')")
