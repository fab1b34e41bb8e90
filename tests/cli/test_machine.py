"""Cores and memory that a process may use, by files of Linux as containers have them."""

import os
from pathlib import Path

import pytest

from imettk.cli.machine import Memory, free_space, memory, usable_cores

MIB = 2**20
MEMINFO = f"MemTotal:       {16 * 1024} kB\nMemFree:  100 kB\nMemAvailable:    {12 * 1024} kB\n"  # 16 and 12 MiB
# The inner group's own limits, and those of the group above, which is tighter in one and looser in another.
VERSION_2 = {
    "proc/self/cgroup": "0::/outer/inner\n",
    "sys/fs/cgroup/outer/cpu.max": "50000 100000\n",
    "sys/fs/cgroup/outer/inner/cpu.max": "max 100000\n",
    "sys/fs/cgroup/outer/memory.max": "max\n",
    "sys/fs/cgroup/outer/inner/memory.max": f"{8 * MIB}\n",
    "sys/fs/cgroup/outer/inner/memory.current": f"{5 * MIB}\n",
    "sys/fs/cgroup/outer/inner/memory.stat": f"anon 7\ninactive_file {2 * MIB}\n",
}
# The path is the host's, which does not exist in the container: the top has the limits.
VERSION_1 = {
    "proc/self/cgroup": "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{8 * MIB}\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{5 * MIB}\n",
    "sys/fs/cgroup/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {2 * MIB}\n",
}


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in {**files, "proc/meminfo": MEMINFO}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize("files", [VERSION_2, VERSION_1], ids=["version 2", "version 1"])
def test_limits_of_a_container_count(tmp_path, files):
    root = lay(tmp_path, files)
    assert usable_cores(root) == 0.5
    assert memory(root) == Memory(5 * MIB, 8 * MIB)  # cached files are free


def test_without_limits_the_machine_counts(tmp_path):
    unlimited = dict.fromkeys(VERSION_1, f"{2**63 - 4096}\n") | {
        "proc/self/cgroup": VERSION_1["proc/self/cgroup"],
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{5 * MIB}\n",
    }
    root = lay(tmp_path, unlimited)
    assert usable_cores(root) == len(os.sched_getaffinity(0)) and memory(root) == Memory(12 * MIB, 16 * MIB)


def test_a_system_without_these_files_is_asked_in_other_ways(tmp_path):
    assert usable_cores(tmp_path) >= 1
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory(tmp_path) == Memory(None, pages)
    assert free_space(str(tmp_path)) and free_space(str(tmp_path / "absent")) is None
