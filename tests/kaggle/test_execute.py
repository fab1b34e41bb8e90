"""A notebook in a session on this machine: its output as it comes, errors as the platform has them, and its end."""

from __future__ import annotations

import json
import os
import threading

import nbformat
from session_processes import wait_for_end

from imettk.kaggle.cells import code_cell, to_notebook
from imettk.kaggle.sandbox import NOTEBOOK, Mounts, run_session

CELLS = (
    "import subprocess\nfrom pathlib import Path",
    "Path('kept.txt').write_text('1')\nprint('first')\nsubprocess.run(['echo', 'child'], check=True)",
    "raise ValueError('a fault')",
    "print('never')",
)
# A notebook's Python has a process session of its own, which a kill of the executing one's does not reach.
HANGS = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", "{mark}"])
print("waiting", flush=True)
time.sleep(300)
"""


def test_an_error_in_a_cell_ends_the_notebook_and_keeps_its_output(tmp_path, monkeypatch):
    start = tmp_path / "profile_default" / "startup"
    start.mkdir(parents=True)
    (start / "own.py").write_text("print('settings of this user')")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # with it, ipykernel leaves what processes write alone
    lines: list[str] = []
    ending = run_session(to_notebook([*map(code_cell, CELLS)]), tmp_path / "kaggle", Mounts(), line=lines.append)
    assert (ending.status, ending.code) == ("ERROR", 1)
    assert sorted(line for line in lines if line in ("first", "child")) == ["child", "first"]  # each of them once
    assert lines[-1] == "ValueError: a fault" and "never" not in lines and not any("settings" in line for line in lines)
    assert (ending.working / "kept.txt").read_text() == "1"
    executed = nbformat.read(tmp_path / "kaggle" / NOTEBOOK, as_version=4)
    assert "first" in json.dumps(executed.cells[1].outputs) and executed.cells[2].outputs[-1].ename == "ValueError"


def test_a_notebook_that_is_killed_leaves_no_process(tmp_path):
    mark, cancel = f"notebook-{os.getpid()}", threading.Event()
    text = to_notebook([code_cell(HANGS.format(mark=mark))])
    ending = run_session(text, tmp_path, Mounts(), cancel=cancel, line=lambda _: cancel.set(), isolate=False)
    assert (ending.status, ending.code) == ("CANCEL_ACKNOWLEDGED", None)
    assert ending.seconds < 250  # it sleeps for 300
    wait_for_end(mark)
