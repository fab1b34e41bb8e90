"""setup.py: one version, and every library that the package imports."""

import ast
import re
import subprocess
import sys

import pytest
from places import PROJECT
from tiny import run

import imettk

# Imported name -> the distribution that provides it, where these differ.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "sklearn": "scikit-learn",
    "delegator": "delegator.py",
    "telegram": "python-telegram-bot",
    "warmup_scheduler": "warmup-scheduler",
}
PLATFORM_ONLY = {"kaggle_secrets"}  # Kaggle's own images have it, and no index does


def imported_libraries() -> dict[str, str]:
    """Return each third-party library that the package imports, also inside functions, with the first place."""
    places: dict[str, str] = {}
    for path in sorted((PROJECT / "imettk").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for library in {name.partition(".")[0] for name in names}:
                places.setdefault(library, f"{path.relative_to(PROJECT)}:{node.lineno}")
    ours = {"imettk", *sys.stdlib_module_names, *PLATFORM_ONLY}
    return {library: place for library, place in places.items() if library not in ours}


def test_every_imported_library_is_declared_in_setup_or_an_extra_for_users():
    text = (PROJECT / "setup.py").read_text().partition('"test":')[0]
    declared = {name.lower() for name in re.findall(r'"([A-Za-z][\w.-]*)(?:[<>=]=?[\w.]+)?"', text)}
    undeclared = [
        f"{place}: {library}"
        for library, place in imported_libraries().items()
        if DISTRIBUTIONS.get(library, library).lower() not in declared
    ]
    assert not undeclared, "imported, but not declared in setup.py:\n" + "\n".join(undeclared)


def test_setup_takes_the_version_from_the_package():
    pytest.importorskip("setuptools", reason="a virtual environment of Python 3.12 need not have it")
    script = [sys.executable, "setup.py", "--version"]
    done = subprocess.run(script, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == imettk.__version__


def test_the_command_prints_its_version(capsys):
    with pytest.raises(SystemExit) as ending:
        run("--version")
    assert ending.value.code == 0 and capsys.readouterr().out == f"imettk {imettk.__version__}\n"
