"""Idle threads sleep: set before torch is imported, since OpenMP reads it once, when its library is loaded."""

from __future__ import annotations

import os
import sys

POLICY = {"OMP_WAIT_POLICY": "PASSIVE"}


def let_idle_threads_sleep() -> None:
    """Have OpenMP's idle threads sleep instead of spinning, unless the environment says something else.

    Threads that wait for the next operation otherwise burn the cores that loaders, and whoever else is on the machine,
    need: beside two busy processes a step takes several times as long. What is computed stays the same to the bit.
    """
    if "torch" not in sys.modules:
        for name, value in POLICY.items():
            os.environ.setdefault(name, value)


def wait_policy() -> str:
    """How idle threads wait in this process, for the journal."""
    return os.environ.get("OMP_WAIT_POLICY", "default")
