"""Fixtures of several tests of the platform."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from kaggle_box import KaggleBox
from typed_preflights import preflight

from imettk.kaggle import credentials


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder in place of `/kaggle`."""
    (tmp_path / "kaggle" / "working").mkdir(parents=True)
    return tmp_path / "kaggle"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder in which a pack is made."""
    return tmp_path / "runs" / "pack"


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A recipe of the user's own."""
    (tmp_path / "mine.py").write_text("from imettk.recipes.digits import digits as recipe\n")
    return str(tmp_path / "mine.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that becomes a dataset."""
    folder = tmp_path / "upload"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"abc" * 50_000)
    (folder / "empty.txt").write_bytes(b"")
    metadata = {"title": "imettk pack", "id": "me/imettk-pack", "licenses": [{"name": "MIT"}]}
    (folder / "dataset-metadata.json").write_text(json.dumps(metadata))
    return folder


@pytest.fixture
def preflight_box(open_cells) -> KaggleBox:
    """A box whose sessions leave the output of a preflight."""
    return open_cells(preflight)


@pytest.fixture
def sign_in_box(make_box, tmp_path, monkeypatch, capsys) -> Iterator[KaggleBox]:
    """A server that knows users, on a machine without credentials; its secrets must never be printed."""
    box = make_box()
    box.add_dataset("me/x", tmp_path)
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr(credentials, "_reported", set())
    yield box
    printed = "".join(capsys.readouterr())
    assert not [secret for secret in box.secrets() if secret in printed]


@pytest.fixture
def home(sign_in_box) -> Path:
    """The official client's own folder."""
    folder = Path(os.environ["HOME"], ".kaggle")
    folder.mkdir()
    return folder


@pytest.fixture
def config(sign_in_box) -> Path:
    """The folder that `KAGGLE_CONFIG_DIR` names."""
    folder = Path(os.environ["KAGGLE_CONFIG_DIR"])
    folder.mkdir()
    return folder
