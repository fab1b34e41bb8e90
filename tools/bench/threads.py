"""Idle threads that sleep instead of spinning: the cost alone, and the gain beside other processes.

A training's steps, forward and backward, in processes of their own: with torch's default, whose idle OpenMP threads
spin for milliseconds, and with the shorter spin that `imettk` sets before torch is imported. Alone, and beside two
processes that keep both cores busy, as loaders and other trainings do. In bfloat16 the threads of one operation
wait for each other by spinning, which no policy changes: there fewer threads help, by `session.num_threads`.

`python tools/bench/threads.py [--check] [--quick] [--rounds N]`
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from table import Row, arguments_of, finish, print_machine

from imettk.threads import POLICY

STEPS = """
import sys, time
import torch, timm
name, size, batch, count = sys.argv[1], *map(int, sys.argv[2:5])
torch.manual_seed(0)
network = timm.create_model(name, num_classes=10, in_chans=3)
optimizer = torch.optim.AdamW(network.parameters(), fused=True)
images, targets = torch.rand(batch, 3, size, size), torch.randint(10, (batch,))
seconds = []
for step in range(count + 2):
    started = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=sys.argv[5] == "bfloat16"):
        outputs = network(images)
    torch.nn.functional.cross_entropy(outputs, targets).backward()
    optimizer.step()
    optimizer.zero_grad()
    seconds.append(time.perf_counter() - started)
print(sorted(seconds[2:])[count // 2])
"""
BUSY = "while True: sum(range(1000))"
NETWORKS = (("test_resnet", 64, 16, 60, "float32"), ("resnet18", 64, 16, 20, "float32"))
BFLOAT16 = ("resnet18", 64, 16, 6, "bfloat16")  # where threads spin inside an operation, whatever OpenMP is told
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # `session.num_threads` 1
ROUNDS = 5


def step_seconds(network: Sequence[object], policy: dict[str, str]) -> float:
    """Return the median step of a training in a separate process."""
    environment = {name: value for name, value in os.environ.items() if name not in (*POLICY, "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", STEPS, *map(str, network)]
    return float(subprocess.run(command, env=environment | policy, check=True, capture_output=True, text=True).stdout)


def measure(
    network: Sequence[object], rounds: int, *, neighbours: int, policy: dict[str, str] = POLICY
) -> tuple[list[float], list[float]]:
    """Time steps by this policy and by default, in turn, beside so many busy processes."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(neighbours)]
    try:
        pairs = []
        for number in range(rounds):
            order = [policy, {}] if number % 2 else [{}, policy]
            found = [step_seconds(network, environment) for environment in order]
            pairs.append(found if number % 2 else found[::-1])
    finally:
        for other in others:
            other.kill()
            other.wait()
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = arguments_of(__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="default: %(default)s")
    arguments = parser.parse_args(argv)
    rounds = 1 if arguments.quick else arguments.rounds
    print_machine()
    rows = []
    for network in NETWORKS[: 1 if arguments.quick else None]:
        for neighbours, bar in ((0, 1.03), (2, 0.5)):
            where = "beside two busy ones" if neighbours else "alone"
            ours, default = measure(network, rounds, neighbours=neighbours)
            rows.append(Row(f"{network[0]} {network[1]} px, {where}", ours, "s a step", default, bar))
    for policy, name in () if arguments.quick else ((POLICY, "bfloat16"), (ONE_THREAD, "bfloat16, one thread")):
        for neighbours in (0, 2):
            where = "beside two busy ones" if neighbours else "alone"
            ours, default = measure(BFLOAT16, rounds, neighbours=neighbours, policy=policy)
            rows.append(Row(f"{BFLOAT16[0]}, {name}, {where}", ours, "s a step", default))
    finish(rows, arguments)


if __name__ == "__main__":
    main()
