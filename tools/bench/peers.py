"""Peers of imettk for the benchmarks: the installed ones, and the shared parts of their loops and trainings.

The peers are optional: nothing is imported from them before a function is called that needs one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

PEERS = ("lightning", "accelerate", "fastai")


def installed() -> dict[str, str]:
    """Return the installed peers, name -> version, from package metadata, without importing them."""
    found = {}
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def lightning_module(network: nn.Module, lr: float, num_steps: int | None = None) -> Any:
    """Wrap `network` as a LightningModule; with `num_steps`, under OneCycleLR over so many steps."""
    from lightning.pytorch import LightningModule

    class Classifier(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            inputs, targets = batch
            loss = functional.cross_entropy(self.network(inputs), targets)
            self.log("train_loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=lr, fused=True)
            if num_steps is None:
                return optimizer
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=num_steps)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    return Classifier()


@contextmanager
def quiet() -> Iterator[None]:
    """Send stdout and stderr to os.devnull by file descriptor: loggers keep the streams they first saw."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(kept, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.close(sink)
