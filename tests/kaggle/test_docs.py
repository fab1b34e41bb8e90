"""Screens of docs/kaggle.md: each is what a command shows, and its messages stand in the code.

The command itself makes each screen, with a fixed chain, clock and server; the page must have that very text. Commands,
links and fields of the page are checked with those of all pages, in tests/test_readme.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pages
import pytest
from kaggle_screens import MINE, SCREENS, Clock, Page, drawn
from pages import PROJECT

from imettk.kaggle import begin, client, packs, rounds
from imettk.kaggle.client import Patience
from imettk.tracking import telegram

# MLflow's, about SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
TEXT = (PROJECT / "docs" / "kaggle.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```text\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def universal() -> Iterator[None]:
    """Show times of day in UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def page(universal, make_box, tmp_path, monkeypatch, capsys) -> Page:
    clock, told = Clock(), []
    patience = Patience(sleep=clock.sleep, _random=SimpleNamespace(uniform=lambda low, high: high))
    monkeypatch.setattr(client, "Patience", lambda: patience)
    monkeypatch.setattr(rounds, "time", SimpleNamespace(monotonic=lambda: clock.now, time=lambda: clock.now))
    monkeypatch.setattr("tqdm.std.time", lambda: clock.now)
    monkeypatch.setattr(telegram.Notifier, "send", lambda self, make: told.append(make().text))
    versions = iter(range(1, 9))  # the real pack's hash changes with every change of the code
    for module in (begin, packs):
        monkeypatch.setattr(module, "upload_pack", lambda *_, **__: (f"me/imettk-pack/{next(versions)}", "abc"))
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "whales"):
        Path(f"{name}.py").write_text(MINE.format(name="cells" if name == "mine" else name))
    box = make_box()
    box.date = lambda: clock.now
    box.renewed_at = "2026-11-28T00:00:00Z"
    (tmp_path / "data").mkdir()
    box.add_competition("cells", tmp_path / "data", lambda path: (0.61234, None))
    for _ in range(8):
        box.add_dataset("me/imettk-pack", tmp_path)
    return Page(box, clock, capsys, told, monkeypatch)


@pytest.mark.parametrize("make", SCREENS, ids=lambda make: make.__name__)
def test_each_screen_is_what_a_command_shows(page, make):
    shown = make(page)
    assert shown in BLOCKS, f"docs/kaggle.md has no such screen:\n{shown}"


def test_no_screen_is_unchecked():
    assert len(set(BLOCKS)) == len(BLOCKS) == len(SCREENS)


def test_a_chain_that_has_ended_leaves_no_line_behind(page):
    page.terminal()
    page.capsys.readouterr()
    with ExitStack() as stack:
        screen = rounds.Screen(stack)
        screen.show([["14:05 cells: no session runs", "next: infer"], ["14:05 whales: no session runs"]])
        screen.show([["14:06 whales: no session runs"]])
        shown = page.capsys.readouterr().err
    assert drawn(shown) == "14:06 whales: no session runs\n"
    assert drawn(shown + page.capsys.readouterr().err) == ""


def test_messages_that_are_explained_stand_in_the_code():
    assert pages.check_messages(TEXT) >= 3
