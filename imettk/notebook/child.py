"""The process of a command that another Python process runs: it ends with that process, and hands its error back."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

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

    threading.Thread(target=_end_with_parent, daemon=True).start()
    main(argv, report)


def _end_with_parent() -> None:
    """Wait until the pipe closes, as it does however the parent ends; then stop as on SIGTERM: a training saves first.

    `os.read` and not `sys.stdin`, whose lock a waiting thread would hold when the interpreter shuts down.
    """
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    run_child(Path(sys.argv[1]), sys.argv[2:])
