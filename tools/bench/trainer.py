"""The training loop beside a bare PyTorch loop, a resumed start beside a fresh one, a checkpoint beside torch.save.

`python tools/bench/trainer.py [--check] [--quick]`; times Lightning, Accelerate and fastai where they are installed.
"""

from __future__ import annotations

import functools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import peer_loops
import peers
import torch
from table import Row, arguments_of, finish, print_machine
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn import functional

from imettk.config import Recipe, RuleConfig, SessionConfig, StageConfig, TableFormat, TrainConfig
from imettk.data.dataset import Batch, load_batches
from imettk.data.samplers import Sampler
from imettk.data.sampling import BatchRequest, train_requests
from imettk.losses.cross_entropy import cross_entropy
from imettk.losses.output_loss import OutputLoss
from imettk.models.network import Network, Outputs
from imettk.tasks import TASKS
from imettk.tracking.journal import Journal
from imettk.training.checkpoint import Checkpoints, CheckpointWriter
from imettk.training.feed import TrainingData
from imettk.training.optimizer import make_optimizer, optimizer_state
from imettk.training.process_group import Compute
from imettk.training.recorder import Recorder
from imettk.training.session import Session
from imettk.training.trainer import Trainer

ROWS, CLASSES = 4096, 10


class Pixels(torch.utils.data.Dataset):
    """Images in memory, so that loading costs the same little for all."""

    def __init__(self, size: int) -> None:
        self.images = torch.randint(0, 256, (ROWS, size, size, 3), dtype=torch.uint8)
        self.targets = torch.randint(0, CLASSES, (ROWS,))

    def __getitem__(self, request: BatchRequest) -> Batch:
        rows = torch.from_numpy(request.rows)
        return Batch(self.images[rows], self.targets[rows], None, torch.from_numpy(request.positions), rows)


class TinyMlp(nn.Module):
    """A tiny MLP: about 300 us a step on one core."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, CLASSES))

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(self.layers(images.float() / 255))


def resnet18() -> Network:
    """Return timm's resnet18 as the package makes it."""
    return Network(backbone="timm:resnet18", num_classes=CLASSES, mean=(0.5,) * 3, std=(0.25,) * 3)


class LogitsOnly(nn.Module):
    """The peers' network: the same, with plain logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).logits


class TimedSession(Session):
    """A recorder of the time at every step's start."""

    def __init__(self, limit_steps: int) -> None:
        super().__init__(started=time.monotonic(), limit_seconds=math.inf, margin_seconds=0, limit_steps=limit_steps)
        self.borders: list[float] = []

    def stop_reason(self, *, validation_seconds: float | None = None) -> str | None:
        self.borders.append(time.perf_counter())
        return super().stop_reason(validation_seconds=validation_seconds)


def ours(make: Callable[[], nn.Module], dataset: Pixels, batch_size: int, steps: int, warmup: int) -> float:
    """Return seconds a step of the trainer, with everything on that a training uses except validation."""
    network = make()
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder, "journal.jsonl"))
        session = TimedSession(warmup + steps)
        data = TrainingData(
            rows=np.arange(ROWS),
            seed=0,
            dataset_for=lambda stage: dataset,  # type: ignore[arg-type, return-value]
            loss_for=lambda stage: OutputLoss(cross_entropy),
            num_outputs=CLASSES,
            task=TASKS["multiclass"],
        )
        trainer = Trainer(
            network,
            data,
            recipe=Recipe(
                table=TableFormat(task="multiclass"),
                rule=RuleConfig(kind="argmax"),
                stages=(StageConfig(num_epochs=100, batch_size=batch_size, lr=(1e-3,), schedule="cosine"),),
                train=TrainConfig(loss="cross_entropy", validate_epochs=1000),
                session=SessionConfig(num_workers=0),
            ),
            layer_groups=[[name for name, _ in network.named_parameters()]],
            compute=Compute(torch.device("cpu"), torch.float32),
            session=session,
            validate=lambda network: {},
            checkpoints=Checkpoints(Path(folder, "checkpoints"), {}, lambda fits: None),
            recorder=Recorder(journal.write),
        )
        trainer.fit()
        journal.close()
    return (session.borders[warmup + steps] - session.borders[warmup]) / steps


def requests(batch_size: int, steps: int) -> Iterator[BatchRequest]:
    """Return the trainer's requests to its loader."""
    return train_requests(
        Sampler(rows=np.arange(ROWS), seed=0).order,
        samples_per_epoch=ROWS,
        first_epoch=0,
        batch_size=batch_size,
        accumulate=1,
        first_step=0,
        last_step=steps,
    )


def bare(make: Callable[[], nn.Module], dataset: Pixels, batch_size: int, steps: int, warmup: int) -> float:
    """Return seconds a step of the loop that everybody writes, with the same loader."""
    network = make().to(memory_format=torch.channels_last).train()
    # The same optimizer: which parameters decay is no matter of the loop.
    groups = [[name for name, _ in network.named_parameters()]]
    optimizer = make_optimizer(network, groups, StageConfig(lr=(1e-3,)))
    batches = load_batches(dataset, requests(batch_size, warmup + steps), num_workers=0, pin=False)  # type: ignore[arg-type]
    for step, batch in enumerate(batches):
        if step == warmup:
            started = time.perf_counter()
        assert batch.targets is not None
        loss = functional.cross_entropy(network(batch.images).logits, batch.targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return (time.perf_counter() - started) / steps


def in_memory(make: Callable[[], nn.Module], dataset: Pixels, batch_size: int, steps: int, warmup: int) -> float:
    """Return seconds a step of the bare loop over batches in memory, the baseline of the peers."""
    network = make().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    for step, (images, targets) in enumerate(peer_loops.cycled_loader(_batches(dataset, batch_size), warmup + steps)):
        if step == warmup:
            started = time.perf_counter()
        loss = functional.cross_entropy(network(images).logits, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return (time.perf_counter() - started) / steps


def peer(name: str, make: Callable[[], nn.Module], dataset: Pixels, batch_size: int, steps: int, warmup: int) -> float:
    """Return seconds a step of a peer over the same batches."""
    network = LogitsOnly(make()).to(memory_format=torch.channels_last)
    batches = _batches(dataset, batch_size)
    return peer_loops.loop_seconds(name, network, batches, lr=1e-3, num_warmup=warmup, num_steps=steps)


def _batches(dataset: Pixels, batch_size: int) -> list[tuple[Tensor, Tensor]]:
    batches = [dataset[request] for request in requests(batch_size, 32)]
    return [(batch.images, batch.targets) for batch in batches if batch.targets is not None]


def loop_rows(
    name: str,
    make: Callable[[], nn.Module],
    size: int,
    bar: float,
    *,
    batch_size: int,
    steps: int,
    warmup: int,
    rounds: int,
) -> list[Row]:
    """Time our loop beside the bare one with the same loader, and the peers beside one over batches in memory."""
    dataset = Pixels(size)
    measures: dict[str, Callable[..., float]] = {"bare": bare, "imettk": ours}
    if found := peers.installed():
        measures |= {"bare, in memory": in_memory, **{name: functools.partial(peer, name) for name in found}}
    times: dict[str, list[float]] = {kind: [] for kind in measures}
    for number in range(rounds):
        for kind, measure in measures.items():
            if kind in ("bare", "imettk") or number < 3:  # peers are far from the bar: fewer rounds will do
                times[kind].append(measure(make, dataset, batch_size, steps, warmup) * 1e6)
    rows = [Row(f"{name}: imettk", times["imettk"], "us a step", times["bare"], bar)]
    return rows + [Row(f"{name}: {peer}", times[peer], "us a step", times["bare, in memory"]) for peer in found]


def checkpoint_row(rounds: int) -> Row:
    """Time the loop's wait for a checkpoint of densenet121 + Adam + EMA, beside a plain torch.save."""
    network = Network(backbone="timm:densenet121", num_classes=CLASSES, mean=(0.5,) * 3, std=(0.25,) * 3)
    ema = ModelEmaV3(network)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    blocked: list[float] = []
    plain: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        writer = CheckpointWriter(Path(folder), on_done=lambda step, seconds: None, on_failure=_fail)
        for number in range(rounds):
            started = time.perf_counter()
            parts = {"model": network.state_dict(), "ema": ema.module.state_dict()}
            tensors = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
            moments, values = optimizer_state(optimizer)
            writer.write(number, tensors | moments, values)
            blocked.append((time.perf_counter() - started) * 1000)
            writer.wait()
            started = time.perf_counter()
            state = {"model": network.state_dict(), "ema": ema.module.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, Path(folder, "plain.pt"))
            plain.append((time.perf_counter() - started) * 1000)
    # The first checkpoint of a session also takes the host memory that the others use again.
    return Row("checkpoint of densenet121 + Adam + EMA: blocked", blocked, "ms", plain, 0.4)


def _fail(step: int, error: OSError) -> None:
    raise error


def start_row(rounds: int) -> Row:
    """Time the demo's recipe from the command to the first step, resumed beside fresh, in separate processes."""
    fresh: list[float] = []
    resumed: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "imettk"]
        make = "import sys; from pathlib import Path; from imettk.synthetic.digits import make_digits;"
        make += "f = Path(sys.argv[1]);"
        make += "make_digits(f / 'data', f / 'answers.csv')"
        subprocess.run([sys.executable, "-c", make, folder], check=True)
        common = ["digits", "--data", f"{folder}/data"]
        _quiet([*command, "prepare", *common, "--run-dir", f"{folder}/prepared"])
        train = [*command, "train", *common, "--inputs", f"{folder}/prepared", "--fold", "0"]
        for number in range(rounds):
            run = f"{folder}/run{number}"
            for times in (fresh, resumed):
                started = time.time()
                _quiet([*train, "--run-dir", run, "--session.limit-steps", "10"])
                lines = Path(run, "fold0", "journal.jsonl").read_text().splitlines()
                # The journal's line after ten steps tells when they ended, and how long each took.
                times.append(_first_step(lines) - started)
    return Row("from command to first step: resumed", resumed, "s", fresh, 1.2)


def _first_step(lines: list[str]) -> float:
    event = [event for event in map(json.loads, lines) if event["event"] == "train"][-1]
    return event["time"] - 10 * event["seconds"]


def _quiet(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    arguments = arguments_of(__doc__).parse_args()
    rounds = 1 if arguments.quick else 9
    print_machine(*peers.installed())
    # The overhead is Python's, on one thread; a second one of OpenMP would only add its waiting to both.
    torch.set_num_threads(1)
    steps = 50 if arguments.quick else 1000
    rows = loop_rows("tiny MLP", TinyMlp, 8, 1.10, batch_size=16, steps=steps, warmup=20, rounds=rounds)
    torch.set_num_threads(os.cpu_count() or 1)
    if not arguments.quick:
        rows += loop_rows("resnet18 at 64 px", resnet18, 64, 1.02, batch_size=16, steps=12, warmup=4, rounds=rounds)
        rows.append(checkpoint_row(9))
        rows.append(start_row(3))
    finish(rows, arguments)


if __name__ == "__main__":
    main()
