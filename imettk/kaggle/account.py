"""What is done from a laptop: push a stage, start a chain, ask, download, submit."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence, Sized
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from imettk.errors import PlatformError, UserError
from imettk.kaggle.chain_state import is_measured
from imettk.kaggle.client import Kaggle, NotThere
from imettk.kaggle.kernel import Kernel
from imettk.kaggle.outputs import LISTED_SECONDS, log_end, pull, read_remote_list, wait_listed
from imettk.kaggle.pushes import PUSHES, ask_current, find_version, read_pushes
from imettk.kaggle.sessions import COMPLETE, Pushed, Session, ask_session, push_kernel
from imettk.kaggle.versions import hold_upload
from imettk.kaggle.waiting import wait_until
from imettk.progress import say
from imettk.tracking.files import read_json, write_json

PREFLIGHT = "preflight.json"  # what the stage of this name has measured
UNSURE_LISTED_SECONDS = 60.0  # until a session that failed, or that was pushed by hand, has left no list
WAIT_SECONDS = 3600.0
LOG_LINES = 40


def push(kaggle: Kaggle, kernel: Kernel, folder: Path) -> Pushed:
    """Push one kernel and remember it in the run folder; where it is.

    A fault of the disk shows before anything is pushed: whoever repeats the command must not begin a second session.
    """
    pushes = read_pushes(folder)
    write_json(folder / PUSHES, pushes)
    pushed = push_kernel(kaggle, kernel)
    say(f"{pushed.reference} version {pushed.version} is pushed; `imettk kaggle status {pushed.reference}`")
    try:
        write_json(folder / PUSHES, pushes | {pushed.reference: {"version": pushed.version, "push": kernel.push}})
    except OSError as error:
        say(f"{folder / PUSHES}: {error.strerror}; the session runs all the same, and is found by its name")
    return pushed


def status(kaggle: Kaggle, folder: Path, reference: str) -> Session:
    """How the session of a kernel is, asked of the platform and printed."""
    name, version, _ = find_version(kaggle, folder, reference)
    session = ask_session(kaggle, name, version)
    about = f"{_when(kaggle, name, version)}{f' ({session.failure})' if session.failure else ''}"
    say(f"{name} version {version}: {session.status}{stage_fault(kaggle, name, version, session.status)}{about}")
    return session


def stage_fault(kaggle: Kaggle, name: str, version: int, status: str) -> str:
    """Words for a stage that failed in a session that is COMPLETE all the same, to keep its output; else "".

    Where the list of its output cannot be had, nothing is known, which is no fault.
    """
    if status != COMPLETE:
        return ""
    try:
        return _fault_in(read_remote_list(kaggle, name, version))
    except (PlatformError, UserError):
        return ""


def _fault_in(listed: dict[str, Any] | None) -> str:
    code = (listed or {}).get("code")
    return f", but {listed.get('stage') or 'its stage'} ended with code {code}" if listed and code else ""


def _when(kaggle: Kaggle, name: str, version: int) -> str:
    """When the platform has last run this version, in words; "" where it does not say, which is no fault."""
    try:
        current = ask_current(kaggle, name)
    except (PlatformError, UserError):
        return ""
    return f", run at {current.run_at:%d %b %H:%M} UTC" if current.run_at and current.version == version else ""


def pull_output(kaggle: Kaggle, folder: Path, reference: str, out: Path, *, only: Sequence[str] = ()) -> None:
    """Download a kernel's output, verified.

    Args:
        only: patterns of the names that are wanted, as in `fold*/model.safetensors`; none is all.

    Raises:
        UserError: its session has not ended, or no file has such a name.
    """
    name, version, push_id = find_version(kaggle, folder, reference)
    session = ask_session(kaggle, name, version)
    if not session.ended:
        raise UserError(f"{name} version {version} is {session.status}: pull it when it has ended")
    listed = _wait_own_list(kaggle, name, version, push_id, session)
    files = listed["files"] if listed is not None else {}
    wanted = {file for file in files if not only or any(fnmatchcase(file, pattern) for pattern in only)}
    if only and listed is not None and not wanted:
        raise UserError(
            f"--only {' '.join(only)}: no such file in the output of {name}, which has {_some(list(files))}"
        )
    started = time.monotonic()
    chosen = (lambda file, _: file in wanted) if only else None
    with hold_upload(out, kaggle.patience.sleep):  # of two processes each would take the other's parts for its own
        taken = pull(kaggle, name, version, out, push=push_id, wanted=chosen)
    seconds, size = time.monotonic() - started, sum((out / file).stat().st_size for file in taken["files"])
    is_verified = all(file["sha256"] for file in taken["files"].values())
    left = [file["size"] for other, file in files.items() if other not in taken["files"]]
    fault = _fault_in(listed)
    say(
        f"{out}: {_count(taken['files'])} of {name} version {version}, {size / 1e6:.1f} MB, "
        f"{'verified' if is_verified else 'NOT verified, for the session was ended before it listed them'}, "
        f"in {seconds:.0f} s{f'; left out: {_count(left)}, {sum(left) / 1e6:.1f} MB' if left else ''}{fault}"
    )


def _count(files: Sized) -> str:
    """A number of files, in words."""
    return f"{len(files)} file{'' if len(files) == 1 else 's'}"


def _some(names: Sequence[str]) -> str:
    """The first names of a list, and how many there are more."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") if names else "no file"


def _wait_own_list(kaggle: Kaggle, name: str, version: int, push_id: str, session: Session) -> dict[str, Any] | None:
    """The list of a session that has ended; long waited for only where it is sure that there must be one."""
    is_sure = session.status == COMPLETE and push_id
    seconds = LISTED_SECONDS if is_sure else UNSURE_LISTED_SECONDS
    return wait_listed(kaggle, name, version, push=push_id, limit_seconds=seconds)


def wait_session(
    kaggle: Kaggle, reference: str, version: int, fetch: str, *, limit_seconds: float = WAIT_SECONDS
) -> Session:
    """The session of a kernel when it has ended.

    Args:
        fetch: the command that fetches what is wanted of it later.

    Raises:
        PlatformError: it has not within the limit.
    """

    def look() -> tuple[Session | None, str]:
        session = ask_session(kaggle, reference, version)
        return (session if session.ended else None), session.status

    what = f"{reference} version {version}"
    hint = (
        f"the session goes on: `imettk kaggle status {reference}/{version}` looks again, and "
        f"`{fetch}` fetches its output when it has ended"
    )
    session = wait_until(kaggle, what, look, limit_seconds=limit_seconds, hint=hint)
    if session is None:
        raise PlatformError(f"{what} has not ended after {limit_seconds / 60:.0f} minutes; {hint}")
    return session


def run_preflight(kaggle: Kaggle, kernel: Kernel, folder: Path) -> None:
    """Push a kernel that plays every stage in miniature, wait for it, and keep what it has measured.

    One that runs already, pushed from here with the same text, is waited for instead.

    Raises:
        UserError: another of this name runs.
        PlatformError: it failed; the end of its log is printed.
    """
    kernel, version = _running_preflight(kaggle, kernel, folder)
    if not version:
        pushed = push(kaggle, kernel, folder)
        kernel, version = replace(kernel, reference=pushed.reference), pushed.version
    fetch = f"imettk kaggle pull {kernel.reference}/{version} --only {PREFLIGHT} --out {shlex.quote(str(folder))}"
    session = wait_session(kaggle, kernel.reference, version, fetch)
    listed = _wait_own_list(kaggle, kernel.reference, version, kernel.push, session)
    failed = session.status != COMPLETE or (listed is not None and listed["code"] != 0)
    if failed:
        tell_log(kaggle, kernel.reference, version)
        code = f", code {listed['code']}" if listed is not None and session.status == COMPLETE else ""
        why = f"{session.status}{code}{f': {session.failure}' if session.failure else ''}"
        raise PlatformError(
            f"the preflight has failed ({why}), see above; all of its log: kaggle.com/code/{kernel.reference}"
        )
    if listed is None:
        raise PlatformError(
            f"the preflight is COMPLETE, but its output is not listed after {LISTED_SECONDS / 60:.0f} minutes: "
            f"`{fetch}` later"
        )
    pull(kaggle, kernel.reference, version, folder, push=kernel.push, wanted=lambda name, _: name == PREFLIGHT)
    found = read_json(folder / PREFLIGHT, needs=("seconds_a_fold", "device"))
    if found is None or not is_measured(found):
        raise PlatformError(
            f"the preflight has left no {PREFLIGHT} with its times: see its log, kaggle.com/code/{kernel.reference}"
        )
    say(f"everything works there; a fold takes about {found['seconds_a_fold'] / 3600:.1f} h on {found['device']}")


def _running_preflight(kaggle: Kaggle, kernel: Kernel, folder: Path) -> tuple[Kernel, int]:
    """The kernel and version of a preflight of this name that runs; the kernel as it is and 0 where none does."""
    known = read_pushes(folder).get(kernel.reference)
    try:
        current = ask_current(kaggle, kernel.reference, there=known is not None)
    except NotThere:
        return kernel, 0
    session = ask_session(kaggle, kernel.reference, current.version)
    if session.ended:
        return kernel, 0
    what = f"{kernel.reference} version {current.version} is {session.status}"
    before = replace(kernel, push=known["push"]) if known and known["version"] == current.version else kernel
    if before.text() == current.text:
        say(f"{what}, with the same recipe: waiting for it")
        return before, current.version
    raise UserError(
        f"{what}: no second preflight of this name is pushed beside it; "
        f"`imettk kaggle status {kernel.reference}` says when it has ended, kaggle.com/code/{kernel.reference} stops it"
    )


def tell_log(kaggle: Kaggle, reference: str, version: int) -> None:
    """Print the end of a session's log; where it cannot be had, say so."""
    lines = log_end(kaggle, reference, version, LOG_LINES) or ["(the log is empty)"]
    say("\n".join(f"  | {line}" for line in lines))
