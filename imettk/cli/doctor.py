"""`imettk doctor`: versions, hardware and credentials on this machine, and what is missing."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import warnings
from importlib.metadata import PackageNotFoundError, version

PACKAGES = {  # module by distribution
    "torch": "torch",
    "timm": "timm",
    "pretrainedmodels": "pretrainedmodels",
    "albumentations": "albumentations",
    "opencv-python-headless": "cv2",
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "safetensors": "safetensors",
    "tqdm": "tqdm",
    "tyro": "tyro",
    "pydantic": "pydantic",
    "pillow": "PIL",
    "warmup-scheduler": "warmup_scheduler",
    "delegator.py": "delegator",
    "python-telegram-bot": "telegram",
    "packaging": "packaging",
    "huggingface_hub": "huggingface_hub",
    "six": "six",
    "munch": "munch",
    "scipy": "scipy",
    "matplotlib": "matplotlib",
    "jinja2": "jinja2",
    "tensorboard": "tensorboard",
}


def doctor(*, telegram: bool = False, kaggle: bool = False) -> int:
    """Print versions, cores, disk and devices; return 0 if everything works, otherwise 2.

    Args:
        telegram: also send a test message.
        kaggle: also sign in to Kaggle.

    Raises:
        UserError: the message cannot be sent, or Kaggle does not accept the credentials.
        PlatformError: Kaggle does not answer.
    """
    from imettk.progress import say

    faults = []
    say(f"python     {platform.python_version()}, {platform.platform()}")
    say(f"machine    {os.cpu_count()} cores, {_memory()}, {shutil.disk_usage('.').free / 1e9:.1f} GB free here")
    for package, module in PACKAGES.items():
        fault = _import_fault(module)
        say(f"{package:<26} {_version(package)}" + (f"   FAULT: {fault}" if fault else ""))
        if fault:
            faults.append(package)
    if "torch" not in faults:
        faults += _devices(say)
    _kaggle(say, sign_in=kaggle)
    if telegram:
        _telegram(say)
    say("everything works" if not faults else f"missing or broken: {', '.join(faults)}; try `pip install -e .` again")
    return 2 if faults else 0


def _kaggle(say, *, sign_in: bool) -> None:  # type: ignore[no-untyped-def]
    """Name the credentials that `imettk kaggle` would use; call the server only to sign in."""
    from imettk.errors import UserError
    from imettk.kaggle.credentials import find_credentials

    try:
        credentials = find_credentials()
        say(f"kaggle     {credentials}" + (f", {credentials.username}'s" if credentials.username else ""))
    except UserError as error:
        if sign_in:
            raise
        say(f"kaggle     {error}")
    if sign_in:
        from imettk.kaggle.client import Kaggle
        from imettk.kaggle.sessions import read_quota
        from imettk.kaggle.watch import hours_line

        account = Kaggle()
        quota = read_quota(account)  # Kaggle checks a key only when it gets a call
        say(f"kaggle     signed in as {account.username}" + (f"; {hours_line(quota)}" if quota else ""))


def _telegram(say) -> None:  # type: ignore[no-untyped-def]
    """Send a test message."""
    from imettk.errors import UserError
    from imettk.tracking.telegram import PREFIX, find_credentials, send_test

    credentials = find_credentials()
    if credentials is None:
        raise UserError(
            f"no Telegram credentials: set {PREFIX}TOKEN (from @BotFather) and {PREFIX}CHAT, or write "
            '{"token": ..., "chat": ...} into ~/.config/imettk/telegram.json with mode 600'
        )
    send_test(credentials)
    say("telegram   a message has been sent")


def _devices(say) -> list[str]:  # type: ignore[no-untyped-def]
    """Print CPU and GPUs, and return the faults."""
    import torch

    from imettk.device import choose_precision, unsupported_gpu

    cpu = torch.device("cpu")
    say(f"cpu        {torch.get_num_threads()} threads, precision {choose_precision('auto', cpu)}")
    if not torch.cuda.is_available():
        say("gpu        none")
        return []
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        say(f"gpu {index}      {torch.cuda.get_device_name(index)}, {memory:.0f} GiB")
    fault = unsupported_gpu()
    say(f"           {fault}" if fault else f"           precision {choose_precision('auto', torch.device('cuda'))}")
    return ["a GPU that this torch can use"] if fault else []


def _import_fault(module: str) -> str | None:
    """Return why a module cannot be imported, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(module)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _version(package: str) -> str:
    """Return the installed version of a distribution, or a dash."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"


def _memory() -> str:
    """Return the size of the machine's memory, in words."""
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB memory"
    except (ValueError, OSError):
        return "memory unknown"
