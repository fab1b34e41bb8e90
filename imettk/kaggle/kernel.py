"""A kernel to push: one stage of one recipe, all its settings in its text, and what it takes in."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imettk.errors import UserError
from imettk.kaggle.names import check_reference

STAGES = {  # and what a kernel of it is for
    "prepare": "Check the data, make the folds and decode the images once for all later kernels.",
    "train": "Train one fold for as long as the session lasts; attach this kernel's last output to continue.",
    "validate": "Out-of-fold predictions of the trained folds, the decision rule and its scores.",
    "infer": "Predict the test set with the trained folds, offline, and write a checked submission.csv.",
    "preflight": "Every stage in miniature, before hours are spent on them.",
}
MOST_SECONDS = 12 * 3600.0  # that the platform gives a session
GPU = "NvidiaTeslaT4"  # two cards of 15 GB
# As the official client lists them; all but the first are for some competitions, or some people, alone.
MACHINES = (
    GPU,
    "NvidiaTeslaT4Highmem",
    "NvidiaL4",
    "NvidiaL4X1",
    "NvidiaTeslaA100",
    "NvidiaH100",
    "NvidiaRtxPro6000",
)
ANY = "any:"  # before a name that is not listed here

_TEXT = '''"""{purpose}"""

import os
import sys
import time
from pathlib import Path

STARTED = time.monotonic()  # the session's clock starts here

RECIPE = {recipe}  # a built-in recipe, or the name of a .py file in the pack
COMPETITION = {competition}  # the folder with the data, a competition or a dataset
ARGUMENTS: list[str] = {arguments}  # options of `imettk {stage}`
PACK = {pack}  # the hash that `imettk kaggle pack` says; "" takes any pack
PUSH = {push}  # which push wrote this; its output says so
AFTER: list[str] = {after}  # the pushes whose outputs are taken up; none: every output that is attached

ROOT = Path(os.environ.get("IMETTK_KAGGLE_ROOT", "/kaggle"))
MANIFEST = "imettk-pack.json"
found = sorted([*ROOT.glob(f"input/*/{{MANIFEST}}"), *ROOT.glob(f"input/datasets/*/*/{{MANIFEST}}")])
if len(found) != 1:
    sys.exit(f"imettk: {{len(found)}} packs under {{ROOT / 'input'}}: attach the dataset imettk-pack, once")
pack = found[0].parent
# The platform unpacks zips, and keeps the archive's name as a folder's or not.
code = next(
    path for path in (pack / "imettk.zip", pack / "imettk", pack) if path.is_file() or (path / "imettk").is_dir()
)
sys.path.insert(0, str(code))

from imettk.kaggle.environment import Order, run_stage  # noqa: E402 (found only now)

order = Order("{stage}", RECIPE, COMPETITION, ARGUMENTS, PACK, PUSH, AFTER)
sys.exit(run_stage(order, root=ROOT, pack=pack, code=code, started=STARTED))
'''


def _literal(text: str) -> str:
    """A string as Python reads it back, in ASCII. JSON writes what lies beyond 16 bits as two halves."""
    letters = (json.dumps(letter)[1:-1] if ord(letter) < 1 << 16 else f"\\U{ord(letter):08x}" for letter in text)
    return f'"{"".join(letters)}"'


def _literals(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_literal, texts))}]"


def push_in(text: str) -> str:
    """The push that wrote a kernel's text; "" where it is no kernel of ours."""
    found = re.search(r'^PUSH = "(\w*)"', text, re.MULTILINE)
    return found[1] if found else ""


def check_machine(name: str) -> str:
    """The accelerator of this name, in the platform's spelling; `any:NAME` is NAME, whatever that may be.

    Raises:
        UserError: it is not known, is retired, or can run no torch of ours.
    """
    plain = name.removeprefix(ANY)
    if plain.lower().startswith("tpu"):
        raise UserError(f"--accelerator: {plain} is a TPU, for which this torch has no code; {GPU} is the default")
    if plain.lower().endswith("p100"):
        raise UserError(
            f"--accelerator: {plain} is retired, and today's torch has no code for it (sm_60); {GPU} is the default"
        )
    if (known := {machine.lower(): machine for machine in MACHINES}.get(plain.lower())) is not None:
        return known
    if name.startswith(ANY) and re.fullmatch(r"[A-Za-z0-9]+", plain):
        return plain
    raise UserError(f"--accelerator: {name!r} is none of {', '.join(MACHINES)}; a new one is given as {ANY}NAME")


@dataclass(frozen=True)
class Kernel:
    """A kernel as it is pushed.

    Attributes:
        reference: owner/slug, at most 50 characters of slug; the title is the slug with spaces.
        competition: slug of the data's folder on the platform.
        arguments: options of the stage.
        datasets: owner/slug, or owner/slug/version.
        kernels: owner/slug of those whose output is taken in.
        models: owner/model/framework/variation/version of Kaggle's own models.
        machine: name of the accelerator, where there is to be a GPU.
        pack: hash of the pack that it must find; "" takes any.
        push: of this push alone, by which a lost answer's kernel and every output are recognised.
        after: the pushes whose outputs it takes up.
        limit_seconds: after which the platform ends it; None is the platform's own limit.
    """

    reference: str
    stage: str
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
        """From which the platform makes the slug."""
        return self.reference.partition("/")[2].replace("-", " ")

    def text(self) -> str:
        """The script. It shares nothing before it has found the pack, so it is short and the same for all stages."""
        return _TEXT.format(
            purpose=STAGES[self.stage],
            stage=self.stage,
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
            "code_file": f"{self.stage}.py",
            "language": "python",
            "kernel_type": "script",
            "is_private": True,
            "enable_gpu": self.gpu,
            "enable_tpu": False,
            "enable_internet": self.internet,  # the client takes a missing one as true
            **({"machine_shape": self.machine} if self.gpu else {}),
            "dataset_sources": list(self.datasets),
            "competition_sources": list(self.competitions),
            "kernel_sources": list(self.kernels),
            "model_sources": list(self.models),
        }
