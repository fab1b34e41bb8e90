"""Mean of the fold models of several runs, as one model file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from imettk.config import Recipe, differences
from imettk.data.csv_files import list_names
from imettk.data.data_identity import DataIdentity
from imettk.errors import MismatchError
from imettk.experiment.prepared import require_same_data
from imettk.experiment.scaling import SCALE
from imettk.tracking.tensors import read_tensors, read_values

# Sections and values in a model's header that decide what its weights mean; the others only say how they were found.
SAME_SECTIONS = ("table", "folds", "images", "model", "embedding")
SAME_VALUES = ("labels", "model", "images", "parts", "auxiliary", SCALE)


def require_same_recipe(first: Recipe, other: Recipe, names: tuple[str, str]) -> None:
    """Raise `MismatchError` if two runs differ in more than their training, and name the fields."""
    if changed := differences(first, other, SAME_SECTIONS):
        raise MismatchError(f"{' and '.join(names)} cannot be averaged: {'; '.join(changed)}")


def require_same_network(paths: Sequence[Path], data: DataIdentity) -> None:
    """Raise `MismatchError` unless these models are of the same data, and their weights have the same meaning."""
    first, *others = [read_values(path) for path in paths]
    for path, values in zip(paths, (first, *others), strict=True):
        require_same_data(str(path), values, data)
        if changed := [name for name in SAME_VALUES if values.get(name) != first.get(name)]:
            raise MismatchError(f"{path} and {paths[0]} cannot be averaged: {list_names(changed, 'value')} differ")


def mean_of_models(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Return the mean of each tensor over several models; counters are the first one's.

    Raises:
        MismatchError: the models hold tensors of other names or shapes.
    """
    first = read_tensors(paths[0]).tensors
    # In float64 the sum of a few float32 is exact to the last bit of the mean, in whatever order they come.
    sums = {name: value.double() for name, value in first.items() if value.is_floating_point()}
    for path in paths[1:]:
        tensors = read_tensors(path).tensors
        shapes = [{name: value.shape for name, value in part.items()} for part in (first, tensors)]
        if shapes[0] != shapes[1]:
            odd = sorted(name for name in {**first, **tensors} if shapes[0].get(name) != shapes[1].get(name))
            raise MismatchError(
                f"{path} and {paths[0]} cannot be averaged: {list_names(odd, 'tensor')} differ in shape"
            )
        for name, total in sums.items():
            total += tensors[name]
    return {name: (sums[name] / len(paths)).to(value.dtype) if name in sums else value for name, value in first.items()}
