"""Idle threads of OpenMP, which should sleep soon; to be set before torch is imported, since OpenMP reads it once."""

from __future__ import annotations

import os
import sys

# How often GNU's OpenMP, which comes with torch, looks for work before a thread sleeps: some tens of microseconds. Its
# default is milliseconds; a passive policy (0) makes steps up to 1.8 times as long on a quiet machine.
POLICY = {"GOMP_SPINCOUNT": "3000"}


def let_idle_threads_sleep() -> None:
    """Make OpenMP's idle threads sleep instead of spinning, unless the environment sets a policy.

    Spinning threads occupy the cores that data loaders and other processes need: beside two busy processes a step takes
    several times as long. Results stay the same to the bit.
    """
    if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        for name, value in POLICY.items():
            os.environ.setdefault(name, value)


def wait_policy() -> str:
    """Return the policy of idle threads in this process, for the journal."""
    names = ("OMP_WAIT_POLICY", *POLICY)
    return ", ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ) or "default"
