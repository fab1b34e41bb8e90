"""Kaggle in a box: a server on this machine that speaks the official client's protocol and really runs what is pushed.

It answers `POST /api/v1/<service>/<Method>` with JSON, as the platform does (`box.environment()` leads the client
here), keeps datasets, kernels and submissions in memory and their files in a folder, and gives every kernel's session
to a callable in a thread of its own. Faults are prepared before a call and happen once each. The parts of the server
are in `box_*`; tests import everything from here.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from box_accounts import Accounts
from box_datasets import Datasets
from box_faults import PAGE, Fault, Faults
from box_handler import Handler
from box_kernels import Kernels
from box_state import Job, Refusal, Version
from box_submissions import Submissions

from imettk.kaggle.client import Patience

__all__ = ["PAGE", "Fault", "Handler", "Job", "KaggleBox", "Patience", "Refusal", "Version", "fast_patience"]


def _steady_clock() -> Callable[[], float]:
    """Return a clock that shows the right time now, and later changes of this machine's clock do not move."""
    ahead = time.time() - time.monotonic()
    return lambda: time.monotonic() + ahead


class KaggleBox(Accounts, Datasets, Kernels, Submissions):
    """The server, a context manager.

    Args:
        root: a folder for files.
        run_kernel: runs a session's job, and returns its status at the end.

    Attributes:
        date: the platform's clock.
        faults: the faults of calls to come.
        requests: method and content of every call.
    """

    def __init__(self, root: Path, *, run_kernel: Callable[[Job], str], username: str = "me", key: str = "k" * 32):
        self.root, self.username, self.key = root, username, key
        self.open_accounts()
        self.open_datasets()
        self.open_kernels(run_kernel)
        self.open_submissions()
        self.date: Callable[[], float] = _steady_clock()
        self.faults = Faults()
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.box = self  # type: ignore[attr-defined]
        self._server.daemon_threads = True

    def __enter__(self) -> KaggleBox:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for versions in self.kernels.values():
            for version in versions:
                version.job.cancel.set()
        for thread in self._threads:
            thread.join(30)
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: Path) -> dict[str, str]:
        """Return the variables that lead the client here, and nowhere else."""
        port = self._server.server_address[1]
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST", "KAGGLE_USERNAME": self.username, "KAGGLE_KEY": self.key,
            "KAGGLE_CONFIG_DIR": str(home), "HOME": str(home), "no_proxy": "", "NO_PROXY": "",
            "http_proxy": f"http://127.0.0.1:{port}", "https_proxy": "http://127.0.0.1:9",
        }  # fmt: skip

    def answer(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a call, or raise `Refusal`."""
        with self._lock:
            return getattr(self, f"_{re.sub('(?<!^)(?=[A-Z])', '_', method).lower()}")(request)


def fast_patience() -> Patience:
    """Return the patience of a client that waits only hundredths of a second."""
    return Patience(tries=6, answer_seconds=60, sleep=lambda seconds: time.sleep(min(seconds, 0.01)))
