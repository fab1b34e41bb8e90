"""Pushed kernels are recorded in their run folder and found by their names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kaggle_box import Fault
from tiny import kaggle_command as command
from typed_preflights import PREFLIGHT, REFERENCE


@pytest.mark.parametrize("word", ["me", "me/", "me/x/", "me/x/0", "me/x/00", "me/x/v1", "me/x/1/2", "me/x/\u00b2"])
def test_a_malformed_name_of_a_kernel_is_one_line(preflight_box, capsys, word):
    command("status", word, code=2)
    assert f"{word!r} does not name a kernel: write OWNER/SLUG or OWNER/SLUG/VERSION" in capsys.readouterr().err


def test_a_kernel_that_was_pushed_elsewhere_is_used_in_its_current_version(preflight_box, capsys):
    for _ in range(2):
        command(*PREFLIGHT)
    words = ["--run-dir", "runs/empty"]
    capsys.readouterr()
    command("status", REFERENCE, *words)
    text = capsys.readouterr().out
    assert f"{REFERENCE} was not pushed from runs/empty: using version 2, the current one on Kaggle" in text
    assert re.search(r"version 2: COMPLETE, run at \d\d \w{3} \d\d:\d\d UTC\n", text)
    command("status", f"{REFERENCE}/1", *words)
    assert f"{REFERENCE} version 1: COMPLETE\n" in capsys.readouterr().out  # of the current version alone it is known
    preflight_box.faults.add("GetKernel", Fault(400))
    command("status", REFERENCE)  # an unknown time of its run is not a failure
    assert f"{REFERENCE} version 2: COMPLETE\n" in capsys.readouterr().out
    command("pull", REFERENCE, "--out", "there", *words)
    text = capsys.readouterr().out
    assert "using version 2" in text and f"there: 2 files of {REFERENCE} version 2, 3.0 MB, verified" in text
    command("submit", "cells", "preflight.json", "--kernel", REFERENCE, *words)
    assert "using version 2" in capsys.readouterr().out and len(preflight_box.submissions) == 1
    for odd in (b"{}", b'{"metadata": {"currentVersionNumber": "?"}}', b"<html>"):
        preflight_box.faults.add("GetKernel", Fault(200, body=odd), times=6)
        command("status", REFERENCE, *words, code=1)
        assert "Kaggle's answer cannot be read" in capsys.readouterr().err
        preflight_box.faults.clear()


@pytest.mark.parametrize("content", ["[]", "{", '{"me/x": 3}', '{"me/x": {"version": "1", "push": "p"}}'])
def test_damaged_records_are_one_line_and_push_nothing(preflight_box, capsys, content):
    Path("runs/kaggle").mkdir(parents=True)
    Path("runs/kaggle/pushes.json").write_text(content)
    for words in (["status", REFERENCE], PREFLIGHT, ["push", "prepare", "digits", "--competition", "cells"]):
        command(*words, code=2)
        assert "pushes.json is damaged" in capsys.readouterr().err
    assert not preflight_box.kernels
