"""Losses that fail on purpose, and the files a trainer leaves."""

from __future__ import annotations

import torch
from torch import Tensor

from imettk.losses.cross_entropy import cross_entropy
from imettk.tracking.journal import read_journal

EVERY_STEP = {"checkpoint_seconds": 0.0}


def weights(trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


class FailingLoss:
    """Cross-entropy that returns NaN in some calls, counted from 1."""

    def __init__(self, bad: set[int]) -> None:
        self.bad, self.calls = bad, 0

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        losses = cross_entropy(logits, targets)
        return losses * torch.nan if self.calls in self.bad else losses


def events(tmp_path, kind: str, folder: str = "run") -> list[dict]:
    return [event for event in read_journal(tmp_path / folder / "journal.jsonl") if event["event"] == kind]
