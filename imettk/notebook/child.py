"""The process of a command that another Python process runs: it ends with that process, and hands its error back."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from imettk.__main__ import main
from imettk.files import write_atomically


def run_child(error_file: Path, argv: list[str]) -> None:
    """Run a command whose standard input is a pipe from its parent.

    Args:
        error_file: gets the class and the message of an error, as JSON.
        argv: the words behind `imettk`.
    """

    def report(error: Exception) -> None:
        write_atomically(error_file, json.dumps({"kind": type(error).__name__, "text": str(error)}).encode())

    sys.stdout, sys.stderr = _Output(sys.stdout), _Output(sys.stderr)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main(argv, report)


class _Output(io.TextIOBase):
    """A stream whose reader may end: a line that nobody reads must not stop a training before it has saved."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str) -> int:
        with self._discarding():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._discarding():
            self._stream.flush()

    @contextmanager
    def _discarding(self) -> Iterator[None]:
        """Discard this output and all that follows once the pipe is closed."""
        try:
            yield
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


def _end_with_parent() -> None:
    """Wait until the pipe closes, as it does however the parent ends; then stop as on SIGTERM: a training saves first.

    `os.read` and not `sys.stdin`, whose lock a waiting thread would hold when the interpreter shuts down.
    """
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    run_child(Path(sys.argv[1]), sys.argv[2:])
