"""Fixtures: Kaggle in a box, an account on it, and a Python that has to find imettk in the pack."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forked import ForkServer
from kaggle_box import Job, KaggleBox, fast_patience
from pretended import new_chain, pretend
from typed_chains import LOG, MINE
from warm_python import open_warm_python

import imettk
from imettk.errors import UserError
from imettk.kaggle import client, jobs
from imettk.kaggle import pack as packing
from imettk.kaggle.chain import Follower
from imettk.kaggle.client import Kaggle
from imettk.kaggle.pack import PackOrder, make_pack
from imettk.tracking import telegram


@pytest.fixture
def make_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., KaggleBox]]:
    """A function that opens a box, which the client of this process uses from then on."""
    boxes = []

    def make(run_kernel: Callable[[Job], str] = lambda job: "COMPLETE") -> KaggleBox:
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        monkeypatch.delenv("KAGGLE_API_TOKEN", raising=False)  # a developer may have one
        box = KaggleBox(tmp_path / "box", run_kernel=run_kernel)
        boxes.append(box.__enter__())
        for name, value in box.environment(home).items():
            monkeypatch.setenv(name, value)
        return box

    yield make
    for box in boxes:
        box.__exit__()


@pytest.fixture(scope="session")
def zip_again(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, Path], dict[str, str]]:
    """A function that zips the package for a pack by copying one zip, since all tests have the same sources."""
    zipped = tmp_path_factory.mktemp("package") / packing.PACKAGE
    digests = packing._zip_package(Path(imettk.__file__).parent, zipped)

    def zip_package(package: Path, path: Path) -> dict[str, str]:
        shutil.copyfile(zipped, path)
        return digests

    return zip_package


@pytest.fixture
def open_cells(make_box, zip_again, tmp_path, monkeypatch) -> Callable[..., KaggleBox]:
    """A function that opens a box with the competition `cells`, for commands typed in the test's own folder."""
    monkeypatch.setattr(client, "Patience", fast_patience)
    monkeypatch.setattr(packing, "_build_wheels", lambda out, names: None)
    monkeypatch.setattr(packing, "_zip_package", zip_again)
    monkeypatch.chdir(tmp_path)

    def make(*run_kernel: Callable[[Job], str]) -> KaggleBox:
        box = make_box(*run_kernel)
        (tmp_path / "data").mkdir()
        box.add_competition("cells", tmp_path / "data", lambda path: (0.75, 0.5))
        return box

    return make


@pytest.fixture
def kaggle(make_box) -> tuple[KaggleBox, Kaggle]:
    """Open a box whose sessions end at once, and an account."""
    return make_box(), Kaggle(fast_patience())


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the libraries of this one but without imettk, which has to come from the pack."""
    folder = tmp_path_factory.mktemp("python")
    venv.create(folder, with_pip=False, symlinks=True)
    interpreter = folder / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # A path in a .pth file is added to sys.path, but .pth files in it (imettk's editable install) are not read.
    # And its collector may rest: among the objects of imports it looks for garbage a fourth of the time.
    rare = "import gc; gc.set_threshold(100_000, 50, 100)\n"
    site = folder / "lib" / version / "site-packages"
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n" + rare)
    probe = [interpreter, "-c", "from importlib.util import find_spec; assert find_spec('torch'); import imettk"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # as in a session
    missing = subprocess.run(probe, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    assert "No module named 'imettk'" in missing.stderr
    return interpreter


@pytest.fixture(scope="session")
def warm_python(forks: ForkServer) -> Iterator[Path]:
    """Give an interpreter that is as `python`, with its imports already done; for sessions that are not isolated."""
    with open_warm_python(forks) as interpreter:
        yield interpreter


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack with its wheels, which needs the package index."""
    folder = tmp_path_factory.mktemp("pack") / "pack"
    try:
        make_pack(folder, PackOrder(), owner="me")
    except UserError as error:
        if "could not be built" in str(error) and "CI" not in os.environ:
            pytest.skip(f"no package index here: {error}")
        raise
    return folder


@pytest.fixture
def begin(make_box, tmp_path, monkeypatch) -> Callable[..., tuple[KaggleBox, Follower]]:
    """A function that makes a box with some sessions, and a follower of a new chain."""
    monkeypatch.setattr(jobs, "LOST_SECONDS", -1.0)  # only the number of looks counts

    def make(run: Callable[[Job], str] = pretend, **settings) -> tuple[KaggleBox, Follower]:
        box = make_box(run)
        box.add_dataset("me/imettk-pack", tmp_path)
        box.add_competition("cells", tmp_path, lambda path: (1.0, 1.0))
        return box, Follower(Kaggle(fast_patience()), new_chain(**settings), tmp_path / "run")

    return make


@pytest.fixture
def messages(monkeypatch) -> list[str]:
    """The messages that would go to Telegram."""
    messages: list[str] = []
    monkeypatch.setattr(telegram.Notifier, "send", lambda self, make: messages.append(make().text))
    return messages


@pytest.fixture
def chain_box(open_cells, monkeypatch, messages, empty_store) -> KaggleBox:
    """A box with pretended sessions, for a chain of a recipe in the test's own folder, with an empty log."""
    monkeypatch.setattr(jobs, "LOST_SECONDS", -1.0)
    Path("mine.py").write_text(MINE.format(name="cells"))
    shutil.copytree(empty_store, LOG)
    return open_cells(pretend)


@pytest.fixture
def cells_box(open_cells) -> KaggleBox:
    """Open a box with the competition `cells`, whose sessions end at once."""
    return open_cells()
