"""What several tests of the platform share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kaggle_box import KaggleBox
from typed_preflights import preflight


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder in which a session finds everything."""
    (tmp_path / "kaggle" / "working").mkdir(parents=True)
    return tmp_path / "kaggle"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where a pack is made."""
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
    """A box whose sessions leave what a preflight does."""
    return open_cells(preflight)
