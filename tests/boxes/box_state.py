"""The state of Kaggle in a box: sessions, versions of kernels, and datasets."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDED = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")


@dataclass
class Job:
    """The input of a session; its folders are read-only, except `working`."""

    slug: str
    version: int
    text: str
    gpu: bool
    internet: bool
    limit_seconds: float | None
    datasets: dict[str, Path]
    notebooks: dict[str, Path]
    competitions: dict[str, Path]
    working: Path
    log: Path
    models: dict[str, Path] = field(default_factory=dict)
    cancel: threading.Event = field(default_factory=threading.Event)


@dataclass
class Version:
    """One version of a kernel, with its session."""

    number: int
    request: dict[str, Any]
    job: Job
    status: str = "QUEUED"
    failure: str = ""
    seconds: float = 0.0
    pushed_at: str = field(default_factory=lambda: now())
    listings: int = 0
    lacks: list[str] = field(default_factory=list)


@dataclass
class Dataset:
    """A dataset's versions as folders, of which the last may still be processed."""

    versions: list[Path] = field(default_factory=list)
    polls_left: int = 0
    failed: bool = False

    @property
    def ready(self) -> int:
        """The number of versions that kernels can use."""
        return len(self.versions) - (1 if self.polls_left or self.failed else 0)


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(message)


def now() -> str:
    """Return the time as the platform writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
