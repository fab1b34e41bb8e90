"""`imettk kaggle run-local`: run a command or a notebook on this machine as the platform would run it."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from imettk.errors import DataError, UserError
from imettk.extras import how_to_install
from imettk.kaggle.cells import SUFFIX, setting_in
from imettk.kaggle.kernel import Kernel
from imettk.kaggle.pack import DATASET, PackOrder, make_pack
from imettk.kaggle.sandbox import CANCELLED, Mounts, can_isolate, run_session
from imettk.progress import say

OWNER = "your-name"
COMPETITION = "COMPETITION"  # the constant of a kernel's text that names the folder with the data


def run_local(
    command: str,
    recipe: str,
    data: Path,
    root: Path,
    *,
    inputs: Sequence[Path] = (),
    models: Mapping[str, Path] | None = None,
    arguments: Sequence[str] = (),
    limit_seconds: float | None = None,
    pack: Path | None = None,
    notebook: bool = False,
) -> int:
    """Run a kernel's text, unmodified, in a folder that takes the place of `/kaggle`; return its exit code.

    Args:
        command: the imettk command to run, or the path of a notebook of `imettk kaggle notebook`.
        recipe: a built-in name, or a `.py` file.
        data: the competition's folder.
        root: a new folder; the session's output is in `working` below it.
        inputs: outputs of earlier sessions.
        models: folders in place of Kaggle's models, by owner/model/framework/variation/version.
        arguments: options of the command.
        limit_seconds: the time after which the session is killed, as on the platform. A command gets the limit too,
            and stops before; a notebook of `imettk kaggle notebook` stops by the `session.limit_seconds` in its cells.
        pack: a pack's folder; None to make one without wheels, so that the libraries are those of this Python.
        notebook: whether to run the command's notebook instead of its script.

    Raises:
        DataError: `root` is not empty, or there is no data or no notebook.
        UserError: the limit is not a positive number, or what executes notebooks is not installed.
    """
    _check(data, root, limit_seconds)
    file = Path(command) if command.endswith(SUFFIX) else None
    if notebook or file is not None:
        _check_notebook(file)
    own = Path(recipe) if recipe.endswith(".py") else None
    with tempfile.TemporaryDirectory() as scratch:
        if pack is None:
            pack = Path(scratch, "pack")
            # Without wheels, which would have to be built from the package index: this Python has the libraries.
            make_pack(pack, PackOrder(recipe=own, wheels=False), owner=OWNER)
        if file is not None:
            text = file.read_text(encoding="utf-8")
        else:
            text = Kernel(
                reference=f"{OWNER}/imettk-local-{command}",
                command=command,
                recipe=recipe if own is None else own.name,
                competition="data",
                arguments=tuple(arguments) + _limit(limit_seconds),
                models=tuple(models or ()),
                notebook=notebook,
            ).text()
        mounts = Mounts(
            datasets={f"{OWNER}/{DATASET}": pack},
            notebooks={f"{OWNER}/input-{number}": folder for number, folder in enumerate(inputs)},
            competitions={setting_in(text, COMPETITION): data},
            models=models or {},
        )
        return _play(text, mounts, root, limit_seconds)


def _check(data: Path, root: Path, limit_seconds: float | None) -> None:
    """Check the arguments of `run_local`; errors as there."""
    if limit_seconds is not None and not 0 < limit_seconds < math.inf:
        raise UserError(f"--limit-seconds: {limit_seconds:g} must be above 0, and finite")
    if root.exists() and any(root.iterdir()):
        raise DataError(f"{root} is not empty: a session starts in a new folder; give another --run-dir")
    if not data.is_dir():
        raise DataError(f"--data: {data} is not a folder")


def _check_notebook(file: Path | None) -> None:
    """Check that a notebook can be executed here; errors as in `run_local`."""
    if missing := [name for name in ("nbclient", "ipykernel") if find_spec(name) is None]:
        raise UserError(f"a notebook is executed by nbclient and ipykernel: {how_to_install('notebook', missing[0])}")
    if file is None:
        return
    if not file.is_file():
        raise DataError(f"{file} is missing: `imettk kaggle notebook RECIPE` writes it")
    if not setting_in(file.read_text(encoding="utf-8"), COMPETITION):
        raise DataError(f"{file} is not a notebook of `imettk kaggle notebook`: it sets no {COMPETITION}")


def _play(text: str, mounts: Mounts, root: Path, limit_seconds: float | None) -> int:
    """Run a session to its end, print how it ended, and return its exit code."""
    if can_isolate():
        say(f"session in {root}: inputs read-only, no network")
    else:
        say(f"session in {root}: a plain folder (no `unshare` here), with inputs not protected and the network open")
    ending = run_session(text, root, mounts, limit_seconds=limit_seconds)
    for folder in (root / "input", root / "temp"):  # the platform keeps only the working folder
        shutil.rmtree(folder, ignore_errors=True)
    if ending.status == CANCELLED:
        say(f"killed at its limit after {ending.seconds:.0f} s; its output so far is in {ending.working}")
        return 1
    say(f"{ending.status.lower()} after {ending.seconds:.0f} s; its output is in {ending.working}")
    return ending.code or 0


def _limit(limit_seconds: float | None) -> tuple[str, ...]:
    """Return the options that make the command stop before the limit, with a margin that fits a short one."""
    if limit_seconds is None:
        return ()
    margin = min(300.0, limit_seconds / 4)
    return "--session.limit-seconds", f"{limit_seconds:g}", "--session.margin-seconds", f"{margin:g}"
