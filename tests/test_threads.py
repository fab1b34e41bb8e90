"""Idle threads sleep, from before torch is imported."""

import os
import subprocess
import sys

import pytest

from imettk import threads

CODE = """
import sys
sys.argv = ["imettk", "--help"]
from imettk.__main__ import main
try:
    main()
except SystemExit:
    pass
import os
assert "torch" not in sys.modules
import torch
print("policy", os.environ["OMP_WAIT_POLICY"])
"""


@pytest.mark.parametrize(("given", "wanted"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_the_command_sets_it_before_torch_is_there_and_leaves_what_is_set(given, wanted):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {} if given is None else {"OMP_WAIT_POLICY": given}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    assert f"policy {wanted}" in done.stdout


def test_openmp_hears_of_it():
    """The library itself says what it has read, before anything is computed."""
    code = "from imettk.threads import let_idle_threads_sleep\nlet_idle_threads_sleep()\nimport torch\n"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment["OMP_DISPLAY_ENV"] = "TRUE"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr


def test_where_torch_is_already_there_nothing_is_pretended(monkeypatch):
    import torch  # noqa: F401

    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    threads.let_idle_threads_sleep()
    assert "OMP_WAIT_POLICY" not in os.environ and threads.wait_policy() == "default"
