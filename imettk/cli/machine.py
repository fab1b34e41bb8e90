"""Cores, memory and space that this process may use, also in a container, where the system reports the whole machine.

Linux shows limits of a container as files of its control group (man 7 cgroups), in two versions. A limit of a group
above counts too. On systems without these files the whole machine counts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ROOT = Path("/")
_GROUPS = "sys/fs/cgroup"


class Memory(NamedTuple):
    """Memory in bytes: the part that is free, None if not known, and all that this process may use."""

    free: int | None
    total: int


def usable_cores(root: Path = _ROOT) -> float:
    """Return the number of cores that this process may keep busy: 1.5 under a quota of one core and a half.

    Args:
        root: the folder with `proc` and `sys`.
    """
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quotas = [_numbers(folder / "cpu.max") for folder in _groups(root, "")]
    quotas += [
        _numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us")
        for folder in _groups(root, "cpu")
    ]
    # A group without a quota has the word `max` or -1 in its place.
    return min([cores, *(quota[0] / quota[1] for quota in quotas if len(quota) == 2 and min(quota) > 0)])


def memory(root: Path = _ROOT) -> Memory | None:
    """Return the memory that this process may use; None if the system does not tell.

    Args:
        root: the folder with `proc` and `sys`.
    """
    machine = _fields(root / "proc/meminfo")  # in KiB
    if "MemTotal" not in machine:
        try:
            return Memory(None, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        except (AttributeError, ValueError, OSError):
            return None
    total, free = 1024 * machine["MemTotal"], 1024 * machine.get("MemAvailable", machine.get("MemFree", 0))
    for limit, used in _memory_limits(root):
        total, free = min(total, limit), min(free, max(0, limit - used))
    return Memory(free, total)


def free_space(folder: str) -> int | None:
    """Return the free bytes of the disk that holds a folder; None if there is no such folder."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _memory_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Yield limit and use of each group, in bytes, without files that are only kept in memory as long as it is free."""
    for controller, limit_name, used_name, cached in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for folder in _groups(root, controller):
            limit, used = _numbers(folder / limit_name), _numbers(folder / used_name)
            if limit and used:
                yield limit[0], used[0] - _fields(folder / "memory.stat").get(cached, 0)


def _groups(root: Path, controller: str) -> list[Path]:
    """Return the folders of this process's control group and of those above it.

    Args:
        controller: such as `cpu` in version 1; "" in version 2, which has one hierarchy for all.
    """
    top = root / _GROUPS / controller
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            # In a container the path may be that of the host, where the top is the container's own group.
            inner = top / path.strip("/")
            return [folder for folder in (inner, *inner.parents) if folder.is_relative_to(top) and folder.is_dir()]
    return []


def _fields(path: Path) -> dict[str, int]:
    """Read the lines `name number` or `name: number kB` of a file."""
    pairs = (line.replace(":", " ").split()[:2] for line in _read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _numbers(path: Path) -> list[int]:
    """Read the numbers of a file with a single line."""
    return [int(word) for word in _read(path).split() if word.lstrip("-").isdigit()]


def _read(path: Path) -> str:
    """Return a file's text; "" if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
