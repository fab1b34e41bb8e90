"""Notebooks as the platform stores them: JSON of cells, written and read with the standard library."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

SUFFIX = ".ipynb"
# Version 4.4, which the platform writes too: from 4.5 on, cells need ids.
_VERSION = {"nbformat": 4, "nbformat_minor": 4}
_PYTHON = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def code_cell(text: str) -> dict[str, Any]:
    """Return a cell of code that has not run."""
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": text.strip("\n")}


def markdown_cell(text: str) -> dict[str, Any]:
    """Return a cell of text."""
    return {"cell_type": "markdown", "metadata": {}, "source": text.strip("\n")}


def to_notebook(cells: Sequence[dict[str, Any]], *, gpu: bool = True, machine: str = "", internet: bool = False) -> str:
    """Return a notebook as JSON in ASCII.

    The source of a cell is one string: the format also allows a list of lines, which the platform's server does not.

    Args:
        gpu, machine, internet: settings of the session, which Kaggle's editor reads when the file is imported.
    """
    accelerator = machine[:1].lower() + machine[1:] if gpu and machine else "none"  # `nvidiaTeslaT4` there
    settings = {
        "accelerator": accelerator,
        "dataSources": [],
        "isGpuEnabled": gpu,
        "isInternetEnabled": internet,
        "language": "python",
        "sourceType": "notebook",
    }
    content = {"cells": list(cells), "metadata": {**_PYTHON, "kaggle": settings}, **_VERSION}
    return json.dumps(content, indent=1) + "\n"


def literal(value: Any) -> str:
    """Return a plain value as a Python literal in ASCII; JSON would write a character beyond 16 bits as two halves."""
    if isinstance(value, str):
        letters = (json.dumps(letter)[1:-1] if ord(letter) < 1 << 16 else f"\\U{ord(letter):08x}" for letter in value)
        return f'"{"".join(letters)}"'
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(name)}: {literal(item)}' for name, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def is_notebook(text: str) -> bool:
    """Return whether a kernel's text is a notebook rather than a script."""
    return text.lstrip().startswith("{")


def source_of(text: str) -> str:
    """Return the code of a kernel's text: that of a notebook's cells, in order, or the script itself."""
    try:
        cells = json.loads(text)["cells"] if is_notebook(text) else None
        sources = [cell["source"] for cell in cells or () if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError):
        return text
    return text if cells is None else "\n".join("".join(source) for source in sources)


def setting_in(text: str, name: str) -> str:
    """Return a constant of a kernel's text, such as `PUSH`, if it is a plain string; otherwise ""."""
    match = re.search(rf'^{name} = ("(?:[^"\\\n]|\\.)*")', source_of(text), re.MULTILINE)
    try:
        return str(ast.literal_eval(match[1])) if match else ""
    except (SyntaxError, ValueError):
        return ""
