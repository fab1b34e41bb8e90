"""What is done from a laptop: push a stage, start a chain, ask, download, submit."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from imettk.errors import MissingFileError, PlatformError, UserError
from imettk.kaggle.client import Kaggle, NotThere, Unclear, owner_of
from imettk.kaggle.kernel import Kernel
from imettk.kaggle.outputs import LISTED_SECONDS, list_files, pull, wait_listed
from imettk.kaggle.sessions import Pushed, Session, ask_session, push_kernel
from imettk.kaggle.waiting import wait_until
from imettk.progress import say
from imettk.tracking.files import read_json, write_json

PREFLIGHT = "preflight.json"  # what the stage of this name has measured
UNSURE_LISTED_SECONDS = 60.0  # until a session that failed, or that was pushed by hand, has left no list
WAIT_SECONDS = 3600.0
LOG_LINES = 40
PUSHES = "pushes.json"  # in a run folder: kernels that were pushed from here, by reference


@dataclass(frozen=True)
class Sources:
    """What kernels have attached beside the pack.

    Attributes:
        competition: slug of the competition whose data they read.
        dataset: owner/slug of a dataset with the data instead.
        attach: owner/slug of more datasets, such as weights.
    """

    competition: str = ""
    dataset: str = ""
    attach: Sequence[str] = ()

    def __post_init__(self) -> None:
        if bool(self.competition) == bool(self.dataset):
            raise UserError("where is the data? give --competition SLUG, or --dataset OWNER/SLUG, one of them")
        for reference in [*([self.dataset] if self.dataset else []), *self.attach]:
            if reference.count("/") not in (1, 2):
                raise UserError(f"{reference!r} is no dataset: it is written OWNER/SLUG")

    @property
    def folder(self) -> str:
        """The slug under which the data is mounted."""
        return self.competition or self.dataset.split("/")[1]

    @property
    def datasets(self) -> list[str]:
        return [*([self.dataset] if self.dataset else []), *self.attach]

    @property
    def competitions(self) -> list[str]:
        return [self.competition] if self.competition else []


def push(kaggle: Kaggle, kernel: Kernel, folder: Path) -> Pushed:
    """Push one kernel and remember it in the run folder; where it is."""
    pushed = push_kernel(kaggle, kernel)
    pushes = read_json(folder / PUSHES) or {}
    write_json(folder / PUSHES, pushes | {pushed.reference: {"version": pushed.version, "push": kernel.push}})
    say(f"{pushed.reference} version {pushed.version} is pushed; `imettk kaggle status {pushed.reference}`")
    return pushed


def remembered(folder: Path, reference: str) -> tuple[int, str]:
    """Version and push of a kernel `owner/slug`, or `owner/slug/version` with any push.

    Raises:
        UserError: it is no such name.
        MissingFileError: it was not pushed from this run folder.
    """
    _, version = _split(reference)
    if version:
        return version, ""
    known = (read_json(folder / PUSHES) or {}).get(reference)
    if known is None:
        raise MissingFileError(f"{folder / PUSHES} does not have {reference}: name its version, {reference}/VERSION")
    return known["version"], known["push"]


def find_version(kaggle: Kaggle, folder: Path, reference: str) -> tuple[str, int, str]:
    """`owner/slug`, version and push of a kernel: as named, as it was pushed from this folder, or the current one.

    Raises:
        UserError: it is no such name.
        NotThere: the platform does not show it.
    """
    name, version = _split(reference)
    known = (read_json(folder / PUSHES) or {}).get(name)
    if known is not None and version in (0, known["version"]):
        return name, known["version"], known["push"]
    if version:
        return name, version, ""
    current = ask_current(kaggle, name)
    say(f"{name} is not in {folder / PUSHES}: version {current.version} is taken, the current one of the platform")
    return name, current.version, current.push


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
        found = re.search(r'^PUSH = "(\w*)"', self.text, re.MULTILINE)
        return found[1] if found else ""


def ask_current(kaggle: Kaggle, reference: str, *, there: bool = True) -> Current:
    """The current version of a kernel `owner/slug`.

    Args:
        there: it must be; see `Kaggle.ask`.
    """
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelRequest

    request = ApiGetKernelRequest()
    request.user_name, request.kernel_slug = owner_of(reference)
    answer = kaggle.ask("kernels", "get_kernel", request, what=f"look-up of {reference}", there=there)
    try:
        about = answer.metadata
        return Current(int(about.current_version_number), str(answer.blob.source or ""), about.last_run_time or None)
    except (AttributeError, TypeError, ValueError) as error:  # the official client does not look at types
        raise Unclear(f"look-up of {reference}: Kaggle's answer cannot be read ({type(error).__name__})") from None


def status(kaggle: Kaggle, folder: Path, reference: str) -> Session:
    """How the session of a kernel is, asked of the platform and printed."""
    name, version, _ = find_version(kaggle, folder, reference)
    session = ask_session(kaggle, name, version)
    when = _when(kaggle, name, version)
    say(f"{name} version {version}: {session.status}{when}{f' ({session.failure})' if session.failure else ''}")
    return session


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
    taken = pull(kaggle, name, version, out, push=push_id, wanted=(lambda file, _: file in wanted) if only else None)
    seconds, size = time.monotonic() - started, sum((out / file).stat().st_size for file in taken["files"])
    is_verified = all(file["sha256"] for file in taken["files"].values())
    left = [file["size"] for other, file in files.items() if other not in taken["files"]]
    say(
        f"{out}: {len(taken['files'])} files of {name} version {version}, {size / 1e6:.1f} MB, "
        f"{'verified' if is_verified else 'NOT verified, for the session was ended before it listed them'}, "
        f"in {seconds:.0f} s" + (f"; left out: {len(left)} files, {sum(left) / 1e6:.1f} MB" if left else "")
    )


def _some(names: Sequence[str]) -> str:
    """The first names of a list, and how many there are more."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") if names else "no file"


def _wait_own_list(kaggle: Kaggle, name: str, version: int, push_id: str, session: Session) -> dict[str, Any] | None:
    """The list of a session that has ended; long waited for only where it is sure that there must be one."""
    is_sure = session.status == "COMPLETE" and push_id
    seconds = LISTED_SECONDS if is_sure else UNSURE_LISTED_SECONDS
    return wait_listed(kaggle, name, version, push=push_id, limit_seconds=seconds)


def wait_session(kaggle: Kaggle, reference: str, version: int, *, limit_seconds: float = WAIT_SECONDS) -> Session:
    """The session of a kernel when it has ended.

    Raises:
        PlatformError: it has not within the limit.
    """

    def look() -> tuple[Session | None, str]:
        session = ask_session(kaggle, reference, version)
        return (session if session.ended else None), session.status

    what = f"{reference} version {version}"
    hint = (
        f"the session goes on: `imettk kaggle status {reference}/{version}` looks again, and "
        f"`imettk kaggle pull {reference}/{version} --out DIR` fetches its output when it has ended"
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
    session = wait_session(kaggle, kernel.reference, version)
    listed = _wait_own_list(kaggle, kernel.reference, version, kernel.push, session)
    failed = session.status != "COMPLETE" or (listed is not None and listed["code"] != 0)
    if failed:
        tell_log(kaggle, kernel.reference, version)
        code = f", code {listed['code']}" if listed is not None and session.status == "COMPLETE" else ""
        why = f"{session.status}{code}{f': {session.failure}' if session.failure else ''}"
        raise PlatformError(
            f"the preflight has failed ({why}), see above; all of its log: kaggle.com/code/{kernel.reference}"
        )
    if listed is None:
        raise PlatformError(
            f"the preflight is COMPLETE, but its output is not listed after {LISTED_SECONDS / 60:.0f} minutes: "
            f"`imettk kaggle pull {kernel.reference}/{version} --only {PREFLIGHT} --out {folder}` later"
        )
    pull(kaggle, kernel.reference, version, folder, push=kernel.push, wanted=lambda name, _: name == PREFLIGHT)
    found = read_json(folder / PREFLIGHT, needs=("seconds_a_fold", "device"))
    if found is None:
        raise PlatformError(f"the preflight has left no {PREFLIGHT}: see its log, kaggle.com/code/{kernel.reference}")
    say(f"everything works there; a fold takes about {found['seconds_a_fold'] / 3600:.1f} h on {found['device']}")


def _running_preflight(kaggle: Kaggle, kernel: Kernel, folder: Path) -> tuple[Kernel, int]:
    """The kernel and version of a preflight of this name that runs; the kernel as it is and 0 where none does."""
    known = (read_json(folder / PUSHES) or {}).get(kernel.reference)
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
    try:
        _, log = list_files(kaggle, reference, version)
    except (PlatformError, UserError) as error:
        log = f"(no log: {error})"
    say("\n".join(f"  | {line}" for line in (log.rstrip() or "(the log is empty)").splitlines()[-LOG_LINES:]))
