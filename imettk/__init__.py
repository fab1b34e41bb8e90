"""Image competitions on free Kaggle sessions: training that continues exactly where the last session stopped.

In a notebook, `open_run` is where to begin. Nothing heavy is imported before a name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imettk.config import Recipe
    from imettk.notebook.predict import predict
    from imettk.notebook.recipes import load_recipe
    from imettk.notebook.run import Run, open_run
    from imettk.notebook.scores import Scores

__version__ = "0.2.0"
__all__ = ["Recipe", "Run", "Scores", "__version__", "load_recipe", "open_run", "predict"]

_MODULES = {  # module by name
    "Recipe": "imettk.config",
    "Run": "imettk.notebook.run",
    "Scores": "imettk.notebook.scores",
    "load_recipe": "imettk.notebook.recipes",
    "open_run": "imettk.notebook.run",
    "predict": "imettk.notebook.predict",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'imettk' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """Return the public names, those that are not imported yet included."""
    return sorted({*globals(), *__all__})
