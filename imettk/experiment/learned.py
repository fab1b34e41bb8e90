"""Outputs of a network beside single labels: the parts of questions, and auxiliary ones that are never answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from imettk.config import Recipe
from imettk.data.sample_table import SampleTable


@dataclass(frozen=True)
class Learned:
    """Facts about a network's outputs that the table decides; kept with the model.

    Attributes:
        parts: outputs of each question, (Q,), auxiliary ones among them; () where outputs are logits.
        auxiliary: names of the last outputs, which are trained and not answered.
    """

    parts: tuple[int, ...] = ()
    auxiliary: tuple[str, ...] = ()

    @classmethod
    def of(cls, recipe: Recipe, table: SampleTable) -> Self:
        """Return what a recipe learns from a training table."""
        return cls(recipe.task.parts(table.learned_groups), table.auxiliary_labels)

    def to_values(self) -> dict[str, Any]:
        """Return plain values, for the header of a file; none for plain labels."""
        values = {"parts": list(self.parts), "auxiliary": list(self.auxiliary)}
        return {name: value for name, value in values.items() if value}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_values` returned, among others."""
        return cls(tuple(values.get("parts", ())), tuple(values.get("auxiliary", ())))


def with_auxiliary(targets: np.ndarray, table: SampleTable) -> np.ndarray:
    """Return the targets of training: those that are answered, then the auxiliary ones, (N, O)."""
    return targets if table.auxiliary is None else np.concatenate([targets, table.auxiliary], axis=1)
