"""Peak memory of a training step that computes activations again (`session.recompute_activations`), and its time.

A network of `imettk` takes steps with AdamW in float32, in a process of its own with and without: the peak of its
resident memory above what it holds before the first step, gradients included, and the seconds of the step after it.
malloc is set as `imettk train` sets it for each (`imettk.memory`): freed blocks stay with the process for speed, and
with recomputation they go back to the system.

`python tools/bench/checkpointing.py [--check] [--quick] [--rounds N]`
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from table import Row, arguments_of, finish, print_machine

CODE = """
import re, sys, time
from pathlib import Path
import torch
from imettk.memory import keep_freed_memory, return_freed_memory
from imettk.models.network import Network
from imettk.models.recompute import recompute_activations

name, side, batch, recomputes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "yes"

keep_freed_memory()
if recomputes:
    return_freed_memory()

def resident(kind):
    return int(re.search(kind + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1000

network = Network(backbone="timm:" + name, num_classes=10, mean=(0.5,) * 3, std=(0.5,) * 3, image_size=(side, side))
if recomputes:
    recompute_activations(network)
optimizer = torch.optim.AdamW(network.train().parameters(), fused=True)
images = torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8)
targets = torch.zeros(batch, dtype=torch.int64)

def step():
    torch.nn.functional.cross_entropy(network(images).logits, targets).backward()

before = resident("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
step()
peak = resident("VmHWM") - before
optimizer.step()
optimizer.zero_grad()
started = time.perf_counter()
step()
optimizer.step()
print(peak, time.perf_counter() - started)
"""
NETWORK, SIDE, BATCH = "vit_small_patch16_384", 384, 8
SMALL = "vit_tiny_patch16_224", 224, 4
BAR = 0.5  # of the memory
ROUNDS = 3


def measure(name: str, side: int, batch: int, recomputes: str) -> tuple[float, float]:
    """Return the peak in 1e6 bytes, and the seconds of a step."""
    command = [sys.executable, "-c", CODE, name, str(side), str(batch), recomputes]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak, seconds = done.stdout.split()
    return float(peak), float(seconds)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = arguments_of(__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="default: %(default)s")
    arguments = parser.parse_args(argv)
    print_machine()
    name, side, batch = SMALL if arguments.quick else (NETWORK, SIDE, BATCH)
    rounds = range(1 if arguments.quick else arguments.rounds)
    pairs = [(measure(name, side, batch, "yes"), measure(name, side, batch, "no")) for _ in rounds]
    what = f"{name.partition('_patch')[0]}, {side} px, batch {batch}"
    rows = [
        Row(f"{what}: {quantity}", [ours[place] for ours, _ in pairs], unit, [other[place] for _, other in pairs], bar)
        for place, (quantity, unit, bar) in enumerate((("peak", "MB", BAR), ("a step", "s", None)))
    ]
    finish(rows, arguments)


if __name__ == "__main__":
    main()
