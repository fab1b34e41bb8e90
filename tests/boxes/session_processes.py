"""Processes that sessions leave behind, recognised by a mark among their arguments."""

from __future__ import annotations

import subprocess
import time


def alive(mark: str) -> bool:
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return any(mark in line and "sleep" in line for line in lines)


def wait_for_end(mark: str) -> None:
    """Wait until a process that would sleep for 300 seconds has ended."""
    end = time.monotonic() + 250
    while alive(mark):
        assert time.monotonic() < end
        time.sleep(0.05)
