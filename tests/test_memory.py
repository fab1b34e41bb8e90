"""Freed memory is used again, as the system's count of cleared pages shows."""

import gc
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")

# 100 blocks of 64 MB, one after the other: 16,384 pages each if none of them is kept.
CODE = """
import os, resource, sys
sys.argv = ["imettk", "--help"]
from imettk.__main__ import main
try:
    main()
except SystemExit:
    pass
bytearray(b"x") * (64 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    bytearray(b"x") * (64 << 20)
print("pages", resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = (64 << 20) // 4096


def pages_of(environment: dict[str, str]) -> int:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=clean | environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout.rpartition("pages ")[2])


def test_a_large_block_is_cleared_once():
    assert pages_of({}) < 2 * PAGES


@pytest.mark.parametrize("name", ["MALLOC_MMAP_MAX_", "GLIBC_TUNABLES"])
def test_settings_in_the_environment_are_respected(name):
    value = "65536" if name == "MALLOC_MMAP_MAX_" else "glibc.malloc.mmap_max=65536"
    assert pages_of({name: value}) > 2 * PAGES


def test_large_blocks_go_back_at_once_where_memory_is_short():
    """Free the first of two blocks: a heap could not give it back, as it lies below the second."""
    code = """
from pathlib import Path
from imettk.memory import keep_freed_memory, return_freed_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])
keep_freed_memory()
return_freed_memory()
first = bytearray(b"x") * (64 << 20)
second = bytearray(b"x") * (1 << 20)
before = resident()
del first
print("pages", before - resident())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[1]) > 0.9 * PAGES


def test_free_memory_is_returned_to_the_system():
    """The process shrinks by most of a block that it had kept."""
    code = """
from pathlib import Path
from imettk.memory import keep_freed_memory, release_freed_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])
keep_freed_memory()
bytearray(b"x") * (64 << 20)
before = resident()
release_freed_memory()
print("pages", before - resident())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout.rpartition("pages ")[2]) > 0.9 * PAGES


def test_garbage_is_looked_for_rarely_from_the_first_import_on():
    code = CODE.split("bytearray")[0] + "import gc\nprint('threshold', *gc.get_threshold())\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout.split("threshold")[1].split()[0]) > 10 * gc.get_threshold()[0]
