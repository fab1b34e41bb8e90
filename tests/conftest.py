"""Shared fixtures: a tiny competition, hand-made runs, and the command line."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
from forked import PATIENCE, ForkServer

from imettk.synthetic.digits import DigitsSize, make_digits

# Tests share the cores with each other, and threads of torch that wait for each other spin: a step of oneDNN's in
# bfloat16 takes ten times longer where one of two threads has no core, whatever the wait policy is. One thread is the
# fastest for networks as small as these; OMP_NUM_THREADS=2 runs all with two.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Tests send no messages: commands must find neither a developer's file of credentials nor the variables below.
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="imettk-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CONFIG_HOME"], ignore_errors=True)
# No file of a test has to survive a crash of the machine, and fsync is slow on a busy disk. `test_files.py` checks that
# it is called; separate processes do call it.
os.fsync = lambda file: None
for name in [name for name in os.environ if name.startswith("IMETTK_TELEGRAM_")]:
    del os.environ[name]

# Importing torch and the rest makes a million objects, and looking for garbage among them takes a third of the time of
# collection; then they are set aside for good.
gc.disable()

pytest_plugins = ["kaggle_fixtures"]  # for commands and for the platform's own wing alike
PROJECT = Path(__file__).resolve().parents[1]
# Begun first, in this order, so that no process is left alone with one at the end.
LONG = (
    "test_bench.py", "test_kernels.py", "test_combinations.py", "test_demo.py", "test_exact_resume.py",
    "test_whole_chain.py", "test_sizes_story.py", "test_local.py", "test_train.py", "test_label_forms.py",
    "test_report_browser.py", "test_example_competitions.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first: processes that share the files take them in this order."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Start the garbage collector after collection, without the imported objects."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def digits_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a competition of 72 + 24 small sheets in `data`, with test answers in `answers.csv`; read-only."""
    folder = tmp_path_factory.mktemp("digits")
    size = DigitsSize(train_sheets=72, test_sheets=24, sheet_pixels=32)
    make_digits(folder / "data", folder / "answers.csv", size=size)
    return folder


@pytest.fixture
def own_data(digits_data: Path, tmp_path: Path) -> Path:
    """Copy that competition's folder, for a test that damages it."""
    return Path(shutil.copytree(digits_data / "data", tmp_path / "data"))


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    """Give a server that forks processes in which torch and the rest are already imported."""
    with ForkServer() as server:
        yield server


Imettk = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def imettk(forks: ForkServer) -> Imettk:
    """Run the command line in a separate process and require the exit code `code`.

    The process is forked unless `real` is set, which is for tests of the start itself.
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
    """Make a store without runs, once: MLflow takes seconds to create its tables."""
    from sqlalchemy import Engine, event

    from imettk.tracking.ledger import open_ledger

    # From here on in this process: no store of a test has to outlive the machine.
    @event.listens_for(Engine, "connect")
    def hurry(connection: sqlite3.Connection, _: object) -> None:
        with contextlib.suppress(sqlite3.DatabaseError):  # the command has to find a damaged one itself
            connection.execute("PRAGMA synchronous = OFF")

    folder = tmp_path_factory.mktemp("log") / "store"
    with open_ledger(folder):
        pass
    return folder


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Path:
    """Copy the empty store, for a test that fills it."""
    return Path(shutil.copytree(empty_store, tmp_path / "store"))


@pytest.fixture(scope="session")
def reported_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a run folder by hand, and its report; read-only."""
    from report_runs import make_run

    from imettk.tracking.report import write_report

    folder = make_run(tmp_path_factory.mktemp("report") / "run")
    assert write_report([folder], folder / "report.html") == []
    return folder


@pytest.fixture
def own_report(reported_run: Path, tmp_path: Path) -> Path:
    """Copy that run folder, for a test that changes it."""
    return Path(shutil.copytree(reported_run, tmp_path / "own"))


def _leave_undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure
    from PIL import Image

    from imettk.pictures import charts

    def save_blank(figure: Figure, file: Path | IO[bytes], **how: object) -> None:
        Image.new("RGB", (1, 1)).save(file, "PNG")

    monkeypatch.setattr(charts, "to_svg", lambda figure, legend_of, **how: "<svg></svg>")
    monkeypatch.setattr(Figure, "savefig", save_blank)


@pytest.fixture
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill charts without drawing them: drawing takes most of the time."""
    _leave_undrawn(monkeypatch)


@pytest.fixture(scope="module")
def no_charts_here() -> Iterator[None]:
    """Do the same for a whole file and its module fixtures, if it looks at no report."""
    with pytest.MonkeyPatch.context() as patch:
        _leave_undrawn(patch)
        yield
