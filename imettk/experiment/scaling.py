"""Scale in which a fold learns numbers: fitted on its training rows, and read back from its model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imettk.config import Recipe
from imettk.errors import MismatchError
from imettk.experiment.learned import with_auxiliary
from imettk.experiment.prepared import Prepared
from imettk.tasks.scale import Scale
from imettk.tracking.tensors import read_values

SCALE = "scale"  # in the header of checkpoints and models


def scale_of(recipe: Recipe, prepared: Prepared, fold: int) -> Scale | None:
    """Return the scale of a fold; None if its task has none."""
    rows = prepared.rows(fold, valid=False)
    targets = with_auxiliary(prepared.targets, prepared.table)
    # From training rows only: a scale that has seen the validation rows would leak into their score.
    return recipe.task.fit_scale(targets[rows], recipe.target_scale) if len(rows) else None


def read_scale(model: Path) -> Scale | None:
    """Return the scale that a model was trained in."""
    values = read_values(model).get(SCALE)
    return None if values is None else Scale.from_values(values)


def scale_values(scale: Scale | None) -> dict[str, Any]:
    """Return what the header of a file says of the scale."""
    return {} if scale is None else {SCALE: scale.to_values()}


def require_same_scale(what: str, values: dict[str, Any], scale: Scale | None) -> None:
    """Raise `MismatchError` if a checkpoint, named by `what`, learns numbers in another scale."""
    if values.get(SCALE) != scale_values(scale).get(SCALE):
        raise MismatchError(f"{what} was trained in another scale of the numbers: train in another --run-dir")


def unscale(logits: Tensor, scale: Scale | None) -> Tensor:
    """Return the outputs of a network, (..., O), on the targets' own scale; unchanged without one."""
    return logits if scale is None else torch.from_numpy(scale.inverse(logits.numpy()))
