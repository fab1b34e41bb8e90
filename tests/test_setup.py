"""setup.py: what is built, one version, and every library that the package imports."""

import ast
import email
import email.policy
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

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
REPOSITORY = "https://example.org/imettk"
# Kaggle's own images have the first, and no index does; the other is imported where a notebook has loaded it.
PLATFORM_ONLY = {"kaggle_secrets", "IPython"}


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


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """Build sdist and wheel from a copy of the checkout, as if the repository were published."""
    checkout, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    for path in (path for path in PROJECT.iterdir() if path.is_file()):
        shutil.copyfile(path, checkout / path.name)
    for folder in ("imettk", "kernels"):
        shutil.copytree(PROJECT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "tests").mkdir()
    shutil.copyfile(__file__, checkout / "tests" / "test_setup.py")  # setuptools would take it by itself
    setup = checkout / "setup.py"
    text, count = re.subn(r'^REPOSITORY = ".*"$', f'REPOSITORY = "{REPOSITORY}"', setup.read_text(), flags=re.M)
    assert count == 1
    setup.write_text(text)
    build = f"from setuptools import build_meta as b; b.build_sdist({str(out)!r}); b.build_wheel({str(out)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=checkout, capture_output=True, check=True)
    return out


def test_the_wheel_has_every_file_of_the_package_and_no_other(dist):
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        packed = {name: wheel.read(name) for name in wheel.namelist() if ".dist-info/" not in name}
    package = [path for path in (PROJECT / "imettk").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert packed == {path.relative_to(PROJECT).as_posix(): path.read_bytes() for path in package}
    assert {"imettk/py.typed", "imettk/tracking/report.html"} < packed.keys()


def test_the_sdist_has_what_builds_the_wheel_and_no_test(dist):
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {member.name.partition("/")[2] for member in sdist if member.isfile()}
    tops = {name.partition("/")[0] for name in names}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "imettk", "pyproject.toml", "setup.py"} <= tops
    assert not tops & {"tests", "kernels", "tools", "examples", "docs"}


def test_the_metadata_describe_the_package(dist):
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        about = email.message_from_bytes(wheel.read(name), policy=email.policy.compat32)
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())
    assert (about["Version"], about["License-Expression"]) == (imettk.__version__, "MIT")
    assert f"Source, {REPOSITORY}" in about.get_all("Project-URL")
    assert f"[Start]({REPOSITORY}/blob/main/docs/start.md)" in about.get_payload()
    assert not re.search(r"\]\((?!https:|#)", about.get_payload())  # relative links lead nowhere on an index's page
    extras = {extra: needed(about, extra) for extra in about.get_all("Provides-Extra")}
    others = {extra: lines for extra, lines in extras.items() if extra not in ("all", "bench", "test")}
    assert {"dicom", "hdf5", "kaggle", "log", "lora"} <= others.keys()
    assert extras["all"] == set().union(*others.values()) < extras["test"]


def needed(about: Message, extra: str) -> set[str]:
    lines = (line.split("; extra == ") for line in about.get_all("Requires-Dist"))
    return {line for line, *marker in lines if marker == [f'"{extra}"']}


def test_the_command_prints_its_version(capsys):
    with pytest.raises(SystemExit) as ending:
        run("--version")
    assert ending.value.code == 0 and capsys.readouterr().out == f"imettk {imettk.__version__}\n"
