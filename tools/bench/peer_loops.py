"""The training loops of Lightning, Accelerate and fastai, timed step by step."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from peers import lightning_module, quiet
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset


class _Cycled(Dataset[tuple[Tensor, Tensor]]):
    """A dataset of `num_batches` ready-made batches, which repeat the given ones."""

    def __init__(self, batches: Sequence[tuple[Tensor, Tensor]], num_batches: int) -> None:
        self.batches, self.num_batches = batches, num_batches

    def __len__(self) -> int:
        return self.num_batches

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.batches[index % len(self.batches)]


def cycled_loader(batches: Sequence[tuple[Tensor, Tensor]], num_batches: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return the loader for every peer: `num_batches` batches, cycled, in order, no workers.

    Public, so that whoever compares a peer with another loop can feed that loop through the same loader.
    """
    return DataLoader(_Cycled(batches, num_batches), batch_size=None)


def loop_seconds(
    peer: str,
    network: nn.Module,
    batches: Sequence[tuple[Tensor, Tensor]],
    *,
    lr: float,
    num_warmup: int,
    num_steps: int,
) -> float:
    """Return seconds per step of `peer`'s training loop on the CPU, over `num_steps` steps after `num_warmup` (>= 1).

    `network` maps inputs (B, ...) to logits (B, C) and is trained in place, with torch's fused AdamW at the constant
    learning rate `lr` and the mean cross-entropy to the int64 targets (B,). `batches` are (inputs, targets) in memory,
    cycled, through `cycled_loader`; the warm-up and the timed steps are one epoch. A step is timed from the end of the
    step before it to its own end, both seen from inside by a hook of the peer, so starting up and shutting down are
    left out and everything that a peer does between two steps is in. Nothing is validated or saved, there is no model
    summary. What is on, because a person gets it unasked or is shown it first in the documentation:

    - lightning: a LightningModule in a Trainer with its logger (CSV, or TensorBoard where that is installed; a line
      each 50 steps), the progress bar (rich where that is installed, else tqdm) and the loss in it, by `self.log`;
    - accelerate: network, optimizer and loader prepared, `accelerator.backward`. It has no bar and logs nothing
      unasked, so the loss is never read;
    - fastai: a Learner with its Recorder and progress bar, which read the loss at every step; torch's AdamW by
      OptimWrapper.

    Standard output and error go to os.devnull meanwhile, so the bars are computed, as far as they are when nobody looks
    at a terminal, but not shown.
    """
    if num_warmup < 1:
        raise ValueError("num_warmup must be 1 or more: the clock starts at the end of a step")
    loop = {"lightning": _lightning_loop, "accelerate": _accelerate_loop, "fastai": _fastai_loop}[peer]
    ends: list[float] = []
    with quiet():
        loop(network, cycled_loader(batches, num_warmup + num_steps), lr, lambda: ends.append(time.perf_counter()))
    if len(ends) != num_warmup + num_steps:
        raise RuntimeError(f"{peer} made {len(ends)} steps instead of {num_warmup + num_steps}")
    return (ends[-1] - ends[num_warmup - 1]) / num_steps


def _lightning_loop(network: nn.Module, loader: DataLoader[Any], lr: float, at_end: Callable[[], None]) -> None:
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import LambdaCallback

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=1,
            callbacks=[LambdaCallback(on_train_batch_end=lambda *_: at_end())],
            enable_checkpointing=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        trainer.fit(lightning_module(network, lr), loader)


def _accelerate_loop(network: nn.Module, loader: DataLoader[Any], lr: float, at_end: Callable[[], None]) -> None:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, fused=True)
    network, optimizer, loader = accelerator.prepare(network, optimizer, loader)
    network.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(inputs), targets)
        accelerator.backward(loss)
        optimizer.step()
        at_end()


def _fastai_loop(network: nn.Module, loader: DataLoader[Any], lr: float, at_end: Callable[[], None]) -> None:
    # The progress bar joins the Learner's default callbacks when its module is imported, as fastai.vision.all does.
    import fastai.callback.progress  # noqa: F401
    from fastai.callback.core import Callback, CancelValidException
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper
    from fastai.torch_core import default_device

    class Steps(Callback):
        def after_batch(self) -> None:
            at_end()

        def before_validate(self) -> None:
            raise CancelValidException

    default_device(use=False)  # else a machine with a GPU gets the network moved there
    learner = Learner(
        # A Learner wants a second loader to validate on; it is never read.
        DataLoaders(loader, loader),
        network,
        loss_func=nn.CrossEntropyLoss(),
        opt_func=functools.partial(OptimWrapper, opt=torch.optim.AdamW, fused=True),
    )
    learner.fit(1, lr, cbs=[Steps()])
