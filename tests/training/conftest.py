"""A trainer that takes milliseconds: a small network over random pixels, with everything around it that is real."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imettk.config import Recipe, RuleConfig, SessionConfig, StageConfig, TableFormat, TrainConfig
from imettk.data.dataset import Batch
from imettk.data.sampling import BatchRequest
from imettk.losses.cross_entropy import cross_entropy
from imettk.losses.output_loss import OutputLoss
from imettk.models.network import Outputs
from imettk.tasks import TASKS
from imettk.tracking.journal import Journal
from imettk.training.checkpoint import Checkpoints, load_newest
from imettk.training.feed import TrainingData
from imettk.training.process_group import Compute, ProcessGroup
from imettk.training.recorder import Recorder
from imettk.training.session import Session
from imettk.training.trainer import Trainer

ROWS, CLASSES = 24, 4


class Pixels(torch.utils.data.Dataset):
    """Random images 6 x 6 and labels by row; what a request asks for is a function of it."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 256, (ROWS, 6, 6, 1), dtype=torch.uint8, generator=generator)
        self.targets = torch.randint(0, CLASSES, (ROWS,), generator=generator)

    def __getitem__(self, request: BatchRequest) -> Batch:
        rows = torch.from_numpy(request.rows)
        return Batch(self.images[rows], self.targets[rows], None, torch.from_numpy(request.positions), rows)


class SmallNet(nn.Module):
    """Convolution, BatchNorm, dropout, linear."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(4, CLASSES)

    def forward(self, images: Tensor) -> Outputs:
        features = self.norm(self.conv(images.permute(0, 3, 1, 2).float() / 255)).relu().mean((2, 3))
        return Outputs(self.head(self.dropout(features)))


GROUPS = [["conv.weight", "conv.bias", "norm.weight", "norm.bias"], ["head.weight", "head.bias"]]
MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def make_trainer(tmp_path: Path) -> Iterator[MakeTrainer]:
    """Make a trainer in `tmp_path / folder`; keywords override what it is made of."""
    journals: list[Journal] = []

    def make(
        folder: str = "run",
        *,
        network: nn.Module | None = None,
        layer_groups: list[list[str]] = GROUPS,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        whole_batch: bool = False,
        stages: tuple[StageConfig, ...] = (StageConfig(num_epochs=4, batch_size=8, lr=(0.02,)),),
        plan: TrainConfig | None = None,
        session: dict[str, Any] | None = None,
        validate: Callable[[nn.Module], dict[str, float]] | None = None,
        limit_steps: int | None = None,
        dtype: torch.dtype = torch.float32,
        processes: ProcessGroup | None = None,
        dataset: Any = None,
        kind: type[Trainer] = Trainer,
    ) -> Trainer:
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        data = TrainingData(
            rows=np.arange(ROWS),
            seed=3,
            dataset_for=lambda stage: dataset or Pixels(),
            loss_for=lambda stage: OutputLoss(loss or cross_entropy, whole_batch=whole_batch),
            num_outputs=CLASSES,
            task=TASKS["multiclass"],
        )

        def find(fits: Callable[[Any], bool]) -> Any:
            return load_newest([path / "checkpoints"], warn=lambda text: None, fits=fits)

        journals.append(Journal(path / "journal.jsonl"))
        trainer = kind(
            network or SmallNet(),
            data,
            recipe=Recipe(
                table=TableFormat(task="multiclass"),
                stages=stages,
                train=plan or TrainConfig(loss="cross_entropy"),
                rule=RuleConfig(kind="argmax"),
                session=replace(SessionConfig(num_workers=0), **(session or {})),
            ),
            layer_groups=layer_groups,
            compute=Compute(torch.device("cpu"), dtype, processes or ProcessGroup()),
            session=Session(
                started=time.monotonic(), limit_seconds=math.inf, margin_seconds=0, limit_steps=limit_steps
            ),
            validate=validate or (lambda network: {"loss": 1.0, "score": 0.0}),
            checkpoints=Checkpoints(path / "checkpoints", {}, find),
            recorder=Recorder(journals[-1].write),
        )
        checkpoint = find(lambda one: True)
        if checkpoint is not None:
            trainer.load(checkpoint)
        return trainer

    yield make
    for journal in journals:
        journal.close()
