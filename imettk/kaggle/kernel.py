"""A kernel to push: one command of one recipe, with all settings in its text, and its sources."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from imettk.errors import UserError
from imettk.kaggle.cells import SUFFIX, code_cell, literal, markdown_cell, setting_in, to_notebook
from imettk.kaggle.names import check_reference

COMMANDS = {  # the commands that a kernel can run, and the first line of its script
    "prepare": "Check the data, make the folds and decode the images once for all later kernels.",
    "train": "Train one fold for as long as the session lasts; attach this kernel's last output to continue.",
    "validate": "Predict out of fold with the trained folds, fit the decision rule and compute its scores.",
    "infer": "Predict the test set with the trained folds, offline, and write a checked submission.csv.",
    "preflight": "Run every command in miniature, before hours are spent on them.",
}
MOST_SECONDS = 12 * 3600.0  # the platform's limit of a session
GPU = "NvidiaTeslaT4"  # two cards of 15 GB
# As the official client lists them; all but the first are reserved for some competitions or some users.
MACHINES = (
    GPU,
    "NvidiaTeslaT4Highmem",
    "NvidiaL4",
    "NvidiaL4X1",
    "NvidiaTeslaA100",
    "NvidiaH100",
    "NvidiaRtxPro6000",
)
ANY = "any:"  # prefix of a name that is not listed here

_IMPORTS = """
import os
import sys
import time
from pathlib import Path

STARTED = time.monotonic()  # the session's clock starts here

RECIPE = {recipe}  # a built-in recipe, or the name of a .py file in the pack
COMPETITION = {competition}  # the folder with the data, a competition or a dataset
"""
_ORDERED = """ARGUMENTS: list[str] = {arguments}  # options of `imettk {command}`
PACK = {pack}  # the hash that `imettk kaggle pack` prints; "" accepts any pack
PUSH = {push}  # the push that wrote this text, repeated in its output
AFTER: list[str] = {after}  # the pushes whose outputs are inputs; empty for every output that is attached
"""
FIND_PACK = """
ROOT = Path(os.environ.get("IMETTK_KAGGLE_ROOT", "/kaggle"))
MANIFEST = "imettk-pack.json"
manifests = sorted([*ROOT.glob(f"input/*/{MANIFEST}"), *ROOT.glob(f"input/datasets/*/*/{MANIFEST}")])
if len(manifests) != 1:
    sys.exit(f"imettk: {len(manifests)} packs under {ROOT / 'input'}: attach the dataset imettk-pack, once")
pack = manifests[0].parent
# The platform may unpack the zip, into a folder with the archive's name or without one.
code = next(
    path for path in (pack / "imettk.zip", pack / "imettk", pack) if path.is_file() or (path / "imettk").is_dir()
)
sys.path.insert(0, str(code))
"""
_RUN = """
from imettk.kaggle.environment import Order, run_stage  # noqa: E402 (on the path only now)

order = Order("{command}", RECIPE, COMPETITION, ARGUMENTS, PACK, PUSH, AFTER)
"""
_EXIT = "sys.exit(run_stage(order, root=ROOT, pack=pack, code=code, started=STARTED))\n"
# Not sys.exit(0), which a notebook takes for an error.
_RAISE = """if status := run_stage(order, root=ROOT, pack=pack, code=code, started=STARTED):
    sys.exit(f"imettk: {command} ended with code {{status}}")
"""


def settings_text(recipe: str, competition: str) -> str:
    """Return the first lines of every kernel: its imports, its start, and constants for what it runs."""
    return _IMPORTS.format(recipe=literal(recipe), competition=literal(competition))


def push_in(text: str) -> str:
    """Return the push that wrote a kernel's text; "" if it is not a kernel of imettk."""
    return setting_in(text, "PUSH")


def check_machine(name: str) -> str:
    """Return an accelerator's name in the platform's spelling; `any:NAME` is NAME, unchecked.

    Raises:
        UserError: the name is unknown, retired, or of a machine that the installed torch cannot use.
    """
    plain = name.removeprefix(ANY)
    if plain.lower().startswith("tpu"):
        raise UserError(f"--accelerator: {plain} is a TPU, for which torch has no code here; {GPU} is the default")
    if plain.lower().endswith("p100"):  # even as any:..., since a session would be lost with it
        raise UserError(
            f"--accelerator: {plain} is retired, and current torch has no code for it (sm_60); {GPU} is the default"
        )
    if (known := {machine.lower(): machine for machine in MACHINES}.get(plain.lower())) is not None:
        return known
    if name.startswith(ANY) and re.fullmatch(r"[A-Za-z0-9]+", plain):
        return plain
    raise UserError(f"--accelerator: {name!r} is none of {', '.join(MACHINES)}; give a new one as {ANY}NAME")


@dataclass(frozen=True)
class Kernel:
    """A kernel to push.

    Attributes:
        reference: owner/slug, with at most 50 characters of slug; the title is the slug with spaces.
        command: the imettk command that it runs.
        competition: the slug of the data's folder on the platform.
        arguments: options of the command.
        datasets: datasets as owner/slug or owner/slug/version.
        kernels: owner/slug of the kernels whose outputs are attached.
        models: Kaggle's own models as owner/model/framework/variation/version.
        machine: the name of the accelerator of a GPU session.
        pack: the hash of the pack that it must find; "" accepts any.
        push: a random word by which a kernel whose answer was lost, and every output, are recognised.
        after: the pushes whose outputs are its inputs.
        limit_seconds: the limit after which the platform kills the session; None for the platform's own.
        notebook: whether its text is a notebook instead of a script; it does the same.
    """

    reference: str
    command: str
    recipe: str
    competition: str
    arguments: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    competitions: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    gpu: bool = True
    machine: str = GPU
    internet: bool = False
    pack: str = ""
    push: str = ""
    after: tuple[str, ...] = ()
    limit_seconds: int | None = None
    notebook: bool = False

    def __post_init__(self) -> None:
        check_reference(self.reference)

    @property
    def title(self) -> str:
        """The title, from which the platform derives the slug."""
        return self.reference.partition("/")[2].replace("-", " ")

    @property
    def kind(self) -> str:
        """The platform's name for the type of its text."""
        return "notebook" if self.notebook else "script"

    def text(self) -> str:
        """Return the script or notebook: short, and without imettk until it finds the pack."""
        settings = settings_text(self.recipe, self.competition) + _ORDERED.format(
            command=self.command,
            arguments=literal(list(self.arguments)),
            pack=literal(self.pack),
            push=literal(self.push),
            after=literal(list(self.after)),
        )
        run = _RUN.format(command=self.command)
        if not self.notebook:
            return f'"""{COMMANDS[self.command]}"""\n{settings}{FIND_PACK}{run}{_EXIT}'
        title = f"# {self.title}\n\n{COMMANDS[self.command]}"
        cells = [
            markdown_cell(title),
            code_cell(settings),
            code_cell(FIND_PACK),
            code_cell(run + _RAISE.format(command=self.command)),
        ]
        return to_notebook(cells, gpu=self.gpu, machine=self.machine, internet=self.internet)

    def metadata(self) -> dict[str, Any]:
        """Return the content of `kernel-metadata.json`, for a push by hand with the official command."""
        return {
            "id": self.reference,
            "title": self.title,
            "code_file": f"{self.command}{SUFFIX if self.notebook else '.py'}",
            "language": "python",
            "kernel_type": self.kind,
            "is_private": True,
            "enable_gpu": self.gpu,
            "enable_tpu": False,
            "enable_internet": self.internet,  # the client reads a missing value as true
            **({"machine_shape": self.machine} if self.gpu else {}),
            "dataset_sources": list(self.datasets),
            "competition_sources": list(self.competitions),
            "kernel_sources": list(self.kernels),
            "model_sources": list(self.models),
        }
