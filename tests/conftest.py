"""What several tests share: real data, a tiny competition, runs made by hand, and the command line."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forked import PATIENCE, ForkServer

from imettk.synthetic.digits import DigitsSize, make_digits

# Tests share the cores with each other, and threads of torch that wait for each other spin: a step of oneDNN's in
# bfloat16 takes ten times longer where one of two threads has no core, whatever the wait policy is. One thread is the
# fastest for networks as small as these; OMP_NUM_THREADS=2 runs all with two.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Tests tell nobody: neither these, nor a file with a developer's own, are taken by what they start.
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="imettk-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CONFIG_HOME"], ignore_errors=True)
# No file of a test outlives the machine, and a busy disk takes its time to promise that. `test_files.py` sees to it
# that it is asked; what runs in processes of its own does ask.
os.fsync = lambda file: None
for name in [name for name in os.environ if name.startswith("IMETTK_TELEGRAM_")]:
    del os.environ[name]

pytest_plugins = ["kaggle_fixtures"]  # for commands and for the platform's own wing alike
PROJECT = Path(__file__).resolve().parents[1]
# Begun first, in this order, so that no process is left alone with one at the end.
LONG = (
    "test_whole_chain.py", "test_kernels.py", "test_combinations.py", "test_demo.py", "test_exact_resume.py",
    "test_bench.py", "test_train.py", "test_units_story.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where files are shared between processes, the order is the one in which they are begun."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


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


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    """Processes that need not import torch and the rest first, which takes seconds."""
    with ForkServer() as server:
        yield server


Imettk = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def imettk(forks: ForkServer) -> Imettk:
    """Run the command line in a process of its own; `code` is the exit code that it must have.

    The process is forked, if it is not asked to be `real`: for what is about the start itself.
    """

    def run(
        *arguments: object, code: int = 0, real: bool = False, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "imettk", *map(str, arguments)]
        if real:
            done = subprocess.run(
                words, capture_output=True, text=True, env=os.environ | environment, timeout=PATIENCE, check=False
            )
        else:
            process = forks.start(arguments, environment=environment)
            done = subprocess.CompletedProcess(words, process.wait(PATIENCE), process.stdout, process.stderr)
        assert done.returncode == code, f"{arguments}: code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs: making its tables takes MLflow seconds, most of them to wait for the disk."""
    from sqlalchemy import Engine, event

    from imettk.tracking.ledger import open_ledger

    # From here on in this process: no store of a test has to outlive the machine.
    @event.listens_for(Engine, "connect")
    def hurry(connection: sqlite3.Connection, _: object) -> None:
        with contextlib.suppress(sqlite3.DatabaseError):  # one that is damaged is for the command to find
            connection.execute("PRAGMA synchronous = OFF")

    folder = tmp_path_factory.mktemp("log") / "store"
    with open_ledger(folder):
        pass
    return folder


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Path:
    """A copy of that, to fill."""
    return Path(shutil.copytree(empty_store, tmp_path / "store"))


@pytest.fixture(scope="session")
def reported_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder made by hand and its report, only read."""
    from report_runs import make_run

    from imettk.tracking.report import write_report

    folder = make_run(tmp_path_factory.mktemp("report") / "run")
    assert write_report([folder], folder / "report.html") == []
    return folder


@pytest.fixture
def own_report(reported_run: Path, tmp_path: Path) -> Path:
    """A copy of that, to change."""
    return Path(shutil.copytree(reported_run, tmp_path / "own"))


def _leave_undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    from imettk.pictures import charts

    monkeypatch.setattr(charts, "to_svg", lambda figure, legend_of, **how: "<svg></svg>")


@pytest.fixture
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts are filled and not drawn, which takes most of the time."""
    _leave_undrawn(monkeypatch)


@pytest.fixture(scope="module")
def no_charts_here() -> Iterator[None]:
    """The same for all of a file, with what its tests share: of one that looks at no report."""
    with pytest.MonkeyPatch.context() as patch:
        _leave_undrawn(patch)
        yield
