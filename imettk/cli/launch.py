"""Several processes on one machine, one for each GPU, as `torchrun` starts them, but with imettk's exit codes.

`torchrun` itself exits with code 1 after SIGTERM, and kills its processes 30 seconds later, checkpoint or not. It can
still start `imettk train` on several machines, which needs nothing but the environment that it sets.
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
GRACE_SECONDS = 15.0  # in which the other processes can exit by themselves after one has failed


def choose_num_processes(wanted: int | None, device: str) -> int:
    """Return the number of processes to start: as asked for, or one per GPU; 1 if a launcher has started this one."""
    if "WORLD_SIZE" in os.environ:
        return 1
    if wanted is not None or device == "cpu":
        return wanted or 1
    import torch

    return max(1, torch.cuda.device_count())


def launch(command: Sequence[str], num_processes: int, *, started: float) -> int:
    """Run a command in several processes that meet over this machine's loopback, and return one exit code for all.

    It is 0 if all exited with 0, otherwise the code of the process that caused the failure. SIGTERM and SIGINT are
    passed on to all. If a process runs out of memory, all start again from the last checkpoint with micro-batches of
    half the size.

    Args:
        started: when the session began, on `time.monotonic()`.
    """
    split = int(os.environ.get(SPLIT, "1"))
    while (code := _launch_once(command, num_processes, started, split)) == EXIT_OUT_OF_MEMORY:
        split *= 2
        print(f"warning: all {num_processes} processes start again with micro-batches in {split} pieces", flush=True)
    return code


def _launch_once(command: Sequence[str], num_processes: int, started: float, split: int) -> int:
    """Run a command in several processes with micro-batches in `split` pieces, and return one exit code for all."""
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
            # After a failure every process complains about its peers: only the stderr of the culprit is shown.
            errors.append(None if rank == 0 else files.enter_context(tempfile.TemporaryFile()))
            ranked = environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            # In sessions of their own: Ctrl-C would otherwise reach them a second time, from the terminal.
            processes.append(subprocess.Popen(command, env=ranked, stderr=errors[rank], start_new_session=True))
        with _pass_signals_on(processes):
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
def _pass_signals_on(processes: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Pass SIGTERM and SIGINT on to the processes, which stop at a step boundary; kill them after a second SIGINT."""
    received = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for process in processes:
            if process.poll() is None:
                # Killed, because a process that waits for another in a collective reacts to no other signal.
                process.send_signal(signal.SIGKILL if received.count(signal.SIGINT) > 1 else number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(processes: list[subprocess.Popen[bytes]]) -> int | None:
    """Wait for all processes, and return the rank of the one that failed first, or None.

    When one fails the others are ended too, since they would wait for it for ever in their next collective.
    """
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
    # These codes name a cause. The others may only be its effect on a peer, whatever failed first.
    causes = (EXIT_OUT_OF_MEMORY, 2)
    return next((rank for rank, process in enumerate(processes) if process.returncode in causes), failed)


def _free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
