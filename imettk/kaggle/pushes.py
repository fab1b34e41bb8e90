"""Kernels that were pushed from a run folder: recorded there, and found by their names."""

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

PUSHES = "pushes.json"  # in a run folder: the kernels that were pushed from it by hand, by reference


def find_version(kaggle: Kaggle, folder: Path, reference: str) -> tuple[str, int, str]:
    """Return `owner/slug`, version and push of a kernel: as named, as pushed from this folder, or the current version.

    Raises:
        UserError: the name is malformed.
        NotThere: the platform does not show the kernel.
    """
    name, version = _split(reference)
    # The version that was pushed from here, even if there is a newer one: its push is known, and its output verifiable.
    known_version, push_id = _known(folder, name)
    if known_version and version in (0, known_version):
        return name, known_version, push_id
    if version:
        return name, version, ""
    current = ask_current(kaggle, name)
    say(f"{name} was not pushed from {folder}: using version {current.version}, the current one on Kaggle")
    return name, current.version, current.push


def _known(folder: Path, name: str) -> tuple[int, str]:
    """Return version and push of a kernel that was pushed from this folder or by its chain; 0 and "" for any other."""
    if (pushed := read_pushes(folder).get(name)) is not None:
        return pushed["version"], pushed["push"]
    chain = read_chain(folder)
    jobs = [] if chain is None else [job for job in chain.jobs if chain.reference(job) == name]
    return (jobs[-1].version, jobs[-1].push) if jobs else (0, "")


def read_pushes(folder: Path) -> dict[str, dict[str, Any]]:
    """Return version and push of the kernels that were pushed from this folder by hand.

    Raises:
        MismatchError: the file is damaged.
    """
    pushes = read_json(folder / PUSHES) or {}
    types = [
        (type(push.get("version")), type(push.get("push"))) if isinstance(push, dict) else ()
        for push in pushes.values()
    ]
    if any(pair != (int, str) for pair in types):
        raise MismatchError(
            f"{folder / PUSHES} is damaged: remove it, and name kernels with their versions, as OWNER/SLUG/VERSION"
        )
    return dict(pushes)


def _split(reference: str) -> tuple[str, int]:
    """Split a kernel's name into `owner/slug` and version; 0 if it names none."""
    parts = reference.split("/")
    number = parts[2] if len(parts) == 3 else "1"
    if len(parts) not in (2, 3) or not all(parts) or not number.isdecimal() or int(number) < 1:
        raise UserError(f"{reference!r} does not name a kernel: write OWNER/SLUG or OWNER/SLUG/VERSION")
    return "/".join(parts[:2]), int(number) if len(parts) == 3 else 0


@dataclass(frozen=True)
class Current:
    """The current version of a kernel.

    Attributes:
        text: its script.
        run_at: when it was last run, UTC; None if the platform does not say.
    """

    version: int
    text: str
    run_at: datetime | None

    @property
    def push(self) -> str:
        """The push that wrote its text; "" if it is not a kernel of imettk."""
        return push_in(self.text)


def ask_current(kaggle: Kaggle, reference: str, *, there: bool = True) -> Current:
    """Return the current version of a kernel `owner/slug`.

    Args:
        there: whether it must exist; see `Kaggle.ask`.
    """
    answer = read_kernel(kaggle, reference, there=there)
    try:
        about = answer.metadata
        return Current(int(about.current_version_number), str(answer.blob.source or ""), about.last_run_time or None)
    except (AttributeError, TypeError, ValueError) as error:  # the official client does not check types
        raise Unclear(f"look-up of {reference}: Kaggle's answer cannot be read ({type(error).__name__})") from None
