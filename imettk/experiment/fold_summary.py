"""Summary of a training table and its folds, in a few lines."""

from __future__ import annotations

import numpy as np

from imettk.config import FoldConfig, Recipe
from imettk.data.csv_files import list_names
from imettk.data.folds import GALLERY_ONLY, LEFT_OUT, ONLY_TRAINS
from imettk.data.sample_table import LabelledTable
from imettk.data.units import describe_units

MOST_NAMED = 6  # columns of numbers whose range is told


def describe_folds(recipe: Recipe, table: LabelledTable, folds: np.ndarray) -> str:
    """Return a few lines about rows, folds, their sizes, and how evenly labels are spread over them."""
    task, config, targets = recipe.task, recipe.folds, table.targets
    identities, learnable = task.identities(targets), task.learnable(targets)
    lines = _contents(recipe, table, targets)
    if task.exclusive and (alone := int((task.label_counts(targets, len(table.labels)) == 1).sum())):
        lines.append(f"{alone} labels have a single row")
    if unknown := int((~learnable).sum()):
        lines.append(f"{unknown} rows are of no known identity: they never train")
    dealt = np.flatnonzero(folds >= 0)
    if not len(dealt):
        return "\n".join([*lines, "all rows train, and none is validated"])
    sizes = np.bincount(folds[dealt], minlength=config.num_folds)
    lines.append("folds: " + ", ".join(f"{fold}: {size} rows" for fold, size in enumerate(sizes)))
    only = (folds == ONLY_TRAINS) & learnable
    if only.any():
        of_extra = table.sources is not None and (table.sources[only] > 0).all()
        lines.append(f"{int(only.sum())} rows {'of extra tables ' if of_extra else ''}only train")
    if identities is not None:
        lines += _unknown_lines(identities, folds, config)
    if task.numeric:
        means = (targets[folds == fold].mean(0) for fold in range(folds[dealt].max() + 1))
        lines.append("means of the folds: " + "; ".join(" ".join(f"{mean:.6g}" for mean in part) for part in means))
    elif config.scheme == "deal":
        counts = [
            task.label_counts(targets[folds == fold], len(table.labels)) for fold in range(folds[dealt].max() + 1)
        ]
        lines += _evenness(table.labels, np.stack(counts), alone=task.exclusive)
    return "\n".join(lines)


def _contents(recipe: Recipe, table: LabelledTable, targets: np.ndarray) -> list[str]:
    """Return a line about rows, groups, labels or numbers, votes and units."""
    task = recipe.task
    rows = task.label_counts(targets, len(table.labels))
    what = f"{len(table.labels)} labels, {int((rows == 0).sum())} of them without a row"
    if task.numeric:
        what = "; ".join(
            f"{label} from {column.min():g} to {column.max():g}, mean {column.mean():.6g}"
            for label, column in zip(table.labels[:MOST_NAMED], targets.T, strict=False)
        )
    groups = "" if table.groups is None else f" in {len(np.unique(table.groups))} groups"
    if table.votes is not None:
        low, middle, high = np.quantile(table.votes, [0, 0.5, 1])
        what += f"; votes of a row from {low:g} to {high:g}, median {middle:g}; its label is the one with most"
    units = [] if table.units is None else [f"{describe_units(table.units)}, which give one answer each"]
    return [f"{len(table)} rows{groups}, {what}", *units]


def _unknown_lines(identities: np.ndarray, folds: np.ndarray, config: FoldConfig) -> list[str]:
    """Return, for each fold, how many identities validate in it that it does not train on."""
    never_train = (identities < 0) | np.isin(folds, (LEFT_OUT, GALLERY_ONLY))
    counts = []
    for fold in range(config.num_folds):
        known = np.unique(identities[~never_train & (folds != fold)])
        counts.append(len(np.setdiff1d(identities[~never_train & (folds == fold)], known)))
    if not any(counts):
        return []
    return ["identities that only validate: " + ", ".join(f"{fold}: {count}" for fold, count in enumerate(counts))]


def _evenness(labels: tuple[str, ...], counts: np.ndarray, *, alone: bool) -> list[str]:
    """Return how unevenly the rows of labels are spread over folds, and which labels cannot be in every fold.

    Args:
        counts: rows of each label in each fold, int (F, C).
        alone: rows have one label each: a label with fewer rows than folds is always uneven, and says nothing.
    """
    mean, few = counts.mean(0), counts.sum(0) < len(counts)
    seen = mean > 0
    judged = ~few if alone and not few.all() else seen
    if not judged.any():
        return []
    spread = np.abs(counts - mean).max(0)[judged] / mean[judged]
    lines = [f"a label's rows differ between folds by {spread.mean():.1%} on average, {spread.max():.1%} at most"]
    rare = [label for label, lacks in zip(labels, seen & few, strict=True) if lacks]
    if rare:
        lines.append(f"fewer rows than folds: {list_names(rare, 'label')}; folds without one say nothing about it")
    return lines
