"""Kernels that were pushed from a run folder: remembered there, and found by their names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from imettk.errors import MismatchError, UserError
from imettk.kaggle.chain_state import read_chain
from imettk.kaggle.client import Kaggle, Unclear
from imettk.kaggle.kernel import push_in
from imettk.kaggle.sessions import read_kernel
from imettk.progress import say
from imettk.tracking.files import read_json

PUSHES = "pushes.json"  # in a run folder: kernels that were pushed from here by hand, by reference


def find_version(kaggle: Kaggle, folder: Path, reference: str) -> tuple[str, int, str]:
    """`owner/slug`, version and push of a kernel: as named, as it was pushed from this folder, or the current one.

    Raises:
        UserError: it is no such name.
        NotThere: the platform does not show it.
    """
    name, version = _split(reference)
    known_version, push_id = _known(folder, name)
    if known_version and version in (0, known_version):
        return name, known_version, push_id
    if version:
        return name, version, ""
    current = ask_current(kaggle, name)
    say(f"{name} was not pushed from {folder}: version {current.version} is taken, the current one of the platform")
    return name, current.version, current.push


def _known(folder: Path, name: str) -> tuple[int, str]:
    """Version and push of a kernel that was pushed from this folder, by hand or by its chain; 0 and "" of any other."""
    if (pushed := read_pushes(folder).get(name)) is not None:
        return pushed["version"], pushed["push"]
    chain = read_chain(folder)
    jobs = [] if chain is None else [job for job in chain.jobs if chain.reference(job) == name]
    return (jobs[-1].version, jobs[-1].push) if jobs else (0, "")


def read_pushes(folder: Path) -> dict[str, dict[str, Any]]:
    """Version and push of the kernels that were pushed from this folder by hand.

    Raises:
        MismatchError: the file holds something else.
    """
    pushes = read_json(folder / PUSHES) or {}
    kinds = [
        (type(one.get("version")), type(one.get("push"))) if isinstance(one, dict) else () for one in pushes.values()
    ]
    if any(kind != (int, str) for kind in kinds):
        raise MismatchError(f"{folder / PUSHES} is damaged: remove it, and name versions: OWNER/SLUG/VERSION")
    return dict(pushes)


def _split(reference: str) -> tuple[str, int]:
    """`owner/slug` and version of a kernel's name; 0 where it names none."""
    parts = reference.split("/")
    number = parts[2] if len(parts) == 3 else "1"
    if len(parts) not in (2, 3) or not all(parts) or not number.isdecimal() or int(number) < 1:
        raise UserError(f"{reference!r} is no kernel: it is written OWNER/SLUG or OWNER/SLUG/VERSION")
    return "/".join(parts[:2]), int(number) if len(parts) == 3 else 0


@dataclass(frozen=True)
class Current:
    """The current version of a kernel.

    Attributes:
        text: its script.
        run_at: when it was last run, UTC; None where the platform does not say.
    """

    version: int
    text: str
    run_at: datetime | None

    @property
    def push(self) -> str:
        """What its text says of its push; "" where it is no kernel of ours."""
        return push_in(self.text)


def ask_current(kaggle: Kaggle, reference: str, *, there: bool = True) -> Current:
    """The current version of a kernel `owner/slug`.

    Args:
        there: it must be; see `Kaggle.ask`.
    """
    answer = read_kernel(kaggle, reference, there=there)
    try:
        about = answer.metadata
        return Current(int(about.current_version_number), str(answer.blob.source or ""), about.last_run_time or None)
    except (AttributeError, TypeError, ValueError) as error:  # the official client does not look at types
        raise Unclear(f"look-up of {reference}: Kaggle's answer cannot be read ({type(error).__name__})") from None
