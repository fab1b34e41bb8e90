"""Your own rule, which turns probabilities into answers: as many labels as the probabilities add up to.

    imettk demo                                    make the data for this example, in runs/demo/data
    imettk prepare examples/own_rule.py --data runs/demo/data --run-dir runs/expected
    imettk train --data runs/demo/data --run-dir runs/expected
    imettk validate --data runs/demo/data --run-dir runs/expected
    imettk infer --data runs/demo/data --run-dir runs/expected

`validate` fits it and writes it to rule.json, where `infer` reads it; to judge a fold, it fits it on the other folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    Recipe,
    RuleConfig,
    SessionConfig,
    StageConfig,
    TableFormat,
)
from imettk.postprocess.rule import Rule


@dataclass(frozen=True)
class ExpectedCount(Rule):
    """The most likely labels of a row, as many as the sum of its probabilities times a factor.

    Attributes:
        factor: fitted so that all rows together get as many labels as they have.
    """

    kind: ClassVar[str] = "expected_count"
    factor: float = 1.0

    @classmethod
    def fit(cls, probs: np.ndarray, targets: np.ndarray, context: Any) -> ExpectedCount:
        """Fit the factor: probs float (N, C), targets uint8 (N, C); `context.plan` is the recipe's section `rule`."""
        return cls(float(targets.sum() / probs.sum()))

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Return the chosen labels, bool (N, C)."""
        counts = np.rint(self.factor * probs.sum(1, keepdims=True))
        ranks = np.argsort(np.argsort(-probs, axis=1, kind="stable"), axis=1)
        return ranks < counts


def recipe() -> Recipe:
    """Return the demo's recipe with it."""
    return Recipe(
        name="expected",
        table=TableFormat(group_column="group", labels_csv="labels.csv"),
        folds=FoldConfig(num_folds=3),
        images=ImageFormat(image_size=(48, 48), channels=1, mean=(0.2,), std=(0.3,)),
        model=ModelConfig(backbone="timm:test_resnet"),
        stages=(StageConfig(num_epochs=8, lr=(6e-3,), warmup_epochs=1, clip_norm=5.0, augmentation="affine"),),
        rule=RuleConfig(kind="recipe:ExpectedCount"),
        session=SessionConfig(num_workers=0),
    )
