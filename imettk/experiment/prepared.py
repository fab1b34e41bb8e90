"""Results of `prepare` and `train`, read back: table, folds, image source, networks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from imettk.config import PREPARE_SECTIONS, SPLIT, Recipe, differences, fingerprint, from_json
from imettk.config.choices import BACKBONES, HEADS, HeadChoice
from imettk.config.earlier import IMAGENET
from imettk.config.fits import choice_of
from imettk.config.own import is_own
from imettk.data.cache import INDEX, ImageCache
from imettk.data.csv_files import list_names, read_csv, require_columns, require_unique
from imettk.data.data_identity import DataIdentity, identify_data
from imettk.data.folds import GALLERY_ONLY, LEFT_OUT, read_folds
from imettk.data.sample_table import LabelledTable, SampleTable
from imettk.data.source import ImageSource, cache_key, image_names
from imettk.data.table import read_table
from imettk.data.table_files import read_rows
from imettk.device import choose_device, choose_precision
from imettk.errors import CheckpointError, DataError, MismatchError, MissingFileError, TrainingError
from imettk.experiment.learned import Learned
from imettk.experiment.settle import misfits, settle_as
from imettk.experiment.value_range import reader_of
from imettk.models.network import Network
from imettk.models.pretraining import adapt_to_channels
from imettk.progress import say
from imettk.tasks import Task
from imettk.tracking.files import read_json
from imettk.tracking.run_dir import BAD_IMAGES, CACHE, RunDir
from imettk.tracking.tensors import all_finite, read_tensors
from imettk.training.process_group import Compute


@dataclass(frozen=True)
class ImageRows:
    """Rows of a table, int64 (N,), and the source of their images."""

    table: SampleTable
    source: ImageSource
    rows: np.ndarray

    @property
    def ids(self) -> np.ndarray:
        return self.table.ids[self.rows]

    @property
    def targets(self) -> np.ndarray | None:
        return None if self.table.targets is None else self.table.targets[self.rows]

    def take(self, part: slice) -> ImageRows:
        """Return some of these rows."""
        return replace(self, rows=self.rows[part])


@dataclass(frozen=True)
class Prepared:
    """Training table, folds and bad images, as `prepare` left them.

    Attributes:
        folds: of each row, int64 (N,); -1 for rows that only train, -2 for those that are left out, -3 for those that
            only stand in the gallery that queries are compared with.
        source: reads the images.
        bad: rows whose image cannot be read, bool (N,); they do not train.
        task: what is asked of an image.
        given_shares: of the rows that each label should have, float64 (C,), where the recipe names a table of them.
    """

    table: LabelledTable
    folds: np.ndarray
    source: ImageSource
    bad: np.ndarray
    task: Task
    given_shares: np.ndarray | None = None

    @property
    def targets(self) -> np.ndarray:
        """Targets in the form of the task, first axis N."""
        return self.table.targets

    @cached_property
    def identity(self) -> DataIdentity:
        """Identity of this data; see `require_same_data`."""
        return identify_data(self.table, self.folds, self.bad)

    def rows(self, fold: int, *, valid: bool) -> np.ndarray:
        """Return the rows that validate (or train) in this fold, int64 (M,); unknown identities never train."""
        trains = ~np.isin(self.folds, (fold, LEFT_OUT, GALLERY_ONLY)) & ~self.bad
        trains &= self.task.learnable(self.targets)
        return np.flatnonzero(self.folds == fold if valid else trains)

    def gallery_rows(self, fold: int) -> np.ndarray:
        """Return the rows that this fold's queries are compared with, int64 (M,).

        Rows of no known identity are among them: they are no answer, and can push a wrong one down.
        """
        return np.flatnonzero((self.folds != fold) & (self.folds != LEFT_OUT) & ~self.bad)

    def images(self, rows: np.ndarray) -> ImageRows:
        """Return the images of some rows, int64 (M,)."""
        return ImageRows(self.table, self.source, rows)


@dataclass(frozen=True)
class Experiment:
    """A recipe, the folder of its run, the data that `prepare` left for it, and what computes."""

    recipe: Recipe
    run: RunDir
    prepared: Prepared
    compute: Compute


def choose_compute(recipe: Recipe, rank: int = 0) -> Compute:
    """Return the device and precision that the recipe names; raise `DeviceError` if the hardware lacks them.

    Sets the number of torch's threads if the recipe gives one.

    Args:
        rank: number of this process on this machine; each has a GPU of its own.
    """
    device = choose_device(recipe.session.device, rank)
    if recipe.session.num_threads is not None:
        torch.set_num_threads(recipe.session.num_threads)
    precision = choose_precision(recipe.train.precision, device)
    return Compute(device, precision, split=int(os.environ.get(SPLIT, "1")))


def trained_folds(run: RunDir, fold: int | None) -> list[int]:
    """Return the trained folds, or this one; raise `MissingFileError` if there is none."""
    folds = [number for number in run.trained_folds() if fold in (None, number)]
    if not folds:
        what = "fold" if fold is None else f"fold {fold}"
        raise MissingFileError(
            f"{run.path} has no trained {what}: run `imettk train` first, which writes model.safetensors"
        )
    return folds


def read_prepared(recipe: Recipe, data_dir: Path, run: RunDir) -> Prepared:
    """Read the table and folds that `prepare` left.

    Raises:
        MissingFileError: `prepare` has not run.
        MismatchError: it ran for other data or for another recipe; the fields that differ are named.
    """
    path = run.find("table.json", written_by="prepare")
    prepared = from_json(json.dumps(read_json(path, needs=("recipe",))["recipe"]), where=str(path))
    # Other folds or another table under an old folds.csv would leak validation rows into training.
    changed = differences(prepared, recipe, PREPARE_SECTIONS)
    if changed:
        raise MismatchError(
            f"{path.parent} was prepared for another recipe: {'; '.join(changed)}. "
            "Leave RECIPE out to use the folder's own, or use a new --run-dir"
        )
    table = read_table(recipe.table, data_dir)
    folds = read_folds(run.find("folds.csv", written_by="prepare"), table)
    bad = np.zeros(len(table), bool)
    if recipe.images.on_bad_image == "skip" and (listed := path.with_name(BAD_IMAGES)).is_file():
        frame = read_csv(listed)
        bad = np.isin(table.ids, frame["id"][frame["table"] == "train"].to_numpy(str))
    shares = read_shares(recipe, data_dir, table.labels)
    return Prepared(table, folds, open_source(recipe, table, data_dir, run), bad, recipe.task, shares)


def require_same_data(what: str, values: dict[str, Any], identity: DataIdentity) -> None:
    """Refuse a checkpoint or model, named by `what`, that was trained on other data.

    Raises:
        MismatchError: it says which rows, labels, folds or boxes differ.
    """
    if "data" not in values:  # of version 0.1.0, which did not note it
        return
    if changes := DataIdentity.from_values(values["data"]).changes_to(identity):
        raise MismatchError(
            f"{what} was trained on other data ({'; '.join(changes)}): put the tables back as they were, or train "
            "again in another --run-dir"
        )


def open_source(recipe: Recipe, table: SampleTable, data_dir: Path, run: RunDir) -> ImageSource:
    """Return a source of a table's images: the cache that `prepare` left, for images whose files have not changed.

    Prints a note if some images, or all, are read from their files.
    """
    reader = reader_of(recipe, run)
    index = run.find_optional(f"{CACHE}/{INDEX}")
    if index is None:
        return ImageSource(table, reader)
    folder = index.parent
    cache = ImageCache(folder)
    if cache.key != cache_key(reader, cache.kind, recipe.cache.quality, cache.names.tolist()):
        say(
            f"note: {folder} was made with other settings, or by a version that read files differently: images are "
            "read from their files; `imettk prepare` remakes it"
        )
        return ImageSource(table, reader)
    source = ImageSource(table, reader, cache=cache, names=image_names(table, data_dir))
    if lacking := len(source) - source.num_cached:
        changed = f" or have changed since ({source.num_changed})" if source.num_changed else ""
        say(f"note: {lacking} of {len(source)} images are not in {folder}{changed}: read from their files")
    return source


def make_network(
    recipe: Recipe, num_labels: int, *, learned: Learned | None = None, weights: str | None = None
) -> Network:
    """Make the network of a recipe; `weights` is the path of pretrained ones, None for random ones.

    Without a mean and std, which `settle` fills in, ImageNet's are used.

    Args:
        learned: what the table decides about outputs; left out if only sizes matter.
    """
    learned = learned or Learned()
    num_classes = recipe.task.num_outputs(num_labels) * (2 if recipe.embedding.mirrored_identities else 1)
    model, row = recipe.model, choice_of(recipe, recipe.model.head, HEADS)
    backbone = BACKBONES.get(model.backbone.partition(":")[0])
    names = (*(row.settings if isinstance(row, HeadChoice) else ()), *(backbone.settings if backbone else ()))
    return Network(
        backbone=choice_of(recipe, model.backbone, {}) if is_own(model.backbone) else model.backbone,
        num_classes=num_classes + len(learned.auxiliary),
        mean=recipe.images.mean or adapt_to_channels(IMAGENET["mean"], recipe.images.channels),
        std=recipe.images.std or adapt_to_channels(IMAGENET["std"], recipe.images.channels),
        weights=weights,
        head=row,
        last_levels=model.last_levels,
        levels=model.levels,
        image_size=recipe.images.image_size,
        parts=learned.parts,
        num_auxiliary=len(learned.auxiliary),
        **{name: getattr(model, name) for name in names},
    )


def require_trained_by(path: Path, recipe: Recipe, values: Mapping[str, Any]) -> None:
    """Raise `MismatchError` if a model, which has these values, was trained by another recipe."""
    if values["fingerprint"] != fingerprint(recipe):
        raise MismatchError(
            f"{path} was trained by another recipe (fingerprint {values['fingerprint']}, this one has "
            f"{fingerprint(recipe)}); leave RECIPE out to use the run folder's own"
        )
    if changed := misfits(recipe, values):
        raise MismatchError(f"{path} was trained with {'; '.join(changed)}: leave that out, as it follows the model")


def load_model(path: Path, recipe: Recipe, table: SampleTable, device: torch.device) -> Network:
    """Read the trained network of a fold.

    Raises:
        CheckpointError: it is damaged.
        MismatchError: it was trained by another recipe, or for other labels.
        TrainingError: its weights are not finite.
    """
    try:
        model = read_tensors(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; delete it: `imettk train` makes it again from the last checkpoint") from None
    require_trained_by(path, recipe, model.values)
    if tuple(model.values["labels"]) != table.labels:
        raise MismatchError(
            f"{path} knows {len(model.values['labels'])} labels, the table has {len(table.labels)} others: "
            "was the table changed after training?"
        )
    if not all_finite(model.tensors.values()):
        raise TrainingError(f"{path} holds weights that are not finite: delete it, and train this fold again")
    settled = settle_as(recipe, model.values).recipe
    network = make_network(settled, len(table.labels), learned=Learned.from_values(model.values))
    network.load_state_dict(model.tensors)  # strict: a missing tensor would stay random
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def read_shares(recipe: Recipe, data_dir: Path, labels: tuple[str, ...]) -> np.ndarray | None:
    """Read the shares in the table that the recipe names, float64 (C,); None if it names none.

    Raises:
        DataError: a label has no share in [0, 1].
    """
    if recipe.rule.shares_csv is None:
        return None
    path = data_dir / recipe.rule.shares_csv
    frame = read_rows(path)
    require_columns(frame, path, ["label", "share"])
    require_unique(frame["label"], path)
    shares = pd.to_numeric(frame.set_index("label")["share"], errors="coerce").reindex(list(labels))
    wrong = shares.index[~((shares >= 0) & (shares <= 1)).to_numpy()]
    if len(wrong):
        raise DataError(f"{path}: {list_names(wrong, 'label')} without a share in [0, 1]")
    return shares.to_numpy(np.float64)
