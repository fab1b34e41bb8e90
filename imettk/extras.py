"""The libraries of imettk and of its extras, as the installed package declares them."""

from __future__ import annotations

import shlex
from importlib import metadata


def requirements(extra: str = "") -> list[str]:
    """Return the requirements of imettk, or those that one of its extras adds, in the order of setup.py.

    The list is empty for an unknown extra.

    Raises:
        PackageNotFoundError: imettk is not installed: it runs from its sources, as in a kernel.
    """
    lines = [line.split(";") for line in metadata.requires("imettk") or []]
    marked = [(line, "".join(marker).replace("'", '"').replace(" ", "")) for line, *marker in lines]
    return [line.strip() for line, marker in marked if marker == (f'extra=="{extra}"' if extra else "")]


def install_command(extra: str) -> str:
    """Return the command that installs the libraries of an extra.

    It names them: `imettk[extra]` would need a package index that has imettk.
    """
    return f"pip install {shlex.join(requirements(extra))}"


def how_to_install(extra: str, library: str) -> str:
    """Return the command that installs a missing library with the others of its extra, for the end of a message."""
    try:
        known = requirements(extra)
    except metadata.PackageNotFoundError:
        return f"pip install {library}, or where there is no network give its wheel to `imettk kaggle pack` with --add"
    return f"{install_command(extra)} (the extra `{extra}` of imettk)" if known else f"pip install {library}"
