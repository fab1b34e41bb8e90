"""Libraries of imettk that are installed here, and its extras, as the installed package declares them."""

from __future__ import annotations

import importlib
import re
import shlex
import warnings
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from imettk.extras import requirements

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

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
    "shtab": "shtab",
    "matplotlib": "matplotlib",
    "jinja2": "jinja2",
    "tensorboard": "tensorboard",
}
PURPOSES = {  # of the extras for users; the libraries of each are asked of the installed package
    "kaggle": "everything under `imettk kaggle`",
    "log": "the log of all runs (MLflow)",
    "parquet": "tables in parquet, Feather or Arrow",
    "hdf5": "images in HDF5 files",
    "dicom": "DICOM with all its compressions",
    "tiff": "TIFF that Pillow cannot read correctly",
    "lora": "adapters on large transformers",
    "notebook": "notebooks that `imettk kaggle run-local` executes",
}


def version_of(package: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def broken_packages() -> dict[str, str]:
    """Return the required distributions that cannot be imported, each with the reason."""
    return {package: fault for package, module in PACKAGES.items() if (fault := _import_fault(module))}


def _import_fault(module: str) -> str | None:
    """Return why a module cannot be imported, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(module)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def repair_command(broken: Iterable[str]) -> str:
    """Return the command that installs required distributions again, in versions that imettk takes."""
    try:
        declared = {re.split(r"[^\w.-]", line, maxsplit=1)[0]: line for line in requirements()}
    except PackageNotFoundError:
        declared = {}
    return f"pip install --force-reinstall {shlex.join(declared.get(name, name) for name in broken)}"


def missing_by_extra() -> dict[str, list[str]]:
    """Return, for each extra for users, its libraries that are missing or older than imettk needs.

    Without imettk's own metadata, as when it runs from a pack, nothing is known, and the result is empty.
    """
    from packaging.requirements import Requirement

    missing: dict[str, list[str]] = {}
    for extra in PURPOSES:
        try:
            needed = [Requirement(text) for text in requirements(extra)]
        except PackageNotFoundError:
            return {}
        if needed:  # else an older version of imettk is installed
            missing[extra] = [item.name for item in needed if not _is_met(item.name, item.specifier)]
    return missing


def _is_met(package: str, specifier: SpecifierSet) -> bool:
    """Return whether a distribution is installed in a version that a specifier allows."""
    installed = version_of(package)
    return installed is not None and specifier.contains(installed, prereleases=True)
