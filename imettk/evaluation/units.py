"""Units of several images that get one answer: their predictions, made from those of their images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from imettk.config import Recipe
from imettk.config.choices import UNIT_POOLS
from imettk.data.csv_files import list_names
from imettk.data.sample_table import SampleTable
from imettk.data.units import describe_units
from imettk.errors import MismatchError
from imettk.evaluation.rules import score_quickly
from imettk.postprocess.fitters import RuleFitter
from imettk.postprocess.unit_pools import Members, pool_units
from imettk.progress import say

Table = TypeVar("Table", bound=SampleTable)


@dataclass(frozen=True)
class Pooled:
    """Out-of-fold predictions of units.

    Attributes:
        probs: by the pool that is best of all, float (U, O).
        by_fold: of each fold for which the others choose another one, the same by that.
        pool: its name, None if each image is answered by itself.
        scores: of each pool: only the differences count.
    """

    probs: np.ndarray
    by_fold: Mapping[int, np.ndarray] = field(default_factory=dict)
    pool: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)

    def honest(self, folds: np.ndarray) -> np.ndarray:
        """Return the predictions of each fold by the pool that the other folds choose, float (U, O); folds (U,)."""
        if not self.by_fold:
            return self.probs  # no copy: with thousands of labels it would be gigabytes
        probs = self.probs.copy()
        for fold, chosen_by_others in self.by_fold.items():
            probs[folds == fold] = chosen_by_others[folds == fold]
        return probs

    def values(self) -> dict[str, Any]:
        """Return the content of `scores.json` about the pool."""
        return {} if self.pool is None else {"pool": self.pool, "pools": dict(self.scores)}


class Units(Generic[Table]):
    """Units of a table; without units, each image is one, and nothing changes."""

    def __init__(self, recipe: Recipe, table: Table) -> None:
        self._recipe, self._images, self._members = recipe, table, None
        self.first = np.arange(len(table))  # the first image of each unit, int64 (U,)
        if table.units is not None:
            _, first, number = np.unique(table.units, return_index=True, return_inverse=True)
            order = np.argsort(first)  # units come in the order of their first images
            self.first = first[order]
            self._members = Members(np.argsort(order)[number])

    @cached_property
    def table(self) -> Table:
        """Table with a row for each unit: its name for an id, and labels, image and group of its first image."""
        if self._members is None:
            return self._images
        made = self._images.take(self.first)
        assert made.units is not None
        alone = made.groups is None or len(np.unique(made.groups)) == len(made)
        return replace(made, ids=made.units, groups=None if alone else made.groups)

    def folds(self, folds: np.ndarray) -> np.ndarray:
        """Return the fold of each unit, from those of images, int64 (U,).

        Raises:
            MismatchError: a unit lies in several folds, as after the table's units have changed.
        """
        if self._members is not None and (differs := folds != folds[self.first][self._members.unit]).any():
            assert self._images.units is not None
            parted = list_names(np.unique(self._images.units[differs]), "unit")
            raise MismatchError(f"{parted} with images in several folds: `imettk prepare` in a new --run-dir")
        return folds[self.first]

    def pool(self, probs: np.ndarray, name: str | None = None) -> np.ndarray:
        """Return predictions of units from those of images, float (N, O) -> (U, O).

        Args:
            name: of the pool; None is the recipe's, or the mean if that is still to be chosen.
        """
        if self._members is None:
            return probs
        recipe, task, labels = self._recipe, self._recipe.task, self._images.labels
        name = name or (recipe.rule.pool if recipe.rule.pool in UNIT_POOLS else "mean")
        positive, parts = None, task.parts(self._images.label_groups)
        if task.sums_to_one:
            parts = (len(labels),)
        if task.sums_to_one and len(labels) == 2:
            positive = labels.index(recipe.rule.positive) if recipe.rule.positive in labels else 1
        return pool_units(
            probs,
            self._members,
            UNIT_POOLS[name].load(),
            size=recipe.rule.pool_size,
            parts=parts,
            positive=positive,
        )

    def choose(self, fitter: RuleFitter, probs: np.ndarray, folds: np.ndarray) -> Pooled:
        """Return out-of-fold predictions by the recipe's pool, or by the one that scores best.

        Args:
            probs: of images, float (N, O).
            folds: of units, int64 (U,).
        """
        if self._members is None:
            return Pooled(probs)
        config, targets = self._recipe.rule, self.table.targets
        assert targets is not None and self._images.units is not None
        names = [name for name, row in UNIT_POOLS.items() if row.numbers or not self._recipe.task.numeric]
        by_pool = {name: self.pool(probs, name) for name in (names if config.pool == "auto" else [config.pool])}

        def scores_on(rows: np.ndarray) -> dict[str, float]:
            return {name: score_quickly(fitter, pooled[rows], targets[rows]) for name, pooled in by_pool.items()}

        def best(scores: dict[str, float]) -> str:
            sign = 1 if fitter.scorer.higher else -1
            return max(scores, key=lambda name: -np.inf if np.isnan(scores[name]) else sign * scores[name])

        scores = scores_on(np.arange(len(folds)))
        pool, by_fold = best(scores), {}
        if len(by_pool) > 1 and len(np.unique(folds)) > 1:
            # A pool that is chosen on all rows has seen those it is scored on: each fold goes by the others' choice.
            choices = {fold: best(scores_on(np.flatnonzero(folds != fold))) for fold in np.unique(folds).tolist()}
            by_fold = {fold: by_pool[name] for fold, name in choices.items() if name != pool}
        return Pooled(by_pool[pool], by_fold, pool, scores)

    def tell(self, pooled: Pooled, fitter: RuleFitter) -> None:
        """Print how many images a unit has, and which pool was chosen."""
        if self._images.units is None:
            return
        listed = ", ".join(f"{name} {score:.4f}" for name, score in pooled.scores.items())
        why = f" ({fitter.scorer.title}: {listed})" if len(pooled.scores) > 1 else ""
        say(f"{describe_units(self._images.units)}: one answer by the {pooled.pool} of their predictions{why}")
