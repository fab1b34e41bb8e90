"""Inside a kernel: find what is mounted, install offline, run one stage with its lines shown as they come."""

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

from imettk.config import SESSION_START
from imettk.errors import DeviceError, UserError, describe_fault
from imettk.kaggle.kernel import GPU
from imettk.kaggle.mounts import MissingOutputs, find_mount, find_outputs, mounted_files, resolve, split_word
from imettk.kaggle.outputs import write_output_list
from imettk.kaggle.pack import check_pack, missing_libraries
from imettk.kaggle.publish import MANIFEST as MODELS
from imettk.kaggle.publish import unfold_models

_FAULT = "fault: "
_LOOK = f"""
import torch
from imettk.device import unsupported_gpu
fault = unsupported_gpu() if torch.cuda.is_available() else "torch sees no GPU, though nvidia-smi lists one"
if fault:
    print({_FAULT!r} + fault)
"""
SITE = "imettk-site"  # where wheels are installed, outside of what the platform keeps


@dataclass(frozen=True)
class Order:
    """An order as it stands in a kernel's text.

    Attributes:
        stage: a command of imettk.
        recipe: a built-in name, or the name of a `.py` file in the pack.
        competition: slug of the folder with the data.
        arguments: options of the stage.
        pack: hash of the pack that it was written for; "" takes any.
        push: of the push that wrote it; "" where it was pushed by hand.
        after: the pushes whose outputs are taken up; none is every output that is attached.
    """

    stage: str
    recipe: str
    competition: str
    arguments: Sequence[str] = ()
    pack: str = ""
    push: str = ""
    after: Sequence[str] = ()


def run_stage(order: Order, *, root: Path, pack: Path, code: Path, started: float) -> int:
    """Run one stage as a kernel; returns the kernel's exit code.

    The working folder is the run folder; outputs of earlier kernels are its inputs. At the end stands a list of what
    it leaves, which says how the stage ended, and which outputs it lacked; until then one without a code and files
    is there. A kernel with a `push` ends with code 0 whatever its stage did: the platform gives the output of a failed
    kernel to no other, and hours of training would be lost with it.

    Args:
        root: `/kaggle`.
        code: what to put on the path to import imettk: the zip of the pack, or the folder it was unpacked to.
        started: when the kernel started, on `time.monotonic()`.
    """
    working = root / "working"
    lacks: Sequence[str] = ()
    try:
        _leave_list(order, working, started, None)  # the output of a session that is killed is recognised by it
        status = _run(order, root, pack, code, started)
    except MissingOutputs as error:
        status, lacks = _told(error), error.pushes
    except (UserError, OSError, MemoryError) as error:
        status = _told(error)
    try:
        _leave_list(order, working, started, status, lacks)
    except (OSError, MemoryError) as error:
        status = status or _told(error)
    if status and order.push:
        print(f"imettk: {order.stage} ended with code {status}; this session counts as complete to keep its output")
        return 0
    return status


def _leave_list(order: Order, working: Path, started: float, code: int | None, lacks: Sequence[str] = ()) -> None:
    seconds = time.monotonic() - started
    write_output_list(working, push=order.push, stage=order.stage, code=code, seconds=seconds, lacks=lacks)


def _told(error: BaseException) -> int:
    """Print a fault as one line, and return its exit code."""
    fault = None if isinstance(error, UserError) else describe_fault(error)
    text, code = fault or (str(error), 2)
    print(f"imettk: {text}", file=sys.stderr, flush=True)
    return code


def _run(order: Order, root: Path, pack: Path, code: Path, started: float) -> int:
    """The stage's exit code."""
    data = find_mount(root, order.competition)
    recipe = str(pack / order.recipe) if order.recipe.endswith(".py") else order.recipe
    site = _install(check_pack(pack, wanted=order.pack), root)
    if faults := missing_libraries(pack, site):
        raise UserError(f"this image lacks {', '.join(faults)}: pin the one that was there when it worked")
    inputs = [*find_outputs(root, order.after), *_unfold(root)]
    command = [sys.executable, "-u", "-m", "imettk", order.stage, recipe]
    command += ["--data", str(data), "--run-dir", str(root / "working")]
    command += (["--inputs", *map(str, inputs)] if inputs else []) + resolve(order.arguments, root)
    paths = [str(code), str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), SESSION_START: repr(started)}
    _check_accelerator(order, environment)
    print("$", shlex.join(command), flush=True)
    # Not delegator: with block=True it holds every line back until the stage ends, nine silent hours later.
    return subprocess.run(command, env=environment, check=False).returncode


def _check_accelerator(order: Order, environment: Mapping[str, str]) -> None:
    """Say what accelerator the session has; one that the stage could not use ends it before hours are spent.

    torch is asked in a process of its own, which leaves memory and the device to the stage.

    Raises:
        DeviceError: the installed torch has no code for it, or does not see it.
    """
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    cards = ""
    with contextlib.suppress(OSError):  # there is no such command where there is no GPU
        listed = subprocess.run(query, capture_output=True, text=True, check=False)
        cards = "; ".join(listed.stdout.strip().splitlines()) if listed.returncode == 0 else ""
    print("accelerator:", cards or "none", flush=True)
    if not cards or order.stage == "prepare" or "cpu" in (split_word(word)[1] for word in order.arguments):
        return
    done = subprocess.run([sys.executable, "-c", _LOOK], env=environment, capture_output=True, text=True, check=False)
    _, mark, fault = done.stdout.partition(_FAULT)
    if mark:  # whatever else goes wrong, the stage says better
        raise DeviceError(f"{fault.strip()}; push it with --accelerator {GPU}")


def _unfold(root: Path) -> list[Path]:
    """Folders of published runs, whose datasets are flat."""
    mounted = [path.parent for path in mounted_files(root, MODELS)]
    return [unfold_models(folder, root / "temp" / "imettk-models" / str(n)) for n, folder in enumerate(mounted)]


def _install(wheels: list[Path], root: Path) -> Path:
    """Install the pack's wheels without network into a folder of their own; returns the folder."""
    site = root / "temp" / SITE
    if not wheels:
        return site
    # Delegator comes in the pack itself; a pure wheel can be imported from as it is.
    sys.path[:0] = [str(wheel) for wheel in wheels if wheel.name.startswith(("delegator", "pexpect", "ptyprocess"))]
    import delegator

    shutil.rmtree(site, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site)]
    _shell(delegator, shlex.join([*pip, *map(str, wheels)]), required=True)
    _shell(delegator, f"df -h {shlex.quote(str(root / 'working'))} | tail -1")
    return site


def _shell(delegator, line: str, *, required: bool = False) -> None:  # type: ignore[no-untyped-def]
    """One short shell step through delegator, its output shown when it ends."""
    step = delegator.run(line)
    print("$", line, flush=True)
    print((step.out + step.err).strip(), flush=True)
    if required and step.return_code != 0:
        raise UserError(f"offline install failed with code {step.return_code}, see above: is the pack for this Python?")
