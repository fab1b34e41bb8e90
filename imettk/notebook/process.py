"""Commands as processes of their own, with their lines and bars in the cell.

A process of its own computes exactly what the command line computes, gives all memory back, and can be ended without
the notebook. Nothing of torch is imported here.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO, cast

from imettk import errors
from imettk.config import HINTS
from imettk.notebook.cell import Cell
from imettk.progress import RELAYED

OWN = re.compile(r"imettk: (error: )?|imettk [a-z -]+: error: ")  # begins a command's error, or that of its parser
Line = tuple[bool, str] | None  # whether it is of stderr, and the text; None at the end of a stream


class CommandError(errors.PlainError):
    """A command ended with a fault that is not the user's; its lines in the cell say more."""


def run_command(words: Sequence[str], environment: dict[str, str] | None = None) -> None:
    """Run a command of the command line, and print its lines as they come.

    Args:
        words: what follows `imettk`.
        environment: variables that only the command gets.

    Raises:
        UserError, PlatformError: what the command raised, with its class and message.
        CommandError: it failed in any other way.
        KeyboardInterrupt: the cell was interrupted; the command has stopped by then, and a training has saved.
    """
    cell = Cell()
    with tempfile.TemporaryDirectory() as folder:
        error_file = Path(folder, "error.json")
        process = subprocess.Popen(
            [sys.executable, "-m", "imettk.notebook.child", str(error_file), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(cell) | (environment or {}),
            start_new_session=True,  # an interrupt of the notebook must reach it once, from here
        )
        try:
            own_lines, interrupts = _relay(process, cell)
        finally:  # also after a fault here, or an interrupt at a bad moment: nothing goes on without its cell
            cast(IO[bytes], process.stdin).close()
            process.wait()
        if interrupts:
            raise KeyboardInterrupt
        if process.returncode:
            raise _error_of(error_file, words[0], process.returncode, own_lines)
    for line in own_lines:
        cell.print(line, is_error=True)


def _environment(cell: Cell) -> dict[str, str]:
    """Return the variables of a command whose lines go to a cell."""
    # A notebook may have found the package by `sys.path` alone.
    paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8:backslashreplace"}
    variables[HINTS] = "0"  # they name commands of the command line
    return os.environ | variables | ({RELAYED: "1"} if cell.overwrites else {})


def _relay(process: subprocess.Popen[bytes], cell: Cell) -> tuple[list[str], int]:
    """Show the lines of a process until it closes them; pass interrupts on, and kill it after a second one.

    Returns:
        The lines that may be its error, which are not shown, and the number of interrupts.
    """
    assert process.stdout and process.stderr
    lines: SimpleQueue[Line] = SimpleQueue()
    for stream in (process.stdout, process.stderr):
        threading.Thread(target=_read, args=(stream, stream is process.stderr, lines), daemon=True).start()
    open_streams, own_lines, interrupts = 2, [], 0
    while open_streams:
        try:
            if (line := lines.get()) is None:
                open_streams -= 1
            elif line[0] and OWN.match(line[1]):
                own_lines.append(line[1])
            else:
                cell.print(line[1], is_error=line[0])
        except KeyboardInterrupt:
            interrupts += 1
            _interrupt(process, interrupts, cell)
    return own_lines, interrupts


def _read(stream: IO[bytes], is_error: bool, lines: SimpleQueue[Line]) -> None:
    """Put the lines of a stream into the queue, and None at its end."""
    with stream:
        for line in stream:
            lines.put((is_error, line.decode(errors="replace").rstrip("\n")))
    lines.put(None)


def _interrupt(process: subprocess.Popen[bytes], count: int, cell: Cell) -> None:
    """Ask a process to stop at its next step; if it was asked before, kill it with all that it has started."""
    if count > 1:
        _kill(process)
    elif process.poll() is None:
        process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
        cell.print("interrupted: the command stops as soon as it has saved; a second interrupt kills it", is_error=True)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its own ones, which would hold the GPU and these streams."""
    if os.name != "posix":
        process.kill()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _error_of(error_file: Path, command: str, code: int, own_lines: Sequence[str]) -> Exception:
    """Return the error with which a command ended."""
    if error_file.is_file():
        kind, text = map(json.loads(error_file.read_text()).get, ("kind", "text"))
        found = getattr(errors, str(kind), None)
        if isinstance(found, type) and issubclass(found, errors.PlainError):
            make: Callable[[str], Exception] = found
            return make(str(text))
    if own_lines and code == 2:  # of one of several processes, or an error of the machine
        return errors.UserError(OWN.sub("", own_lines[-1], 1))
    ended = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    shown = OWN.sub("", own_lines[-1], 1) if own_lines else "see above; the same command again continues a training"
    return CommandError(f"`imettk {command}` {ended}: {shown}")
