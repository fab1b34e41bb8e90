"""Memory of the process: freed blocks, which should stay with it, and the search for garbage, which should be rare.

By default glibc returns large blocks to the system at once, which then has to clear them again. A network's activations
are such blocks, tens of megabytes each, in every layer of every batch. Measured on two cores with freed memory kept:
EfficientNet-Lite0 at 160 pixels predicts 2.5 times as fast, and trains 1.7 times as fast (`tools/bench/memory.py`).
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys

# Parameters of glibc's mallopt(3), and their names in the environment.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NAMES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory() -> None:
    """Make glibc's malloc reuse freed memory, however large the block, unless the environment sets these options.

    Other C libraries have no such options and are left alone. Results stay the same to the bit, but the process keeps
    the largest amount of memory that it has used at any time, as do processes forked from it.
    """
    if not _set_by_user():
        _call_glibc("mallopt", _MMAP_MAX, 0)  # allocate large blocks on the heap
        _call_glibc("mallopt", _TRIM_THRESHOLD, -1)  # and never return its free end


def return_freed_memory() -> None:
    """Make glibc's malloc return every large block to the system when it is freed: less memory, slower steps.

    It undoes `keep_freed_memory`, for processes that have little memory. A heap cannot give back the holes between its
    blocks: with it, a training that computes activations again needs two thirds of the memory instead of a fifth
    (`tools/bench/checkpointing.py`).
    """
    if not _set_by_user():
        _call_glibc("mallopt", _MMAP_MAX, 1 << 20)  # mappings; Linux allows a process 65,530 unless told otherwise
        _call_glibc("mallopt", _MMAP_THRESHOLD, 1 << 16)  # bytes
        _call_glibc("mallopt", _TRIM_THRESHOLD, 1 << 17)


def _set_by_user() -> bool:
    """Return whether the environment sets options of malloc."""
    return any(name in os.environ for name in _NAMES) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")


def collect_garbage_rarely() -> None:
    """Make Python's collector of reference cycles run once in 50,000 new objects, not once in 700.

    Importing torch, timm and pandas makes a million objects that are never garbage: looking through them again and
    again takes 0.6 of the 4.9 seconds of CPU in which `train` starts. What cycles hold stays a little longer; tensors
    are freed by their reference count, and at once, as before.
    """
    gc.set_threshold(50_000, 20, 100)


def release_freed_memory() -> None:
    """Return free memory to the system before a fork, after which each page that is reused would first be copied.

    Measured as above: a validation with a loader process takes 1.3 s instead of 3.5 s.
    """
    _call_glibc("malloc_trim", 0)


def _call_glibc(name: str, *numbers: int) -> None:
    """Call one of glibc's own functions; do nothing with other C libraries."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
    if function is not None:
        function(*numbers)
