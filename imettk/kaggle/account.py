"""Single sessions, driven from a laptop: push a kernel, ask how it is, download its output, run a preflight."""

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

PREFLIGHT = "preflight.json"  # the measurements of `imettk preflight`
# A session that failed, or was pushed by hand, may never list its output: waiting all LISTED_SECONDS would be in vain.
UNSURE_LISTED_SECONDS = 60.0
WAIT_SECONDS = 3600.0
LOG_LINES = 40


def push(kaggle: Kaggle, kernel: Kernel, folder: Path) -> Pushed:
    """Push one kernel, record the push in the run folder, and return where the kernel is."""
    pushes = read_pushes(folder)
    # Written once before the push: a full or read-only disk must fail here. If it failed only afterwards, the command
    # would look as if it had done nothing, and whoever repeats it would start a second session.
    write_json(folder / PUSHES, pushes)
    pushed = push_kernel(kaggle, kernel)
    say(f"{pushed.reference} version {pushed.version} is pushed; `imettk kaggle status {pushed.reference}`")
    try:
        write_json(folder / PUSHES, pushes | {pushed.reference: {"version": pushed.version, "push": kernel.push}})
    except OSError as error:
        say(f"{folder / PUSHES}: {error.strerror}; the session runs all the same, and can be found by its name")
    return pushed


def status(kaggle: Kaggle, folder: Path, reference: str) -> Session:
    """Print and return the state of a kernel's session, as the platform reports it now."""
    name, version, _ = find_version(kaggle, folder, reference)
    session = ask_session(kaggle, name, version)
    about = f"{_when(kaggle, name, version)}{f' ({session.failure})' if session.failure else ''}"
    say(f"{name} version {version}: {session.status}{command_fault(kaggle, name, version, session.status)}{about}")
    return session


def command_fault(kaggle: Kaggle, name: str, version: int, status: str) -> str:
    """Describe a command that failed in a session which is COMPLETE all the same to keep its output; "" if none did.

    If the list of its output cannot be read, nothing is known, and nothing is reported.
    """
    if status != COMPLETE:
        return ""
    try:
        return _fault_in(read_remote_list(kaggle, name, version))
    except (PlatformError, UserError):
        return ""


def _fault_in(listed: dict[str, Any] | None) -> str:
    """Return the failed command and its exit code in words, from the list of an output; "" if it did not fail."""
    code = (listed or {}).get("code")
    return f", but {listed.get('stage') or 'its command'} ended with code {code}" if listed and code else ""


def _when(kaggle: Kaggle, name: str, version: int) -> str:
    """Return when the platform last ran this version, in words; "" if it does not say, which is no fault."""
    try:
        current = ask_current(kaggle, name)
    except (PlatformError, UserError):
        return ""
    return f", run at {current.run_at:%d %b %H:%M} UTC" if current.run_at and current.version == version else ""


def pull_output(kaggle: Kaggle, folder: Path, reference: str, out: Path, *, only: Sequence[str] = ()) -> None:
    """Download a kernel's output and verify it.

    Args:
        only: patterns of the file names to download, such as `fold*/model.safetensors`; empty downloads all.

    Raises:
        UserError: the session has not ended, or no file matches.
    """
    name, version, push_id = find_version(kaggle, folder, reference)
    session = ask_session(kaggle, name, version)
    if not session.ended:
        raise UserError(f"{name} version {version} is {session.status}: pull its output when it has ended")
    listed = _wait_own_list(kaggle, name, version, push_id, session)
    files = listed["files"] if listed is not None else {}
    wanted = {file for file in files if not only or any(fnmatchcase(file, pattern) for pattern in only)}
    if only and listed is not None and not wanted:
        raise UserError(
            f"--only {' '.join(only)}: no such file in the output of {name}, which has {_some(list(files))}"
        )
    started = time.monotonic()
    chosen = (lambda file, _: file in wanted) if only else None
    # Two processes that fill one folder would mistake each other's half-downloaded files for their own.
    with hold_upload(out, kaggle.patience.sleep):
        taken = pull(kaggle, name, version, out, push=push_id, wanted=chosen)
    seconds, size = time.monotonic() - started, sum((out / file).stat().st_size for file in taken["files"])
    is_verified = all(file["sha256"] for file in taken["files"].values())
    left = [file["size"] for other, file in files.items() if other not in taken["files"]]
    fault = _fault_in(listed)
    say(
        f"{out}: {_count(taken['files'])} of {name} version {version}, {size / 1e6:.1f} MB, "
        f"{'verified' if is_verified else 'NOT verified: the session was ended before it listed them'}, "
        f"in {seconds:.0f} s{f'; left out: {_count(left)}, {sum(left) / 1e6:.1f} MB' if left else ''}{fault}"
    )


def _count(files: Sized) -> str:
    """Return the number of files in words."""
    return f"{len(files)} file{'' if len(files) == 1 else 's'}"


def _some(names: Sequence[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") if names else "no file"


def _wait_own_list(kaggle: Kaggle, name: str, version: int, push_id: str, session: Session) -> dict[str, Any] | None:
    """Wait for the output list of a session that has ended: for long only if there must be one."""
    is_sure = session.status == COMPLETE and push_id
    seconds = LISTED_SECONDS if is_sure else UNSURE_LISTED_SECONDS
    return wait_listed(kaggle, name, version, push=push_id, limit_seconds=seconds)


def wait_session(
    kaggle: Kaggle, reference: str, version: int, fetch: str, *, limit_seconds: float = WAIT_SECONDS
) -> Session:
    """Wait until the session of a kernel has ended, and return it.

    Args:
        fetch: the command that fetches the wanted output later, for the hint.

    Raises:
        PlatformError: it has not ended within the limit.
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
    """Push a kernel that runs every command in miniature, wait for it, and keep its measurements.

    If one that was pushed from here with the same text is running already, wait for that one instead.

    Raises:
        UserError: another preflight of this name is running.
        PlatformError: the preflight failed; the end of its log is printed.
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
            f"the preflight has failed ({why}), see above; its whole log: kaggle.com/code/{kernel.reference}"
        )
    if listed is None:
        raise PlatformError(
            f"the preflight is COMPLETE, but its output is not listed after {LISTED_SECONDS / 60:.0f} minutes: "
            f"run `{fetch}` later"
        )
    pull(kaggle, kernel.reference, version, folder, push=kernel.push, wanted=lambda name, _: name == PREFLIGHT)
    measured = read_json(folder / PREFLIGHT, needs=("seconds_a_fold", "device"))
    if measured is None or not is_measured(measured):
        raise PlatformError(
            f"the preflight has left no {PREFLIGHT} with its times: see its log, kaggle.com/code/{kernel.reference}"
        )
    say(f"everything works there; a fold takes about {measured['seconds_a_fold'] / 3600:.1f} h on {measured['device']}")


def _running_preflight(kaggle: Kaggle, kernel: Kernel, folder: Path) -> tuple[Kernel, int]:
    """Return the kernel and version of a running preflight of this name; the kernel unchanged and 0 if none runs.

    Raises:
        UserError: one runs that was pushed with another text, or from elsewhere.
    """
    known = read_pushes(folder).get(kernel.reference)
    try:
        current = ask_current(kaggle, kernel.reference, there=known is not None)
    except NotThere:
        return kernel, 0
    session = ask_session(kaggle, kernel.reference, current.version)
    if session.ended:
        return kernel, 0
    what = f"{kernel.reference} version {current.version} is {session.status}"
    earlier = replace(kernel, push=known["push"]) if known and known["version"] == current.version else kernel
    if earlier.text() == current.text:
        say(f"{what}, with the same recipe: waiting for it")
        return earlier, current.version
    raise UserError(
        f"{what}: no second preflight of this name is pushed beside it; `imettk kaggle status {kernel.reference}` "
        f"shows when it has ended, and you can stop it at kaggle.com/code/{kernel.reference}"
    )


def tell_log(kaggle: Kaggle, reference: str, version: int) -> None:
    """Print the end of a session's log, or why it cannot be read."""
    lines = log_end(kaggle, reference, version, LOG_LINES) or ["(the log is empty)"]
    say("\n".join(f"  | {line}" for line in lines))
