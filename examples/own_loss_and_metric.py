"""Your own loss and metric: Tversky, which weighs missed labels against false ones, and the F1 of the worst label.

    imettk demo                                    make the data for this example, in runs/demo/data
    imettk prepare examples/own_loss_and_metric.py --data runs/demo/data --run-dir runs/tversky
    imettk train --data runs/demo/data --run-dir runs/tversky
    imettk validate --data runs/demo/data --run-dir runs/tversky
    imettk infer --data runs/demo/data --run-dir runs/tversky

Keyword arguments of the loss are options: `--train.loss-params missed 0.8`.
"""

import numpy as np
from torch import Tensor

from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    Recipe,
    ScoreConfig,
    SessionConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
)


def tversky(logits: Tensor, targets: Tensor, *, missed: float = 0.7) -> Tensor:
    """Return 1 - TP / (TP + missed FN + (1 - missed) FP) of each sample (Salehi et al., arXiv 1706.05721).

    Args:
        logits: of the labels, (B, C).
        targets: 1 for each label of a sample, else 0; uint8, or float where samples are mixed, (B, C).
        missed: weight of a missed label, in [0, 1]; a false one has weight 1 - `missed`.

    Returns:
        float32 (B,).
    """
    probs, targets = logits.float().sigmoid(), targets.float()
    right = (probs * targets).sum(1)
    weighted = missed * ((1 - probs) * targets).sum(1) + (1 - missed) * (probs * (1 - targets)).sum(1)
    return 1 - (right + 1) / (right + weighted + 1)  # + 1: a sample without any label would give 0 / 0


def worst_f1(answers: np.ndarray, targets: np.ndarray) -> float:
    """Return the F1 of the label with the lowest F1, in [0, 1].

    Args:
        answers: chosen labels, bool (N, C).
        targets: true labels, uint8 (N, C).
    """
    right = (answers & (targets > 0)).sum(0)
    either = answers.sum(0) + (targets > 0).sum(0)
    return float((2 * right[either > 0] / either[either > 0]).min(initial=1.0))


def recipe() -> Recipe:
    """Return the demo's recipe with both."""
    return Recipe(
        name="tversky",
        table=TableFormat(group_column="group", labels_csv="labels.csv"),
        folds=FoldConfig(num_folds=3),
        images=ImageFormat(image_size=(48, 48), channels=1, mean=(0.2,), std=(0.3,)),
        model=ModelConfig(backbone="timm:test_resnet"),
        train=TrainConfig(loss="recipe:tversky", loss_params={"missed": 0.6}),
        stages=(StageConfig(num_epochs=8, lr=(6e-3,), warmup_epochs=1, clip_norm=5.0, augmentation="affine"),),
        score=ScoreConfig(metric="recipe:worst_f1"),
        session=SessionConfig(num_workers=0),
    )
