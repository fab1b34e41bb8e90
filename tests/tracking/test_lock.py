"""A folder belongs to one process at a time and is free as soon as that process ends, in whatever way."""

import subprocess
import sys

import pytest
from forked import PATIENCE

from imettk.errors import BusyError
from imettk.tracking.lock import NAME, hold_folder

HOLDER = """
import sys
from pathlib import Path
from imettk.tracking.lock import hold_folder
with hold_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


class Enough(Exception):
    """Raised by a waiting process to stop waiting."""


@pytest.fixture
def holder(tmp_path):
    """Start another process that holds the folder until it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_by_the_number_of_the_first_and_a_killed_one_holds_nothing(holder, tmp_path):
    with pytest.raises(BusyError, match=f"{tmp_path} is in use by process {holder.pid}: .*another --run-dir"):
        hold_folder(tmp_path).__enter__()
    holder.kill()
    holder.wait(PATIENCE)
    with hold_folder(tmp_path):
        assert (tmp_path / NAME).is_file()


def test_whoever_waits_is_told_again_and_again_until_it_is_free(holder, tmp_path):
    heard = []

    def wait(line):
        heard.append(line)
        if len(heard) == 2:
            holder.kill()
            holder.wait(PATIENCE)

    with hold_folder(tmp_path, wait=wait):
        assert heard == [f"{tmp_path} is in use by process {holder.pid}"] * 2


def test_whoever_waits_may_give_up(holder, tmp_path):
    def wait(line):
        raise Enough

    with pytest.raises(Enough):
        hold_folder(tmp_path, wait=wait).__enter__()


def test_the_lock_may_lie_elsewhere_and_the_folder_stays_empty(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with hold_folder(folder, lock=tmp_path / "lock"):
        assert (tmp_path / "lock").is_file() and not list(folder.iterdir())
