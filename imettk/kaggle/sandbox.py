"""A session on this machine: a kernel's script or notebook, unmodified, in Kaggle's layout and offline.

If the system allows it (`unshare`), inputs are mounted read-only, there is no network, and a session at its limit is
killed with all its processes. Otherwise inputs are links, and the processes of the session are killed one by one.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imettk.kaggle import execute
from imettk.kaggle.cells import is_notebook

COMPLETE, ERROR, CANCELLED = "COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED"
NOTEBOOK = "notebook.ipynb"  # beside the working folder, with its output
_UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Mounts:
    """The folders that a kernel has attached.

    Attributes:
        datasets, notebooks: folders by `owner/slug`.
        competitions: folders by slug.
        older: mount all of them as `/kaggle/input/SLUG`, the platform's older layout.
        models: folders by `owner/model/framework/variation/version`.
    """

    datasets: Mapping[str, Path] = field(default_factory=dict)
    notebooks: Mapping[str, Path] = field(default_factory=dict)
    competitions: Mapping[str, Path] = field(default_factory=dict)
    older: bool = False
    models: Mapping[str, Path] = field(default_factory=dict)

    def places(self) -> dict[str, Path]:
        """Return the folders by their paths under `/kaggle/input`."""
        models = {name.lower(): path for name, path in self.models.items()}  # as the platform spells `pyTorch` there
        if self.older:
            everything = {**self.datasets, **self.notebooks, **self.competitions}
            return {
                **{name.rpartition("/")[2]: path for name, path in everything.items()},
                **{name.partition("/")[2]: path for name, path in models.items()},
            }
        return {
            **{f"models/{name}": path for name, path in models.items()},
            **{f"datasets/{name}": path for name, path in self.datasets.items()},
            **{f"notebooks/{name}": path for name, path in self.notebooks.items()},
            **{f"competitions/{name}": path for name, path in self.competitions.items()},
        }


@dataclass(frozen=True)
class Ending:
    """The end of a session.

    Attributes:
        status: COMPLETE, ERROR, or CANCEL_ACKNOWLEDGED if it was cancelled or killed at its limit.
        code: the script's exit code; None if it was killed.
        working: the folder with its output.
    """

    status: str
    code: int | None
    seconds: float
    working: Path


@functools.cache
def can_isolate() -> bool:
    """Return whether this system lets a user run processes without network and with their own mounts."""
    if shutil.which("unshare") is None:
        return False
    probe = [*_UNSHARE, "--net", "mount", "--bind", "/tmp", "/tmp"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def run_session(
    text: str,
    root: Path,
    mounts: Mounts,
    *,
    internet: bool = False,
    limit_seconds: float | None = None,
    cancel: threading.Event | None = None,
    line: Callable[[str], None] | None = None,
    python: Sequence[str] = (sys.executable,),
    isolate: bool | None = None,
) -> Ending:
    """Run the text of a kernel to its end; a notebook stays in `root`, with its output.

    Args:
        text: the script or notebook; for a notebook the interpreter must have nbclient and ipykernel.
        root: the folder in place of `/kaggle`, empty or new; `working` stays in it.
        internet: whether the script has network.
        limit_seconds: the time after which everything is killed, as on the platform.
        cancel: ends the session when it is set.
        line: gets each line of the output as it comes; None to print them.
        python: the interpreter and its options.
        isolate: whether to use `unshare`; None to use it if the system allows it.
    """
    root = root.resolve()  # the script runs in another folder
    working = root / "working"
    for folder in (working, root / "input", root / "temp"):
        folder.mkdir(parents=True, exist_ok=True)
    path = root / (NOTEBOOK if is_notebook(text) else "script.py")
    path.write_text(text, encoding="utf-8")
    isolated = can_isolate() if isolate is None else isolate
    places = {root / "input" / place: source.resolve() for place, source in mounts.places().items()}
    command = shlex.join([*python, "-u", *([execute.__file__] if is_notebook(text) else []), str(path)])
    started = time.monotonic()
    process = subprocess.Popen(
        _mounted(places, command, internet=internet) if isolated else _linked(places, command),
        cwd=working,
        env=_environment(root),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    reader = threading.Thread(target=_pass_on, args=(process, line or _print), daemon=True)
    reader.start()
    end = None if limit_seconds is None else started + limit_seconds
    _wait(process, reader, end, cancel)
    code = process.returncode if process.returncode >= 0 else None
    killed = code is None or (isolated and code == 128 + signal.SIGKILL)
    status = COMPLETE if code == 0 else CANCELLED if killed else ERROR
    return Ending(status, None if killed else code, time.monotonic() - started, working)


def _wait(
    process: subprocess.Popen[str], reader: threading.Thread, end: float | None, cancel: threading.Event | None
) -> None:
    """Wait until a session has ended and its output is read; kill it at `end` (`time.monotonic`) or when cancelled."""
    try:
        while process.poll() is None:
            if (cancel is not None and cancel.is_set()) or (end is not None and time.monotonic() > end):
                _kill(process)
            time.sleep(_POLL_SECONDS)
    finally:  # it runs in a process session of its own, which Ctrl-C does not reach
        if process.poll() is None:
            _kill(process)
        process.wait()
        reader.join(timeout=10)


def _mounted(places: Mapping[Path, Path], command: str, *, internet: bool) -> list[str]:
    """Return the command line of a process that sees the sources read-only at their places, and no network."""
    binds = []
    for place, source in places.items():
        place.mkdir(parents=True, exist_ok=True)
        there = shlex.quote(str(place))
        binds.append(f"mount --bind {shlex.quote(str(source))} {there} && mount -o remount,ro,bind {there}")
    return [*_UNSHARE, *([] if internet else ["--net"]), "sh", "-c", " && ".join([*binds, f"exec {command}"])]


def _linked(places: Mapping[Path, Path], command: str) -> list[str]:
    """Link the sources to their places, and return the command line of a process that finds them there."""
    for place, source in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source)
    return ["sh", "-c", f"exec {command}"]


def _environment(root: Path) -> dict[str, str]:
    """Return the environment without this machine's package path, credentials, tokens and proxies."""
    hidden = ("PYTHONPATH", "IMETTK", "KAGGLE", "TELEGRAM", "http_proxy", "https_proxy")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return kept | {"IMETTK_KAGGLE_ROOT": str(root), "KAGGLE_KERNEL_RUN_TYPE": "Batch"}


def _print(text: str) -> None:
    print(text, flush=True)


def _pass_on(process: subprocess.Popen[str], line: Callable[[str], None]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for text in process.stdout:
            line(text.rstrip("\n"))


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill every process of a session; under `unshare`, the death of the first one ends all others."""
    parents: dict[int, tuple[int, int]] = {}  # parent and process session of every process
    for entry in Path("/proc").iterdir() if Path("/proc").is_dir() else []:
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                _, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                parents[int(entry.name)] = int(parent), int(session)
    # By session, since the processes of data loaders have groups of their own; and by parent, since a notebook's Python
    # has a session of its own.
    doomed, before = {process.pid}, set[int]()
    while doomed != before:
        before = doomed
        doomed = before | {pid for pid, origins in parents.items() if not before.isdisjoint(origins)}
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    process.kill()
