"""What is done from a laptop: upload the pack, push a stage, start a chain, ask, download, submit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imettk.errors import MissingFileError, UserError
from imettk.kaggle.client import Kaggle
from imettk.kaggle.datasets import current_version, upload_folder, wait_ready
from imettk.kaggle.kernel import Kernel
from imettk.kaggle.outputs import pull
from imettk.kaggle.pack import DATASET, make_pack
from imettk.kaggle.plan import Chain
from imettk.kaggle.sessions import ENDED, Session, ask_session, gpu_hours, push_kernel
from imettk.progress import say
from imettk.tracking.files import read_json, write_json

PACKS = "packs.json"  # beside the pack: which version of the dataset holds which pack
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


def upload_pack(
    kaggle: Kaggle, out: Path, recipe: str, *, wheels: bool = True, extra: Sequence[Path] = ()
) -> tuple[str, str]:
    """Make the pack and see to it that the platform has it, ready; `owner/slug/version` and the pack's hash.

    A pack that the platform has already, as far as is known here, is not uploaded again.
    """
    own = Path(recipe) if recipe.endswith(".py") else None
    digest = make_pack(out, owner=kaggle.username, recipe=own, wheels=wheels, extra=extra)
    reference, known = f"{kaggle.username}/{DATASET}", out.parent / PACKS
    versions = (read_json(known) or {}).get(reference, {})
    version = versions.get(digest, 0)
    if not 0 < version <= current_version(kaggle, reference):
        reference, version = upload_folder(kaggle, out, f"pack {digest}")
        write_json(known, (read_json(known) or {}) | {reference: versions | {digest: version}})
    wait_ready(kaggle, reference, version)
    say(f"pack {digest} is {reference} version {version}")
    return f"{reference}/{version}", digest


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


def tell_quota(kaggle: Kaggle) -> None:
    """Print what is left of the week's GPU hours."""
    hours = gpu_hours(kaggle)
    say(
        "GPU quota: the platform does not say" if hours is None else f"GPU hours: {hours[0]:.1f} of {hours[1]:.1f} used"
    )


def start_chain(
    kaggle: Kaggle,
    name: str,
    recipe: str,
    folds: list[int],
    sources: Sources,
    *,
    out: Path,
    arguments: Sequence[str] = (),
    gpu: bool = True,
    retries: int = 2,
    limit_seconds: int | None = None,
) -> Chain:
    """A new chain, its pack uploaded; nothing is pushed yet."""
    pinned, digest = upload_pack(kaggle, out, recipe)
    return Chain(
        name=name,
        owner=kaggle.username,
        recipe=Path(recipe).name if recipe.endswith(".py") else recipe,
        competition=sources.folder,
        folds=folds,
        datasets=[pinned, *sources.datasets],
        competitions=sources.competitions,
        pack=digest,
        arguments=list(arguments),
        gpu=gpu,
        retries=retries,
        limit_seconds=limit_seconds,
    )
