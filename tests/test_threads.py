"""The policy of idle threads is set before torch is imported."""

import os
import subprocess
import sys

import pytest

from imettk import threads

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")

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
print("policy", os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY"))
"""


@pytest.mark.parametrize(
    ("given", "wanted"),
    [({}, "3000 None"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE"), ({"GOMP_SPINCOUNT": "7"}, "7 None")],
)
def test_the_command_sets_the_policy_before_torch_and_respects_the_environment(given, wanted):
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | given
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    assert f"policy {wanted}" in done.stdout


def test_openmp_reads_the_policy():
    """The library itself prints the settings that it has read."""
    code = "from imettk.threads import let_idle_threads_sleep\nlet_idle_threads_sleep()\nimport torch\n"
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    environment["OMP_DISPLAY_ENV"] = "VERBOSE"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "GOMP_SPINCOUNT = '3000'" in done.stderr


def test_after_torch_is_imported_no_policy_is_set(monkeypatch):
    import torch  # noqa: F401

    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    threads.let_idle_threads_sleep()
    assert not set(NAMES) & set(os.environ) and threads.wait_policy() == "default"
