"""Memory kept by the process: a CPU training's gain if glibc does not return freed memory at once.

A network predicts batches and trains on them, in processes of their own: with glibc's default, which gives each large
block to the system when it is freed, and as `imettk` starts. Then a validation with a loader process, forked as
trainings fork it: with what is free given back before the fork, and without.

`python tools/bench/memory.py [--check] [--quick] [--rounds N]`
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from table import Row, arguments_of, finish, print_machine

CODE = """
import os, sys, time
import torch, timm
from imettk.memory import keep_freed_memory, release_freed_memory
how, keeps, releases = sys.argv[1], *(word == "yes" for word in sys.argv[2:4])
if keeps:
    keep_freed_memory()
network = timm.create_model("tf_efficientnet_lite0", num_classes=20).to(memory_format=torch.channels_last)
optimizer = torch.optim.AdamW(network.parameters())
images, targets = torch.rand(32, 3, 160, 160), torch.randint(20, (32,))

def train(times):
    network.train()
    for _ in range(times):
        torch.nn.functional.cross_entropy(network(images), targets).backward()
        optimizer.step()
        optimizer.zero_grad()

def predict(times):
    network.eval()
    with torch.inference_mode():
        for _ in range(times):
            network(images)

train(3) if how == "validate" else None
step, times = (train, 8) if how == "train" else (predict, 12)
step(2)
if how == "validate":
    train(1)
started = time.perf_counter()
if how == "validate":
    if releases:
        release_freed_memory()
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
step(times)
print((time.perf_counter() - started) / times)
if how == "validate":
    os.kill(child, 9)
"""
KINDS = {  # row -> what to time; whether memory is kept and released, as we do it and as it was; the bar
    "predict a batch": ("predict", ("yes", "no"), ("no", "no"), 0.6),
    "a training step": ("train", ("yes", "no"), ("no", "no"), 1.0),
    "predict after a fork": ("validate", ("yes", "yes"), ("yes", "no"), 1.0),
}
ROUNDS = 3


def _seconds(how: str, settings: tuple[str, str]) -> float:
    command = [sys.executable, "-c", CODE, how, *settings]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = arguments_of(__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="default: %(default)s")
    arguments = parser.parse_args(argv)
    print_machine()
    rows = []
    for name, (how, ours, before, bar) in KINDS.items():
        rounds = range(1 if arguments.quick else arguments.rounds)
        pairs = [(_seconds(how, ours), _seconds(how, before)) for _ in rounds]
        rows.append(Row(name, [pair[0] for pair in pairs], "s", [pair[1] for pair in pairs], bar))
    finish(rows, arguments)


if __name__ == "__main__":
    main()
