"""Several processes on one machine, one for each GPU: what `torchrun` does, with the exit codes of our contract.

`torchrun` itself ends with code 1 after SIGTERM, and kills its processes 30 seconds later, checkpoint or not; started
by hand, for several machines, it works as well: its environment is all that `imettk train` needs.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import IO

from imettk.config import EXIT_OUT_OF_MEMORY, SESSION_START, SPLIT

POLL_SECONDS = 0.1
GRACE_SECONDS = 15.0  # for the others to end by themselves when one has failed


def choose_num_processes(wanted: int | None, device: str) -> int:
    """How many processes `train` starts: what is asked for, or one a GPU; 1 where a launcher has started us already."""
    if "WORLD_SIZE" in os.environ:
        return 1
    if wanted is not None or device == "cpu":
        return wanted or 1
    import torch

    return max(1, torch.cuda.device_count())


def launch(command: Sequence[str], num_processes: int, *, started: float) -> int:
    """Run a command in several processes that meet over this machine's loopback; returns the exit code for all.

    0 when all ended with 0, else the code of the first that did not. SIGTERM and SIGINT are handed on, and waited for.
    Where one runs out of memory all start again from the last checkpoint, with micro-batches of half the size.

    Args:
        started: when the session began, on `time.monotonic()`.
    """
    split = int(os.environ.get(SPLIT, "1"))
    while (code := _launch_once(command, num_processes, started, split)) == EXIT_OUT_OF_MEMORY:
        split *= 2
        print(f"warning: all {num_processes} processes start again with micro-batches in {split} pieces", flush=True)
    return code


def _launch_once(command: Sequence[str], num_processes: int, started: float, split: int) -> int:
    environment = os.environ | {
        "WORLD_SIZE": str(num_processes),
        "LOCAL_WORLD_SIZE": str(num_processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0"),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_processes))),
        SESSION_START: repr(started),
        SPLIT: str(split),
    }
    with ExitStack() as files:
        processes: list[subprocess.Popen[bytes]] = []
        errors: list[IO[bytes] | None] = []
        for rank in range(num_processes):
            # What others than the first write to stderr is mostly an echo of its end: shown where it is the cause.
            errors.append(None if rank == 0 else files.enter_context(tempfile.TemporaryFile()))
            own = environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            processes.append(subprocess.Popen(command, env=own, stderr=errors[rank], start_new_session=True))
        with _signals_handed_on(processes):
            failed = _wait(processes)
        if failed is None:
            return 0
        if (file := errors[failed]) is not None:
            file.seek(0)
            sys.stderr.write(file.read().decode(errors="replace"))
    code = processes[failed].returncode
    if code < 0:
        print(f"imettk: process {failed} was killed by {signal.Signals(-code).name}", file=sys.stderr)
    return code if code > 0 else 1


@contextmanager
def _signals_handed_on(processes: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    told = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        told.append(number)
        for process in processes:
            if process.poll() is None:
                # One that waits for another in a collective cannot heed a second Ctrl-C.
                process.send_signal(signal.SIGKILL if told.count(signal.SIGINT) > 1 else number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(processes: list[subprocess.Popen[bytes]]) -> int | None:
    """Wait for all; returns which failed first, or None. When one fails the others are ended, for they wait for it."""
    while True:
        codes = [process.poll() for process in processes]
        failed = next((rank for rank, code in enumerate(codes) if code), None)
        if failed is not None:
            break
        if None not in codes:
            return None
        time.sleep(POLL_SECONDS)
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline and any(process.poll() is None for process in processes):
        time.sleep(POLL_SECONDS)
    for process in processes:
        process.kill()
        process.wait()
    # These say what the cause is; what it does to the others is the effect.
    causes = (EXIT_OUT_OF_MEMORY, 2)
    return next((rank for rank, process in enumerate(processes) if process.returncode in causes), failed)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
