"""`imettk doctor`: what this machine can do, what is missing, and what to do next."""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from imettk import __version__
from imettk.cli.installed import PACKAGES, PURPOSES, broken_packages, missing_by_extra, repair_command, version_of
from imettk.cli.machine import free_space, memory, usable_cores
from imettk.cli.next_steps import START, say_next
from imettk.errors import DeviceError, UserError
from imettk.extras import install_command
from imettk.progress import say

if TYPE_CHECKING:
    import torch

WIDTH, INDENT = 100, 11
STAYS = "\N{NO-BREAK SPACE}"  # printed as a space at which no line ends
SMALL_SHARED = 1e9  # bytes of /dev/shm, through which loader processes hand over their batches
GIB = 2**30
NEEDED_BY_DEVICES = {"torch", "numpy", "opencv-python-headless"}  # distributions
DEVICES = Path("/dev")  # has a file for each GPU that this container may use
HIDDEN = "CUDA_VISIBLE_DEVICES"  # environment


def doctor(*, telegram: bool = False, kaggle: bool = False) -> int:
    """Print what this machine can do, and return 0 if everything works, otherwise 2.

    Args:
        telegram: also send a test message.
        kaggle: also sign in to Kaggle, and ask for the GPU hours that are left.

    Raises:
        UserError: the message cannot be sent, or Kaggle does not accept the credentials.
        PlatformError: Kaggle does not answer.
    """
    broken = broken_packages()
    trains_on, unusable = ("", []) if broken.keys() & NEEDED_BY_DEVICES else _devices()
    _memory_and_disk()
    has_credentials = _kaggle(sign_in=kaggle)
    _telegram(send=telegram)
    lacking = [] if "packaging" in broken else _extras()
    _packages(broken)
    say("")
    if broken or unusable:
        advice = f"; try `{repair_command(broken)}`" if broken else ", see above"
        say(f"missing or broken: {', '.join([*broken, *unusable])}{advice}")
        return 2
    if trains_on:
        say(f"everything works: train here, {trains_on}")
        say_next(f"{START}; `imettk demo` plays one")
        return 0
    say("everything works; no GPU: train on Kaggle (`imettk train RECIPE --dry-run` tells the time here)")
    first = "imettk kaggle preflight RECIPE --competition SLUG" if has_credentials else "kaggle auth login"
    say_next(install_command("kaggle") if "kaggle" in lacking else first)
    return 0


def _line(name: str, text: str) -> None:
    """Print a line of the table, with what is too long for it below its second column."""
    for line in textwrap.wrap(text, WIDTH - INDENT, break_long_words=False, break_on_hyphens=False):
        say(f"{name:<{INDENT}}{line}".replace(STAYS, " "))
        name = ""


def _packages(broken: Mapping[str, str]) -> None:
    """Print the versions of the required packages, and why some of them cannot be imported."""
    own = [f"imettk{STAYS}{__version__}", f"Python{STAYS}{platform.python_version()}", platform.platform()]
    _line("packages", ", ".join([*own, *(f"{package}{STAYS}{version_of(package) or '-'}" for package in PACKAGES)]))
    for package, fault in broken.items():
        _line("", f"FAULT: {package}: {fault}")


def _devices() -> tuple[str, list[str]]:
    """Print CPU and GPUs; return what a training here takes, "" without a GPU, and the GPUs that cannot be used."""
    import torch

    from imettk.device import choose_device

    _cpu(torch.device("cpu"))
    usable, faults = [], []
    for index in range(max(1, torch.cuda.device_count())):
        name = f"gpu {index}"
        try:
            device = choose_device("auto", index)
            if device.type == "cuda":
                usable.append(_gpu(name, device))
        # A RuntimeError if its driver fails, or if another process holds it alone.
        except (DeviceError, RuntimeError) as error:
            _line(name, f"FAULT: {str(error).partition(chr(10))[0]}")
            faults.append(name)
    if torch.cuda.is_available():
        kind = f"ROCm {torch.version.hip}" if torch.version.hip else f"CUDA {torch.version.cuda}"
        _line("cuda", f"torch {torch.__version__} is built for {kind}")
    elif not faults:
        faults += _missing_gpu(torch.__version__)
    number = len(usable)
    return (f"{usable[0]} on {number} GPU{'s' if number > 1 else ''}" if usable else ""), faults


def _cpu(cpu: torch.device) -> None:
    """Print cores, threads and precisions of the CPU."""
    import torch

    cores, threads = usable_cores(), torch.get_num_threads()
    kind = torch.backends.cpu.get_cpu_capability()
    taken = f"{threads} thread{'' if threads == 1 else 's'}"
    _line("cpu", f"{cores:g} of {os.cpu_count()} cores, {kind}; torch takes {taken}; {_precisions(cpu)}")
    if threads > cores:
        _line("", f"note: more threads than cores make every step slower: set OMP_NUM_THREADS={max(1, int(cores))}")


def _gpu(name: str, device: torch.device) -> str:
    """Print a GPU, the current one, and return the precision in which it trains."""
    import torch

    free, total = torch.cuda.mem_get_info()
    major, minor = torch.cuda.get_device_capability()
    _line(
        name,
        f"{torch.cuda.get_device_name()}, {free / GIB:.1f} of {total / GIB:.1f} GiB free, capability "
        f"{major}.{minor}; {_precisions(device)}",
    )
    return _chosen_precision(device)


def _precisions(device: torch.device) -> str:
    """Return the precisions that a device has, and the one that a training takes by itself."""
    from imettk.device import fast_precisions

    return f"has {', '.join(fast_precisions(device))}; trains in {_chosen_precision(device)}"


def _chosen_precision(device: torch.device) -> str:
    from imettk.device import choose_precision

    return str(choose_precision("auto", device)).removeprefix("torch.")


def _missing_gpu(torch_version: str) -> list[str]:
    """Print why there is no GPU, and return it as a fault if the machine has one that torch does not see."""
    if not any(DEVICES.glob("nvidia[0-9]*")):
        _line("gpu", "none")
        return []
    if HIDDEN in os.environ:
        _line("gpu", f"none, as {HIDDEN} is {os.environ[HIDDEN]!r}")
        return []
    _line(
        "gpu", f"FAULT: /dev has a GPU, and torch {torch_version} sees none: is it a build for CPUs, or the driver old?"
    )
    return ["gpu"]


def _memory_and_disk() -> None:
    """Print what is free of memory, disk and shared memory."""
    if (found := memory()) is not None:
        free = "" if found.free is None else f"{found.free / GIB:.1f} of "
        _line("memory", f"{free}{found.total / GIB:.1f} GiB{' free' if free else ''}")
    space, shared = free_space("."), free_space("/dev/shm")
    parts = [f"{space / 1e9:.1f} GB free here"] if space is not None else []
    parts += [f"{shared / 1e9:.1f} GB in /dev/shm, for loader processes"] if shared is not None else []
    _line("disk", "; ".join(parts))
    if shared is not None and shared < SMALL_SHARED:
        _line("", "note: loaders need more /dev/shm: docker run --shm-size 2g, or --session.num-workers 0")


def _extras() -> list[str]:
    """Print which extras are installed, and return the others."""
    missing = missing_by_extra()
    for number, (extra, libraries) in enumerate(missing.items()):
        state = "missing" if libraries else "installed"
        lacks = f" (lacks {', '.join(libraries)})" if libraries else ""
        _line("" if number else "extras", f"{extra:<9}{state:<11}{PURPOSES[extra]}{lacks}")
    lacking = [extra for extra, libraries in missing.items() if libraries]
    if lacking:
        _line("", f"to add {lacking[0]}: {install_command(lacking[0])}")
    return lacking


def _kaggle(*, sign_in: bool) -> bool:
    """Print the credentials that `imettk kaggle` would use, and return whether there are any; sign in if asked to."""
    from imettk.kaggle.credentials import find_credentials

    try:
        credentials = find_credentials()
    except UserError as error:
        if sign_in:
            raise
        _line("kaggle", str(error))
        return False
    owner = f", {credentials.username}'s" if credentials.username else ""
    hint = "" if sign_in else "; `imettk doctor --kaggle` shows the GPU hours left"
    _line("kaggle", f"{credentials}{owner}{hint}")
    if sign_in:
        from imettk.kaggle.client import Kaggle
        from imettk.kaggle.sessions import read_quota
        from imettk.kaggle.watch import hours_line

        account = Kaggle()
        quota = read_quota(account)  # Kaggle checks a key only when it gets a call
        _line("kaggle", f"signed in as {account.username}" + (f"; {hours_line(quota)}" if quota else ""))
    return True


def _telegram(*, send: bool) -> None:
    """Print whether messages are set up; send one if asked to."""
    from imettk.tracking.telegram import PREFIX, find_credentials, send_test

    try:
        credentials = find_credentials()
    except UserError as error:
        if send:
            raise
        _line("telegram", str(error))
        return
    if not send:
        text = "not set up; `imettk doctor --telegram` says how"
        _line("telegram", text if credentials is None else "set up; `imettk doctor --telegram` sends a test message")
        return
    if credentials is None:
        raise UserError(
            f"no Telegram credentials: set {PREFIX}TOKEN (from @BotFather) and {PREFIX}CHAT, or write "
            '{"token": ..., "chat": ...} into ~/.config/imettk/telegram.json with mode 600'
        )
    send_test(credentials)
    _line("telegram", "a message has been sent")
