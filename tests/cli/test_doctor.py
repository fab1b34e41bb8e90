"""`imettk doctor` checks every library that the package needs, and names broken ones."""

import ast
import re
import sys
from importlib.metadata import packages_distributions

from places import PROJECT
from tiny import code_of

from imettk.cli.doctor import PACKAGES


def test_doctor_checks_every_required_library():
    setup = (PROJECT / "setup.py").read_text()
    needed = re.findall(r'^        "([\w.-]+)', setup.split("install_requires")[1].split("extras_require")[0], re.M)
    assert len(needed) > 15 and set(needed) == set(PACKAGES)


def test_every_imported_library_is_declared():
    """A library that only comes with another one may disappear with its next version."""
    modules = set()
    for path in (PROJECT / "imettk").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    modules -= {*sys.stdlib_module_names, "imettk", "kaggle_secrets"}  # the last exists only in Kaggle's notebooks
    declared = {plain(name) for name in re.findall(r'"([\w.-]+)(?:[<>=][^"]*)?"', (PROJECT / "setup.py").read_text())}
    distributions = packages_distributions()
    undeclared = {name for name in modules if not set(map(plain, distributions.get(name, []))) & declared}
    assert not undeclared and len(modules) > 25


def plain(distribution: str) -> str:
    """Return the normalised name of a distribution."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_doctor_finds_everything_working(capfd):
    assert code_of("doctor") == 0
    assert "everything works" in capfd.readouterr().out


def test_doctor_names_broken_libraries(monkeypatch, capsys):
    monkeypatch.setitem(PACKAGES, "nothing-such", "no_such_module")
    assert code_of("doctor") == 2
    assert "missing or broken: nothing-such" in capsys.readouterr().out
