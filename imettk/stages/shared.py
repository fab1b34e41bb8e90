"""What several stages need: the prepared table, a network from its file, evaluation, decision rules."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imettk.config import PREPARE_SECTIONS, Recipe, differences, fingerprint, from_json
from imettk.data.cache import INDEX, ImageCache
from imettk.data.csv_files import named, read_csv
from imettk.data.dataset import ImageDataset, load_batches
from imettk.data.folds import LEFT_OUT, ONLY_ENROLLED, read_folds
from imettk.data.sampling import sequential_requests
from imettk.data.source import ImageSource, cache_key, file_bytes, image_names, make_reader
from imettk.data.table import SampleTable, read_table
from imettk.device import choose_device, choose_precision
from imettk.errors import MismatchError, MissingFileError, TrainingError
from imettk.inference.predictor import Predictions, load_predictions, predict_outputs, save_predictions, to_probs
from imettk.models.heads import Outputs
from imettk.models.network import Network
from imettk.progress import say
from imettk.stages.rules import read_shares
from imettk.tracking.files import read_json, sha256
from imettk.tracking.run_dir import BAD_IMAGES, CACHE, RunDir
from imettk.tracking.tensors import read_tensors


@dataclass(frozen=True)
class Prepared:
    """The training table, and what `prepare` found.

    Attributes:
        folds: of each row, int64 (N,); -1 for rows that only train, -2 for those that are left out, -3 for those that
            only stand in the gallery that queries are compared with.
        source: reads the images.
        bad: rows whose image cannot be read, bool (N,); they do not train.
        given_shares: of the rows that each label should have, float64 (C,), where the recipe names a table of them.
    """

    table: SampleTable
    folds: np.ndarray
    source: ImageSource
    bad: np.ndarray
    given_shares: np.ndarray | None = None

    @property
    def targets(self) -> np.ndarray:
        """int64 (N,) or uint8 (N, C)."""
        assert self.table.targets is not None
        return self.table.targets

    def rows(self, fold: int, *, valid: bool) -> np.ndarray:
        """Positions of the rows that validate (or train) in this fold, int64 (M,); unknown identities never train."""
        trains = ~np.isin(self.folds, (fold, LEFT_OUT, ONLY_ENROLLED)) & ~self.bad
        if self.targets.ndim == 1:
            trains &= self.targets >= 0
        return np.flatnonzero(self.folds == fold if valid else trains)

    def enrolled(self, fold: int) -> np.ndarray:
        """Positions of the rows that this fold's queries are compared with, int64 (M,); those of no known identity are
        among them, and no answer."""
        return np.flatnonzero((self.folds != fold) & (self.folds != LEFT_OUT) & ~self.bad)


@dataclass(frozen=True)
class Compute:
    """Where and how to compute."""

    device: torch.device
    dtype: torch.dtype


def choose_compute(recipe: Recipe, rank: int = 0) -> Compute:
    """The device and precision that the recipe asks for and the hardware has; `DeviceError` where it has not.

    Args:
        rank: which of several processes on this machine asks; each has a GPU of its own.
    """
    device = choose_device(recipe.session.device, rank)
    return Compute(device, choose_precision(recipe.train.precision, device))


def trained_folds(run: RunDir, fold: int | None) -> list[int]:
    """The trained folds, or this one; `MissingFileError` where there is none."""
    folds = [one for one in run.trained_folds() if fold in (None, one)]
    if not folds:
        what = "fold" if fold is None else f"fold {fold}"
        raise MissingFileError(
            f"{run.path} has no trained {what}: run `imettk train` first, which writes model.safetensors"
        )
    return folds


def read_prepared(recipe: Recipe, data_dir: Path, run: RunDir) -> Prepared:
    """The table and folds that `prepare` left.

    Raises:
        MissingFileError: `prepare` has not run.
        MismatchError: it ran for other data or for another recipe; the fields that differ are named.
    """
    path = run.find("table.json", written_by="prepare")
    prepared = from_json(json.dumps(read_json(path)["recipe"]), where=str(path))
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
    return Prepared(table, folds, open_source(recipe, table, data_dir, run), bad, shares)


def open_source(
    recipe: Recipe, table: SampleTable, data_dir: Path, run: RunDir, *, may_change: bool = False
) -> ImageSource:
    """Reads the images of a table, from the cache that `prepare` left where it holds them; says so.

    Args:
        may_change: other files may bear the same names by now, as in the hidden test set of a code competition: each
            file's size is looked at.
    """
    reader = make_reader(recipe.images, recipe.table)
    index = run.find_optional(f"{CACHE}/{INDEX}")
    if index is None:
        return ImageSource(table, reader)
    folder = index.parent
    cache = ImageCache(folder)
    if cache.key != cache_key(reader, cache.kind, recipe.cache.quality):
        say(f"note: {folder} was made by other settings: images are read from their files; `imettk prepare` remakes it")
        return ImageSource(table, reader)
    sizes = file_bytes(table, recipe.table.channel_files) if may_change else None
    source = ImageSource(table, reader, cache=cache, names=image_names(table, data_dir), file_bytes=sizes)
    if lacking := len(source) - source.num_cached:
        changed = ", or have changed since" if may_change else ""
        say(f"note: {lacking} of {len(source)} images are not in {folder}{changed}: read from their files")
    return source


def make_network(recipe: Recipe, num_labels: int, *, weights: str | None = None) -> Network:
    """The network of a recipe; `weights` is where pretrained ones lie, None for random ones."""
    num_classes = num_labels * (2 if recipe.metric.mirrored_identities else 1)
    return Network(
        backbone=recipe.model.backbone,
        num_classes=num_classes,
        mean=recipe.images.mean,
        std=recipe.images.std,
        weights=weights,
        head=recipe.model.head,
        last_stages=recipe.model.last_stages,
        hidden=recipe.model.hidden,
        dropout=recipe.model.dropout,
        pool=recipe.model.pool,
        embedding_size=recipe.model.embedding_size,
        centres=recipe.model.centres,
        joint_dropout=recipe.model.joint_dropout,
    )


def load_model(path: Path, recipe: Recipe, table: SampleTable, device: torch.device) -> Network:
    """The trained network of a fold.

    Raises:
        MismatchError: it was trained by another recipe, or for other labels.
    """
    model = read_tensors(path)
    if model.values["fingerprint"] != fingerprint(recipe):
        raise MismatchError(
            f"{path} was trained by another recipe (fingerprint {model.values['fingerprint']}, this one has "
            f"{fingerprint(recipe)}); leave RECIPE out to use the run folder's own"
        )
    if tuple(model.values["labels"]) != table.labels:
        raise MismatchError(
            f"{path} knows {len(model.values['labels'])} labels, the table has {len(table.labels)} others: "
            "was the table changed after training?"
        )
    network = make_network(recipe, len(table.labels))
    network.load_state_dict(model.tensors)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def evaluate(
    network: nn.Module,
    source: ImageSource,
    rows: np.ndarray,
    recipe: Recipe,
    compute: Compute,
    *,
    views: tuple[str, ...],
    what: str | None = None,
    until: float = math.inf,
) -> Outputs:
    """Logits and embeddings of some rows of a table, float32 (V, N, ...).

    An image that cannot be read, was not reached in time, or (where there is a bar) of which the network says NaN, gets
    the mean logits of the others, and NaN for its embedding.

    Args:
        what: name of the progress bar and of warnings; None is for a curve, which has to show a NaN.
        until: when to stop, on `time.monotonic()`, after one batch at least.
    """
    images = recipe.images
    if not len(rows):
        return _nothing(network, recipe, compute, len(views))
    crops = images.load_size if any(view.startswith("crop") for view in views) else None
    centre = images.fit == "centre_crop"
    dataset = ImageDataset(source, None, image_size=crops or images.image_size, centre_crop=centre, skip_bad=True)
    batches = load_batches(
        dataset,
        sequential_requests(rows, recipe.predict.batch_size),
        num_workers=recipe.session.num_workers,
        pin=compute.device.type == "cuda",
    )
    said = predict_outputs(
        network,
        batches,
        views=views,
        device=compute.device,
        dtype=compute.dtype,
        num_samples=len(rows),
        size=images.image_size if crops else None,
        what=what,
        until=until,
    )
    logits, embeddings = said.logits, said.embeddings
    late = len(rows) - logits.shape[1]
    if late:
        say(f"warning: {what or 'evaluation'}: no time for {late} of {len(rows)} images: they get the others' mean")
        logits = nn.functional.pad(logits, (0, 0, 0, late))
        embeddings = None if embeddings is None else nn.functional.pad(embeddings, (0, 0, 0, late))
    if recipe.metric.mirrored_identities:
        logits = logits[..., : logits.shape[-1] // 2]  # the other half are the mirrored ones
    unread, reached = np.isin(rows, list(dataset.faults)), np.arange(len(rows)) < len(rows) - late
    lost = unread | ~reached
    if what is not None and (odd := logits.isnan().any(2).any(0).numpy() & ~lost).any():
        lost |= odd
        if lost.all():
            raise TrainingError(
                f"{what}: the network says NaN of all images: train it again, in float32 or at a lower lr"
            )
        names = named((Path(source.path(row)).name for row in rows[odd]), "image")
        say(f"warning: {what}: the network says NaN of {names}, which got the mean prediction of the others")
    if lost.any():
        bad = torch.from_numpy(lost)
        mean = logits[:, ~bad].mean(1, keepdim=True) if not bad.all() else torch.zeros(())
        logits = torch.where(bad[:, None], mean, logits)
        if embeddings is not None:
            embeddings = torch.where(bad[:, None], torch.nan, embeddings)
        if what is not None and unread.any():
            say(f"warning: {what}: {source.unread(rows)} cannot be read, and got the mean prediction of the others")
    return Outputs(logits, embeddings)


def predict_file(
    run: RunDir,
    fold: int,
    name: str,
    table: SampleTable,
    source: ImageSource,
    rows: np.ndarray,
    recipe: Recipe,
    compute: Compute,
    *,
    views: tuple[str, ...] | None = None,
    until: float = math.inf,
) -> Predictions:
    """Predictions of a trained fold: from its `NAME.safetensors` if that is there, else made and kept there.

    Args:
        views: of TTA; None is all that the recipe has.
        until: when to stop, on `time.monotonic()`; the rows that are left get the mean of the others, and the file is
            not kept.
    """
    views = recipe.predict.views if views is None else views
    if (found := find_predictions(run, fold, name, table, rows, recipe, views)) is not None:
        return found
    targets = None if table.targets is None else table.targets[rows]
    network = load_model(run.model(fold), recipe, table, compute.device)
    what = f"fold {fold} {name}"
    said = evaluate(network, source, rows, recipe, compute, views=views, what=what, until=until)
    embeddings = None if said.embeddings is None else said.embeddings.numpy()
    values = _values(run.model(fold), table, recipe, views)
    predictions = Predictions(table.ids[rows], _probs_of(said.logits, recipe), values, targets, embeddings)
    if time.monotonic() < until:
        save_predictions(run.fold(fold) / f"{name}.safetensors", predictions)
    return predictions


def find_predictions(
    run: RunDir, fold: int, name: str, table: SampleTable, rows: np.ndarray, recipe: Recipe, views: tuple[str, ...]
) -> Predictions | None:
    """What a fold's `NAME.safetensors` holds, in the run folder or an input, if it is of this model, rows and views."""
    values = None
    for folder in run.fold_everywhere(fold):
        if (path := folder / f"{name}.safetensors").is_file():
            values = values or _values(run.model(fold), table, recipe, views)
            found = load_predictions(path)
            if found.values == values and np.array_equal(found.ids, table.ids[rows]):
                say(f"fold {fold} {name}: taken from {path}")
                return found
    return None


def _values(model: Path, table: SampleTable, recipe: Recipe, views: tuple[str, ...]) -> dict[str, Any]:
    """What belongs to predictions: they count only where all of it is the same.

    Of the test set the files' sizes do: one may have been mended, or have taken the name of another.
    """
    values = {
        "model": sha256(model),
        "views": list(views),
        "merge": recipe.predict.merge,
        "labels": list(table.labels),
        "label_groups": list(table.label_groups),
        "task": recipe.table.task,
    }
    if table.targets is None:
        sizes = file_bytes(table, recipe.table.channel_files)
        values["files"] = hashlib.sha256(sizes.tobytes()).hexdigest()[:16]
    return values


def _nothing(network: nn.Module, recipe: Recipe, compute: Compute, num_views: int) -> Outputs:
    """What a network says of no image, (V, 0, ...): the shapes are those that it has for one."""
    height, width = recipe.images.image_size
    image = torch.zeros((1, height, width, recipe.images.channels), dtype=torch.uint8, device=compute.device)
    with torch.inference_mode():
        said = network.eval()(image)
    logits = said.logits if not recipe.metric.mirrored_identities else said.logits[:, : said.logits.shape[1] // 2]
    parts = [
        None if one is None else one[None, :0].expand(num_views, -1, -1).float().cpu()
        for one in (logits, said.embeddings)
    ]
    assert parts[0] is not None
    return Outputs(parts[0], parts[1])


def _probs_of(logits: Tensor, recipe: Recipe) -> np.ndarray:
    """float32 (V, N, C); C is 0 where neighbours decide: thousands of identities times all rows would fill the disk."""
    if recipe.model.embeds and recipe.rule.kind == "rank" and recipe.ranking.by == "neighbours":
        return np.zeros((*logits.shape[:2], 0), np.float32)
    scaled = recipe.metric.scale * logits if recipe.model.embeds else logits
    return to_probs(scaled, multiclass=recipe.table.task == "multiclass")
