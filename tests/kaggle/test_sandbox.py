"""Sessions on this machine: the script's view, and its end with all of its processes."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from session_processes import wait_for_end

from imettk.kaggle.sandbox import Mounts, can_isolate, run_session

BOTH = pytest.mark.parametrize(
    "isolate",
    [pytest.param(True, marks=pytest.mark.skipif(not can_isolate(), reason="no unshare here")), False],
    ids=["unshare", "plain"],
)
LOOK = """
import os, socket
from pathlib import Path
root = Path(os.environ["IMETTK_KAGGLE_ROOT"])
for place in ("datasets/me/data", "notebooks/me/before", "competitions/cells"):
    print((root / "input" / place / "name.txt").read_text())
print({name for name in os.environ if name.startswith(("KAGGLE", "IMETTK", "PYTHONPATH"))})
(root / "working" / "result.txt").write_text("42")
"""
READ_ONLY = """
import os
from pathlib import Path
try:
    Path(os.environ["IMETTK_KAGGLE_ROOT"], "input/datasets/me/data/name.txt").write_text("other")
except OSError as error:
    print(error.strerror)
"""
NETWORK = """
import socket
with socket.socket() as client:
    try:
        client.connect(("127.0.0.1", {port}))
        print("there")
    except OSError:
        print("none")
"""
# Data loaders have process groups of their own, so a signal to the group does not reach them.
CHILD = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", "{mark}"], process_group=0)
print("waiting", flush=True)
time.sleep(300)
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Mounts:
    folders = {}
    for name in ("data", "before", "cells"):
        folders[name] = tmp_path / "sources" / name
        folders[name].mkdir(parents=True)
        (folders[name] / "name.txt").write_text(name)
    return Mounts({"me/data": folders["data"]}, {"me/before": folders["before"]}, {"cells": folders["cells"]})


MODEL = """
import os
from pathlib import Path
folder = Path(os.environ["IMETTK_KAGGLE_ROOT"], "input")
print(*(path.relative_to(folder) for path in folder.rglob("1") if (path / "name.txt").is_file()))
"""


@BOTH
@pytest.mark.parametrize(("older", "place"), [(True, ""), (False, "models/timm/")])
def test_a_model_is_mounted_where_the_platform_mounts_it(tmp_path, isolate, older, place):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "name.txt").write_text("weights")
    mounts = Mounts(models={"timm/resnet/pyTorch/resnet18/1": tmp_path / "weights"}, older=older)
    lines: list[str] = []
    assert run_session(MODEL, tmp_path / "kaggle", mounts, line=lines.append, isolate=isolate).code == 0
    assert lines == [f"{place}resnet/pytorch/resnet18/1"]


@BOTH
def test_a_script_finds_its_sources_and_none_of_our_secrets(mounts, tmp_path, monkeypatch, isolate):
    for name in ("KAGGLE_KEY", "IMETTK_TELEGRAM_TOKEN", "PYTHONPATH"):
        monkeypatch.setenv(name, "secret")
    lines: list[str] = []
    ending = run_session(LOOK, tmp_path / "kaggle", mounts, line=lines.append, isolate=isolate)
    assert (ending.status, ending.code) == ("COMPLETE", 0)
    assert lines[:3] == ["data", "before", "cells"]
    assert eval(lines[3]) == {"IMETTK_KAGGLE_ROOT", "KAGGLE_KERNEL_RUN_TYPE"}
    assert (ending.working / "result.txt").read_text() == "42"


@pytest.mark.skipif(not can_isolate(), reason="no unshare here")
def test_inputs_are_read_only_and_the_network_is_gone(mounts, tmp_path):
    lines: list[str] = []
    assert run_session(READ_ONLY, tmp_path / "one", mounts, line=lines.append).code == 0
    assert lines == ["Read-only file system"]
    assert (mounts.datasets["me/data"] / "name.txt").read_text() == "data"
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        script = NETWORK.format(port=server.getsockname()[1])
        for internet in (False, True):
            run_session(script, tmp_path / f"net{internet}", mounts, line=lines.append, internet=internet)
    assert lines[1:] == ["none", "there"]


@BOTH
def test_a_session_at_its_limit_is_killed_with_all_its_processes(tmp_path, isolate):
    mark = f"mark-{os.getpid()}-{isolate}"
    started = time.monotonic()
    ending = run_session(
        CHILD.format(mark=mark), tmp_path / "kaggle", Mounts(), limit_seconds=2, isolate=isolate, line=lambda _: None
    )
    assert (ending.status, ending.code) == ("CANCEL_ACKNOWLEDGED", None)
    assert time.monotonic() - started < 250  # it sleeps for 300
    wait_for_end(mark)


@BOTH
def test_no_process_survives_ctrl_c(tmp_path, isolate):
    mark, begun = f"ctrl-c-{os.getpid()}-{isolate}", threading.Event()

    class CtrlC(threading.Event):
        def is_set(self) -> bool:
            if begun.is_set():
                raise KeyboardInterrupt
            return False

    with pytest.raises(KeyboardInterrupt):
        run_session(
            CHILD.format(mark=mark),
            tmp_path / "kaggle",
            Mounts(),
            cancel=CtrlC(),
            isolate=isolate,
            line=lambda _: begun.set(),
        )
    wait_for_end(mark)


@BOTH
def test_a_session_can_be_cancelled_and_can_fail(tmp_path, isolate):
    cancel = threading.Event()

    def line(text: str) -> None:
        assert text == "waiting"
        cancel.set()

    ending = run_session(
        CHILD.format(mark="cancel"), tmp_path / "one", Mounts(), cancel=cancel, isolate=isolate, line=line
    )
    assert ending.status == "CANCEL_ACKNOWLEDGED"
    ending = run_session("raise SystemExit(3)", tmp_path / "two", Mounts(), isolate=isolate)
    assert (ending.status, ending.code) == ("ERROR", 3)
