"""A kernel to push: one command of one recipe, with all settings in its text, and its sources."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imettk.errors import UserError
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

_TEXT = '''"""{purpose}"""

import os
import sys
import time
from pathlib import Path

STARTED = time.monotonic()  # the session's clock starts here

RECIPE = {recipe}  # a built-in recipe, or the name of a .py file in the pack
COMPETITION = {competition}  # the folder with the data, a competition or a dataset
ARGUMENTS: list[str] = {arguments}  # options of `imettk {command}`
PACK = {pack}  # the hash that `imettk kaggle pack` prints; "" accepts any pack
PUSH = {push}  # the push that wrote this text, repeated in its output
AFTER: list[str] = {after}  # the pushes whose outputs are inputs; empty for every output that is attached

ROOT = Path(os.environ.get("IMETTK_KAGGLE_ROOT", "/kaggle"))
MANIFEST = "imettk-pack.json"
manifests = sorted([*ROOT.glob(f"input/*/{{MANIFEST}}"), *ROOT.glob(f"input/datasets/*/*/{{MANIFEST}}")])
if len(manifests) != 1:
    sys.exit(f"imettk: {{len(manifests)}} packs under {{ROOT / 'input'}}: attach the dataset imettk-pack, once")
pack = manifests[0].parent
# The platform may unpack the zip, into a folder with the archive's name or without one.
code = next(
    path for path in (pack / "imettk.zip", pack / "imettk", pack) if path.is_file() or (path / "imettk").is_dir()
)
sys.path.insert(0, str(code))

from imettk.kaggle.environment import Order, run_stage  # noqa: E402 (on the path only now)

order = Order("{command}", RECIPE, COMPETITION, ARGUMENTS, PACK, PUSH, AFTER)
sys.exit(run_stage(order, root=ROOT, pack=pack, code=code, started=STARTED))
'''


def _literal(text: str) -> str:
    """Return a string as a Python literal in ASCII; JSON would write a character beyond 16 bits as two halves."""
    letters = (json.dumps(letter)[1:-1] if ord(letter) < 1 << 16 else f"\\U{ord(letter):08x}" for letter in text)
    return f'"{"".join(letters)}"'


def _literals(texts: Sequence[str]) -> str:
    """Return strings as the Python literal of a list."""
    return f"[{', '.join(map(_literal, texts))}]"


def push_in(text: str) -> str:
    """Return the push that wrote a kernel's text; "" if it is not a kernel of imettk."""
    match = re.search(r'^PUSH = "(\w*)"', text, re.MULTILINE)
    return match[1] if match else ""


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

    def __post_init__(self) -> None:
        check_reference(self.reference)

    @property
    def title(self) -> str:
        """The title, from which the platform derives the slug."""
        return self.reference.partition("/")[2].replace("-", " ")

    def text(self) -> str:
        """Return the script, which is short and the same for all commands: it has no imettk until it finds the pack."""
        return _TEXT.format(
            purpose=COMMANDS[self.command],
            command=self.command,
            recipe=_literal(self.recipe),
            competition=_literal(self.competition),
            arguments=_literals(self.arguments),
            pack=_literal(self.pack),
            push=_literal(self.push),
            after=_literals(self.after),
        )

    def metadata(self) -> dict[str, Any]:
        """Return the content of `kernel-metadata.json`, for a push by hand with the official command."""
        return {
            "id": self.reference,
            "title": self.title,
            "code_file": f"{self.command}.py",
            "language": "python",
            "kernel_type": "script",
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
