"""What is done from a laptop: push a stage, start a chain, ask, download, submit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imettk.errors import MissingFileError, PlatformError, UserError
from imettk.kaggle.client import Kaggle
from imettk.kaggle.kernel import Kernel
from imettk.kaggle.outputs import list_files, pull, read_remote_list
from imettk.kaggle.packs import upload_pack
from imettk.kaggle.plan import Chain
from imettk.kaggle.sessions import ENDED, Session, ask_session, gpu_hours, is_there, push_kernel
from imettk.progress import progress_bar, say
from imettk.tracking.files import read_json, write_json

PREFLIGHT = "preflight.json"  # what the stage of this name has measured
POLL_SECONDS = 15.0
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


def push(kaggle: Kaggle, kernel: Kernel, folder: Path) -> int:
    """Push one kernel and remember its version in the run folder; the version."""
    version = push_kernel(kaggle, kernel)
    pushes = read_json(folder / PUSHES) or {}
    write_json(folder / PUSHES, pushes | {kernel.reference: {"version": version, "push": kernel.push}})
    say(f"{kernel.reference} version {version} is pushed; `imettk kaggle status {kernel.reference}`")
    return version


def remembered(folder: Path, reference: str) -> tuple[int, str]:
    """Version and push of a kernel `owner/slug`, or `owner/slug/version` with any push.

    Raises:
        UserError: it is no such name.
        MissingFileError: it was not pushed from this run folder.
    """
    parts = reference.split("/")
    if len(parts) not in (2, 3) or not all(parts) or (len(parts) == 3 and not parts[2].isdigit()):
        raise UserError(f"{reference!r} is no kernel: it is written OWNER/SLUG or OWNER/SLUG/VERSION")
    if len(parts) == 3:
        return int(parts[2]), ""
    known = (read_json(folder / PUSHES) or {}).get(reference)
    if known is None:
        raise MissingFileError(f"{folder / PUSHES} does not have {reference}: name its version, {reference}/VERSION")
    return known["version"], known["push"]


def status(kaggle: Kaggle, folder: Path, reference: str) -> Session:
    """How the session of a kernel is, printed."""
    version, _ = remembered(folder, reference)
    session = ask_session(kaggle, "/".join(reference.split("/")[:2]), version)
    say(f"{reference} version {version}: {session.status}{f' ({session.failure})' if session.failure else ''}")
    return session


def pull_output(kaggle: Kaggle, folder: Path, reference: str, out: Path) -> None:
    """Download a kernel's output, verified.

    Raises:
        UserError: its session has not ended.
    """
    version, push_id = remembered(folder, reference)
    name = "/".join(reference.split("/")[:2])
    session = ask_session(kaggle, name, version)
    if session.status not in ENDED:
        raise UserError(f"{name} version {version} is {session.status}: pull it when it has ended")
    started = time.monotonic()
    listed = pull(kaggle, name, version, out, push=push_id)
    size = sum(file["size"] for file in listed["files"].values())
    say(f"{out}: {len(listed['files'])} files, {size / 1e6:.1f} MB, verified, in {time.monotonic() - started:.0f} s")


def wait_session(kaggle: Kaggle, reference: str, version: int, *, limit_seconds: float = WAIT_SECONDS) -> Session:
    """The session of a kernel when it has ended.

    Raises:
        PlatformError: it has not within the limit.
    """
    end = time.monotonic() + limit_seconds
    with progress_bar(f"wait for {reference}", total=None, unit="s") as bar:
        while not (session := ask_session(kaggle, reference, version)).ended:
            if time.monotonic() > end:
                raise PlatformError(f"{reference} version {version} is still {session.status}: ask `status` later")
            kaggle.patience.sleep(POLL_SECONDS)
            bar.update(int(POLL_SECONDS))
    return session


def run_preflight(kaggle: Kaggle, kernel: Kernel, folder: Path) -> None:
    """Push a kernel that plays every stage in miniature, wait for it, and keep what it has measured.

    Raises:
        PlatformError: it failed; the end of its log is printed.
    """
    version = push(kaggle, kernel, folder)
    session = wait_session(kaggle, kernel.reference, version)
    listed = read_remote_list(kaggle, kernel.reference, version)
    if session.status != "COMPLETE" or listed is None or listed["code"] != 0:
        _, log = list_files(kaggle, kernel.reference, version)
        say("\n".join(f"  | {line}" for line in log.rstrip().splitlines()[-LOG_LINES:]))
        raise PlatformError(f"the preflight has failed, see above; all of its log: kaggle.com/code/{kernel.reference}")
    pull(kaggle, kernel.reference, version, folder, push=kernel.push, wanted=lambda name, _: name == PREFLIGHT)
    found = read_json(folder / PREFLIGHT)
    say(f"everything works there; a fold takes about {found['seconds_a_fold'] / 3600:.1f} h on {found['device']}")


def tell_expected(kaggle: Kaggle, chain: Chain) -> None:
    """Print what a chain is expected to take, and what is left of the week's GPU hours."""
    if chain.expected_sessions:
        say(f"expected: {chain.expected_sessions} sessions, {chain.expected_hours:.1f} GPU hours")
    else:
        say("expected: not known; `imettk kaggle preflight` measures it before hours are spent")
    left = tell_quota(kaggle)
    if left is not None and left < chain.expected_hours:
        say(f"warning: {left:.1f} GPU hours are left this week: the chain will wait for the next")


def tell_quota(kaggle: Kaggle) -> float | None:
    """Print the week's GPU hours; how many are left, or None where the platform does not say."""
    hours = gpu_hours(kaggle)
    if hours is None:
        say("GPU quota: the platform does not say")
        return None
    say(f"GPU hours: {hours[0]:.1f} of {hours[1]:.1f} used")
    return hours[1] - hours[0]


def start_chain(kaggle: Kaggle, recipe: str, settings: dict[str, Any], attached: Sequence[str], *, out: Path) -> Chain:
    """A new chain, its pack uploaded; nothing is pushed yet.

    Args:
        recipe: as it was asked for, a built-in name or a path.
        settings: of the chain, by the names of its attributes.
        attached: datasets beside the pack.
        out: the pack's folder.

    Raises:
        UserError: the platform has the kernels of another chain of this name: theirs would be overwritten.
    """
    chain = Chain(owner=kaggle.username, datasets=list(attached), pack="", **settings)
    first = chain.reference(chain.add("prepare", None, [], gpu=False))
    if is_there(kaggle, first):
        raise UserError(f"{first} is there already: its chain would be overwritten; give this one another --name")
    pinned, digest = upload_pack(kaggle, out, recipe)
    return replace(chain, datasets=[pinned, *attached], pack=digest, jobs=[])
