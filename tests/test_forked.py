"""A forked command behaves as a really started one; the other tests rely on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from forked import PATIENCE

LOOK = """
import os, sys
import torch
print(sys.argv, os.getcwd(), os.environ.get("IMETTK_LOOK"), torch.get_num_threads(), len(os.listdir("/proc/self/task")))
print(os.getsid(0) == os.getpid(), "of stderr", file=sys.stderr)
"""
SLEEPS = "import time; print('ready', flush=True); time.sleep(1000)"


@pytest.mark.parametrize(
    ("words", "code"),
    [(["train", "digits", "--fields"], 0), (["train", "no-such-recipe"], 2), (["train", "--fold"], 2)],
)
def test_words_codes_and_lines_are_those_of_a_real_start(imettk, words, code):
    forked, real = (imettk(*words, code=code, real=real) for real in (False, True))
    assert (forked.stdout, forked.stderr) == (real.stdout, real.stderr)


@pytest.mark.parametrize("session", [False, True])
def test_a_process_has_its_own_words_folder_environment_and_session(forks, tmp_path, monkeypatch, session):
    monkeypatch.chdir(tmp_path)
    process = forks.start(["a", 1, tmp_path], code=LOOK, environment={"IMETTK_LOOK": "x"}, session=session)
    assert process.wait() == 0
    assert process.stdout.startswith(f"['-c', 'a', '1', '{tmp_path}'] {tmp_path} x {os.environ['OMP_NUM_THREADS']} ")
    assert process.stderr == f"{session} of stderr\n"
    assert "IMETTK_LOOK" not in os.environ


def test_it_spawns_processes_of_its_own(forks):
    code = "import json, multiprocessing as m; print(m.get_context('spawn').Pool(1).map(json.dumps, [[1], [2]]))"
    process = forks.start([], code=code)
    assert process.wait(PATIENCE) == 0, process.stderr
    assert process.stdout == "['[1]', '[2]']\n"


@pytest.mark.parametrize(
    ("code", "expected", "text"),
    [
        ("", 0, ""),
        ("import sys; sys.exit(7)", 7, ""),
        ("import sys; sys.exit('why')", 1, "why\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("import atexit; atexit.register(print, 'bye'); print('on', end='')", 0, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
    ],
)
def test_every_ending_is_pythons(forks, code, expected, text):
    process = forks.start([], code=code)
    real = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.wait() == real.returncode == expected
    assert process.stdout == real.stdout and process.stderr.endswith(text) and real.stderr.endswith(text)


def test_what_runs_is_waited_for_polled_and_killed(forks):
    process, other = (forks.start([], code=SLEEPS, session=True) for _ in range(2))
    while process.stdout != "ready\n" or other.stdout != "ready\n":
        time.sleep(0.01)
    assert process.poll() is None and process.returncode is None
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == -signal.SIGINT and process.stderr.endswith("KeyboardInterrupt\n")
    with pytest.raises(subprocess.TimeoutExpired):
        other.wait(0.01)
    assert other.returncode == other.poll() == -signal.SIGKILL


def test_what_libraries_read_when_they_start_takes_a_real_start(forks, imettk, monkeypatch):
    with pytest.raises(ValueError, match="OMP_NUM_THREADS: read when a process starts"):
        imettk("--help", OMP_NUM_THREADS="7")
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="HF_ENDPOINT: read when a process starts"):
        patch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        forks.start(["--help"])
    assert "prepare" in imettk("--help", OMP_NUM_THREADS="7", real=True).stdout
