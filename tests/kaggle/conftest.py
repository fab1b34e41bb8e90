"""Kaggle in a box, and an account on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kaggle_box import Job, KaggleBox, fast_patience

from imettk.kaggle.client import Kaggle


@pytest.fixture
def make_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., KaggleBox]]:
    """Opens a box, to which the client of this process talks from then on."""
    boxes = []

    def make(run_kernel: Callable[[Job], str] = lambda job: "COMPLETE") -> KaggleBox:
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        box = KaggleBox(tmp_path / "box", run_kernel=run_kernel)
        boxes.append(box.__enter__())
        for name, value in box.environment(home).items():
            monkeypatch.setenv(name, value)
        return box

    yield make
    for box in boxes:
        box.__exit__()


@pytest.fixture
def kaggle(make_box) -> tuple[KaggleBox, Kaggle]:
    """A box whose sessions end at once, and an account."""
    return make_box(), Kaggle(fast_patience())
