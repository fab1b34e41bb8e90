"""Inside a kernel: find what is mounted, install offline, and run one command with its lines shown as they come.

A notebook that people fork has the same session opened, and then calls imettk from its own cells.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imettk.config import SESSION_START, Recipe
from imettk.errors import DeviceError, MissingFileError, UserError, describe_fault
from imettk.kaggle.kernel import GPU
from imettk.kaggle.mounts import MissingOutputs, find_mount, find_outputs, mounted_files, resolve, split_word
from imettk.kaggle.outputs import write_output_list
from imettk.kaggle.pack import check_pack, missing_libraries
from imettk.kaggle.publish import MANIFEST as MODELS
from imettk.kaggle.publish import unfold_models
from imettk.progress import in_notebook
from imettk.tracking.files import sha256
from imettk.tracking.pseudo_files import copy_file
from imettk.tracking.run_dir import RunDir, require_same_recipe

_FAULT = "fault: "
_LOOK = f"""
import torch
from imettk.device import unsupported_gpu
fault = unsupported_gpu() if torch.cuda.is_available() else "torch sees no GPU, though nvidia-smi lists one"
if fault:
    print({_FAULT!r} + fault)
"""
TRAINED = "model.safetensors"  # a fold's finished weights
RULE = "rule.json"
SITE = "imettk-site"  # the wheels are installed outside the folder that the platform keeps as output


@dataclass(frozen=True)
class Order:
    """The order in a kernel's text, whose fields are given by position.

    Attributes:
        command: a command of imettk.
        recipe: a built-in name, or the name of a `.py` file in the pack.
        competition: the slug of the folder with the data.
        arguments: options of the command.
        pack: the hash of the pack that the text was written for; "" accepts any.
        push: the push that wrote the text; "" if it was pushed by hand.
        after: the pushes whose outputs are inputs; empty for every output that is attached.
    """

    command: str
    recipe: str
    competition: str
    arguments: Sequence[str] = ()
    pack: str = ""
    push: str = ""
    after: Sequence[str] = ()


@dataclass(frozen=True)
class Session:
    """A session whose sources have been found and whose libraries are installed.

    Attributes:
        root: `/kaggle`.
        started: when the kernel started, on `time.monotonic()`.
        recipe: the name or the path of the recipe.
        data: the folder with the data.
        inputs: the outputs of earlier sessions, and published models.
        site: the folder with the libraries from the pack.
    """

    order: Order
    root: Path
    started: float
    recipe: str
    data: Path
    inputs: tuple[Path, ...]
    site: Path

    @property
    def run_dir(self) -> Path:
        """The run folder, which the platform keeps as output."""
        return self.root / "working"

    def resolve(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return a recipe's fields with each `input:SLUG` and `kaggle-model:...` replaced by its path."""

        def path_of(value: Any) -> Any:
            if isinstance(value, list | tuple):
                return type(value)(path_of(item) for item in value)
            return resolve([value], self.root)[0] if isinstance(value, str) else value

        return {name: path_of(value) for name, value in fields.items()}

    def check_inputs(self, recipe: Recipe) -> None:
        """Check, before anything takes time, that what earlier sessions have trained is of this recipe.

        Raises:
            MismatchError: an input is of another recipe; the message has the fields that differ, old and new.
        """
        for folder in RunDir(self.run_dir, self.inputs).with_training():
            require_same_recipe(
                folder, recipe, "Undo the change of KNOBS, or train in a new session without that output"
            )

    def agree(self) -> bool:
        """Return whether all inputs have the same rule; notebooks that train different folds fit different ones."""
        return len({sha256(path) for folder in self.inputs if (path := folder / RULE).is_file()}) < 2

    def keep_models(self) -> None:
        """Copy the folds that earlier sessions have finished into the run folder, without their checkpoints."""
        for folder in self.inputs:
            for model in sorted(folder.glob(f"fold*/{TRAINED}")):
                own = self.run_dir / model.parent.name
                if (own / TRAINED).is_file():
                    continue
                own.mkdir(exist_ok=True)
                others = [path for path in model.parent.iterdir() if path.is_file() and path.name != TRAINED]
                for path in [*others, model]:  # the model last: with it the fold counts as finished
                    copy_file(path, own / path.name)

    def close(self) -> None:
        """List the output with its hashes, by which `imettk kaggle pull` verifies it."""
        _leave_list(self.order, self.run_dir, self.started, 0)


# Every kernel's text calls this function and the next by their names and keywords, with `Order` by position. A chain
# stays with the pack that it began with, so a newer imettk writes texts that import an older pack: neither may change.
def open_session(order: Order, *, root: Path, pack: Path, code: Path, started: float) -> Session:
    """Prepare this process for calls of imettk in a notebook; arguments as in `run_stage`.

    A cell may be run again: the session's clock goes on, and does not start again.

    Raises:
        UserError: something is not attached, damaged, or does not fit.
    """
    started = min(started, float(os.environ.get(SESSION_START, started)))
    _leave_list(order, root / "working", started, None)
    session, environment = _open(order, root, pack, code, started)
    sys.path.insert(1, str(session.site))  # behind imettk itself, before older libraries of the image
    os.environ |= environment  # for the processes of several GPUs
    return session


def run_stage(order: Order, *, root: Path, pack: Path, code: Path, started: float) -> int:
    """Run one command as a kernel, and return the kernel's exit code.

    The working folder is the run folder; outputs of earlier kernels are its inputs. In the end it contains a list of
    all files, with the command's exit code and missing inputs; until then, a list without code and files.

    Args:
        root: `/kaggle`.
        code: the path from which imettk is imported: the zip of the pack, or the folder it was unpacked to.
        started: when the kernel started, on `time.monotonic()`.
    """
    working = root / "working"
    lacks: Sequence[str] = ()
    try:
        # First of all: even the output of a session that is killed must be recognisable as the output of this push.
        _leave_list(order, working, started, None)
        status = _run(order, root, pack, code, started)
    except MissingOutputs as error:
        status, lacks = _print_fault(error), error.pushes
    except (UserError, OSError, MemoryError) as error:
        status = _print_fault(error)
    try:
        _leave_list(order, working, started, status, lacks)
    except (OSError, MemoryError) as error:
        status = status or _print_fault(error)
    # The platform attaches the output of a failed kernel to no other one, and hours of training would be lost with it.
    if status and order.push:
        print(f"imettk: {order.command} ended with code {status}; this session counts as complete to keep its output")
        return 0
    return status


def _leave_list(order: Order, working: Path, started: float, code: int | None, lacks: Sequence[str] = ()) -> None:
    seconds = time.monotonic() - started
    write_output_list(working, push=order.push, command=order.command, code=code, seconds=seconds, lacks=lacks)


def _print_fault(error: BaseException) -> int:
    """Print a fault as one line, and return its exit code."""
    fault = None if isinstance(error, UserError) else describe_fault(error)
    text, code = fault or (str(error), 2)
    print(f"imettk: {text}", file=sys.stderr, flush=True)
    return code


def _run(order: Order, root: Path, pack: Path, code: Path, started: float) -> int:
    """Prepare the session, run the command, and return its exit code."""
    session, environment = _open(order, root, pack, code, started)
    command = [sys.executable, "-u", "-m", "imettk", order.command, session.recipe]
    command += ["--data", str(session.data), "--run-dir", str(session.run_dir)]
    command += ["--inputs", *map(str, session.inputs)] if session.inputs else []
    command += resolve(order.arguments, root)
    print("$", shlex.join(command), flush=True)
    return _call(command, os.environ | environment)


def _open(order: Order, root: Path, pack: Path, code: Path, started: float) -> tuple[Session, dict[str, str]]:
    """Find the sources of a session, install the pack's libraries, and return the variables that its processes need."""
    data = find_mount(root, order.competition)
    recipe = str(_own_recipe(pack, order.recipe)) if order.recipe.endswith(".py") else order.recipe
    site = _install(check_pack(pack, wanted=order.pack), root)
    if faults := missing_libraries(pack, site):
        raise UserError(f"this image lacks {', '.join(faults)}: pin the image with which it worked")
    inputs = (*find_outputs(root, order.after), *_unfold(root))
    paths = [str(code), str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(paths), SESSION_START: repr(started)}
    _check_accelerator(order, os.environ | environment)
    return Session(order, root, started, recipe, data, inputs, site), environment


def _own_recipe(pack: Path, name: str) -> Path:
    """Return the path of a recipe in the pack; raise `MissingFileError` if the pack was made without it."""
    if (path := pack / name).is_file():
        return path
    others = ", ".join(sorted(path.name for path in pack.glob("*.py"))) or "none"
    command = shlex.join(["imettk", "kaggle", "pack", name, "--upload"])
    raise MissingFileError(f"the pack has no recipe {name} (there: {others}): `{command}` puts it there")


def _call(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command with its lines shown as they come, and return its exit code."""
    # Not through delegator: with block=True it shows no line before the command ends, after nine silent hours.
    if not in_notebook():
        return subprocess.run(command, env=environment, check=False).returncode
    # A notebook shows what Python prints; what a process writes by itself may get lost.
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
        except KeyboardInterrupt:  # it reaches the command as well, which saves and ends
            print(process.stdout.read(), end="", flush=True)
            raise
    return process.returncode


def _check_accelerator(order: Order, environment: Mapping[str, str]) -> None:
    """Print the session's accelerator, and end the session now if the command could not use it.

    Raises:
        DeviceError: the installed torch has no code for it, or does not see it.
    """
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    cards = ""
    with contextlib.suppress(OSError):  # a machine without a GPU has no such program
        listed = subprocess.run(query, capture_output=True, text=True, check=False)
        cards = "; ".join(listed.stdout.strip().splitlines()) if listed.returncode == 0 else ""
    print("accelerator:", cards or "none", flush=True)
    if not cards or order.command == "prepare" or "cpu" in (split_word(word)[1] for word in order.arguments):
        return
    # In a process of its own: torch would keep memory and the device, which the command needs.
    done = subprocess.run([sys.executable, "-c", _LOOK], env=environment, capture_output=True, text=True, check=False)
    _, mark, fault = done.stdout.partition(_FAULT)
    if mark:  # anything else that goes wrong is explained better by the command itself
        raise DeviceError(f"{fault.strip()}; push it with --accelerator {GPU}")


def _unfold(root: Path) -> list[Path]:
    """Restore the run folders of published models, whose datasets are flat, and return them."""
    mounted = [path.parent for path in mounted_files(root, MODELS)]
    return [unfold_models(folder, root / "temp" / "imettk-models" / str(n)) for n, folder in enumerate(mounted)]


def _install(wheels: list[Path], root: Path) -> Path:
    """Install the pack's wheels offline into a folder of their own, and return it."""
    site = root / "temp" / SITE
    if not wheels:
        return site
    # Delegator is itself one of the wheels; a pure wheel can be imported without being installed.
    sys.path[:0] = [str(wheel) for wheel in wheels if wheel.name.startswith(("delegator", "pexpect", "ptyprocess"))]
    import delegator

    shutil.rmtree(site, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site)]
    _shell(delegator, shlex.join([*pip, *map(str, wheels)]), required=True)
    _shell(delegator, f"df -h {shlex.quote(str(root / 'working'))} | tail -1")
    return site


def _shell(delegator, line: str, *, required: bool = False) -> None:  # type: ignore[no-untyped-def]
    """Run one short shell step through delegator, and print its output when it ends."""
    step = delegator.run(line)
    print("$", line, flush=True)
    print((step.out + step.err).strip(), flush=True)
    if required and step.return_code != 0:
        raise UserError(f"offline install failed with code {step.return_code}, see above: is the pack for this Python?")
