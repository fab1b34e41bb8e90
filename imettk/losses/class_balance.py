"""Numbers of training rows by class, and what a loss takes from them: weights, and the prior of label smoothing."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imettk.config import StageConfig
from imettk.errors import ConfigError
from imettk.tasks import Task

ROWS_AT_A_TIME = 4096  # whose soft targets are in memory


@dataclass(frozen=True)
class ClassBalance:
    """The training rows of a fold.

    Attributes:
        labels: names of all labels.
        targets: of the training rows, without any teacher's part, first axis N.
        num_outputs: of the network, O.
    """

    task: Task
    labels: tuple[str, ...]
    targets: np.ndarray
    num_outputs: int

    def weights(self, stage: StageConfig) -> Tensor | None:
        """Return a stage's weights of classes, or of absent and present labels; None if all weigh alike.

        A class of n rows weighs 1 / size(n), where size is n (`inverse`), its square root (`sqrt`) or the effective
        number (`effective`). A label is a pair of classes: rows without it weigh 1, and rows with it, of which there
        are n among N, weigh size(N - n) / size(n), torch's `pos_weight`. All are multiplied with the recipe's own
        weights and divided by their mean over the training rows (and labels), so that losses keep their size, and the
        learning rate its meaning.

        Returns:
            float32 (O,), or (2, O) for labels that do not exclude each other: absent, then present.
        """
        if not stage.weighs_classes:
            return None
        counts = self.task.label_counts(self.targets, self.num_outputs).astype(np.float64)
        # Mirrored identities are classes behind those of the labels, and weigh the same.
        given = np.resize([float(stage.label_weights.get(label, 1.0)) for label in self.labels], len(counts))
        size = _size_of(stage)
        if not self.task.separable:
            weights = given / size(counts.clip(1))
            return torch.from_numpy(weights / (weights @ counts / counts.sum())).float()
        absent = len(self.targets) - counts
        weights = given * size(absent.clip(1)) / size(counts.clip(1))
        mean = (absent + counts * weights).mean() / len(self.targets)
        return torch.from_numpy(np.stack([np.ones_like(weights), weights]) / mean).float()

    def prior(self) -> np.ndarray:
        """Return the mean soft target, float32 (O,)."""
        known = self.targets[self.task.learnable(self.targets)]
        total = np.zeros(self.num_outputs)
        for first in range(0, len(known), ROWS_AT_A_TIME):
            part = self.task.soft_answers(known[first : first + ROWS_AT_A_TIME], self.num_outputs)
            total += part.sum(0, dtype=np.float64)
        return (total / len(known)).astype(np.float32)

    def check(self, stages: Sequence[StageConfig]) -> None:
        """Raise `ConfigError` if a stage weighs something that is no label."""
        for number, stage in enumerate(stages):
            if unknown := sorted(set(stage.label_weights) - set(self.labels)):
                nearest = difflib.get_close_matches(unknown[0], self.labels, n=1)
                guess = f"; did you mean {nearest[0]!r}?" if nearest else ""
                raise ConfigError(
                    f"`stages.{number}.label_weights` names {unknown[0]!r}, which is no label of the table{guess}"
                )


def effective_number(counts: np.ndarray, beta: float) -> np.ndarray:
    """Return (1 - beta^n) / (1 - beta) for n rows, float64 (C,): near n for few, and never above 1 / (1 - beta).

    The rows of a class overlap, so each further one adds less (Cui et al., arXiv 1901.05555, eq. 2).
    """
    return np.asarray(np.expm1(counts * np.log(beta)) / (beta - 1))


def _size_of(stage: StageConfig) -> Callable[[np.ndarray], np.ndarray]:
    """Return the size of classes, as a function of their numbers of rows."""
    sizes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "none": np.ones_like,
        "inverse": np.asarray,
        "sqrt": np.sqrt,
        "effective": lambda counts: effective_number(counts, stage.effective_beta),
    }
    return sizes[stage.class_weights]
