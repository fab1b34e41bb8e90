"""What several tests share: where the project and its real data are, a tiny competition, and the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from imettk.data.made import DigitsSize, make_digits

# Idle threads of torch sleep instead of spinning: beside subprocesses on two shared cores that is several times faster.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Tests tell nobody: neither these, nor a file with a developer's own, are taken by what they start.
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="imettk-tests-")
for name in [name for name in os.environ if name.startswith("IMETTK_TELEGRAM_")]:
    del os.environ[name]

PROJECT = Path(__file__).resolve().parents[1]
LONG = ("test_demo.py", "test_whole_chain.py", "test_exact_resume.py")  # begun first, so that no process ends alone


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where files are shared between processes, the order is the one in which they are begun."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="session")
def digits_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a competition of 72 + 24 small sheets in `data`, test answers in `answers.csv`; only read."""
    folder = tmp_path_factory.mktemp("digits")
    size = DigitsSize(train_sheets=72, test_sheets=24, sheet_pixels=32)
    make_digits(folder / "data", folder / "answers.csv", size=size)
    return folder


@pytest.fixture
def own_data(digits_data: Path, tmp_path: Path) -> Path:
    """A copy of that competition's folder, to damage."""
    return Path(shutil.copytree(digits_data / "data", tmp_path / "data"))


Imettk = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def imettk() -> Imettk:
    """Run the command line in a process of its own; `code` is the exit code that it must have."""

    def run(*arguments: object, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "imettk", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=os.environ | environment,
            timeout=600,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run
