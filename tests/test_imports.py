"""The import table of the wings; and importing the package sets nothing up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "imettk"

BASE = {"config", "device", "errors", "extras", "files", "metrics", "pictures", "progress", "tasks"}
BASE |= {"threads", "memory"}
MIDDLE = {"losses", "models", "data", "tracking", "postprocess"}
ENGINES = {"training", "inference"}
ALLOWED = {
    **{name: {"errors"} for name in BASE},
    "config": {"errors", "extras", "metrics", "progress", "tasks"},
    "pictures": {"errors", "files"},
    "extras": set(),
    "files": set(),
    "threads": set(),
    "memory": set(),
    **{name: BASE for name in MIDDLE},
    **{name: BASE | MIDDLE for name in ENGINES},
    "kaggle": BASE | {"tracking"},
    "recipes": {"config", "errors"},
    "starter": BASE | {"data"},
    "synthetic": BASE | {"data"},
    "experiment": BASE | MIDDLE | ENGINES,
    "evaluation": BASE | MIDDLE | ENGINES | {"experiment"},
    "commands": BASE | MIDDLE | ENGINES | {"evaluation", "experiment", "starter", "synthetic"},
    "cli": BASE | {"commands", "kaggle", "models", "recipes", "starter", "synthetic", "tracking"},
    "notebook": BASE | {"commands", "evaluation", "recipes", "tracking", "__main__"},
    "__main__": {"cli", "memory", "threads"},
    "__init__": {"config", "notebook"},
}


def imported_wings(path: Path) -> set[str]:
    """Return the wings of imettk that a module imports, also inside functions and for types."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return {name.split(".")[1] for name in names if name.startswith("imettk.")}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    wing = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert imported_wings(path) <= ALLOWED[wing] | {wing}


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_loads_nothing():
    assert not loaded_after("import imettk") & {"torch", "timm", "numpy", "pandas", "pydantic"}


def test_the_command_line_loads_nothing_heavy():
    assert not loaded_after("import imettk.cli.main") & {
        "torch",
        "timm",
        "numpy",
        "pandas",
        "tyro",
        "albumentations",
        "sklearn",
    }


def test_prepare_needs_no_torch():
    assert not loaded_after("import imettk.commands.prepare") & {"torch", "timm", "albumentations"}
