"""Predictions for rows of a table: what a network says of them, what stands for images that it could not see, and the
files that keep them."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imettk.config import Recipe
from imettk.config.choices import VIEWS
from imettk.data.csv_files import list_names
from imettk.data.dataset import ImageDataset, load_batches
from imettk.data.sample_table import SampleTable
from imettk.data.sampling import sequential_requests
from imettk.data.source import ImageSource
from imettk.errors import MismatchError, TrainingError
from imettk.experiment.prepared import load_model
from imettk.experiment.scaling import read_scale, unscale
from imettk.inference.predictor import Predictions, load_predictions, predict_outputs, save_predictions
from imettk.models.heads import Outputs, log_probs_by_part
from imettk.progress import say
from imettk.tracking.files import sha256
from imettk.tracking.run_dir import RunDir
from imettk.training.process_group import Compute


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
    crops = images.load_size if any(VIEWS[view].crop is not None for view in views) else None
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
    late = len(rows) - said.logits.shape[1]
    if late:
        say(f"warning: {what or 'evaluation'}: no time for {late} of {len(rows)} images: they get the others' mean")
        embeddings = None if said.embeddings is None else nn.functional.pad(said.embeddings, (0, 0, 0, late))
        said = Outputs(nn.functional.pad(said.logits, (0, 0, 0, late)), embeddings)
    if recipe.embedding.mirrored_identities:
        said = said._replace(logits=said.logits[..., : said.logits.shape[-1] // 2])  # the others are the mirrored ones
    unread = np.isin(rows, list(dataset.faults))
    lost = unread | (np.arange(len(rows)) >= len(rows) - late)
    if what is not None:
        lost |= _find_nan(said.logits, lost, source, rows, what)
        if unread.any():
            say(f"warning: {what}: {source.unread(rows)} cannot be read, and got the mean prediction of the others")
    parts = getattr(network, "answered_parts", ())
    return _without(said, torch.from_numpy(lost), parts) if lost.any() else said


def _find_nan(logits: Tensor, lost: np.ndarray, source: ImageSource, rows: np.ndarray, what: str) -> np.ndarray:
    """Rows that are not lost already and of which the network says NaN, bool (N,); they are named.

    Raises:
        TrainingError: it says so of all that are left.
    """
    odd = logits.isnan().any(2).any(0).numpy() & ~lost
    if odd.any():
        if (odd | lost).all():
            raise TrainingError(
                f"{what}: the network says NaN of all images: train it again, in float32 or at a lower lr"
            )
        names = list_names((Path(source.path(row)).name for row in rows[odd]), "image")
        say(f"warning: {what}: the network says NaN of {names}, which got the mean prediction of the others")
    return odd


def _without(said: Outputs, lost: Tensor, parts: Sequence[int]) -> Outputs:
    """Lost rows, bool (N,), with the mean logits of the others, and without an embedding.

    Args:
        parts: of logits that are logarithms of probabilities; their mean is made so again.
    """
    mean = torch.zeros_like(said.logits[:, 0]) if lost.all() else said.logits[:, ~lost].mean(1)
    mean = (log_probs_by_part(mean, parts) if parts else mean)[:, None]
    embeddings = None if said.embeddings is None else torch.where(lost[:, None], torch.nan, said.embeddings)
    return said._replace(logits=torch.where(lost[:, None], mean, said.logits), embeddings=embeddings)


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
    values = describe(run, fold, table, source, rows, recipe, views)
    if (found := find_predictions(run, fold, name, values, table.ids[rows])) is not None:
        return found
    targets = None if table.targets is None else table.targets[rows]
    network, scale = load_model(run.model(fold), recipe, table, compute.device), read_scale(run.model(fold))
    what = f"fold {fold} {name}"
    said = evaluate(network, source, rows, recipe, compute, views=views, what=what, until=until)
    embeddings = None if said.embeddings is None else said.embeddings.numpy()
    predictions = Predictions(
        table.ids[rows], _probs_of(unscale(said.logits, scale), recipe), values, targets, embeddings
    )
    if time.monotonic() < until:
        save_predictions(run.fold(fold) / f"{name}.safetensors", predictions)
    return predictions


def find_predictions(run: RunDir, fold: int, name: str, values: dict[str, Any], ids: np.ndarray) -> Predictions | None:
    """What a fold's `NAME.safetensors` holds, in the run folder or an input, if it is of just that; see `describe`."""
    for folder in run.fold_everywhere(fold):
        if not (path := folder / f"{name}.safetensors").is_file():
            continue
        try:
            found = load_predictions(path)
        except MismatchError as error:
            say(f"warning: {error}: the predictions are made anew")
            continue
        if found.values == values and np.array_equal(found.ids, ids):
            say(f"fold {fold} {name}: taken from {path}")
            return found
    return None


def describe(
    run: RunDir,
    fold: int,
    table: SampleTable,
    source: ImageSource,
    rows: np.ndarray,
    recipe: Recipe,
    views: tuple[str, ...],
) -> dict[str, Any]:
    """Return what identifies the predictions of a fold: those in a file count only where all of it is the same.

    Images count by the content of their files, the box that is looked at and whether they are turned: one may have been
    mended, or have taken the name of another.
    """
    targets = None if table.targets is None else hashlib.sha256(table.targets[rows].tobytes()).hexdigest()[:16]
    return {
        "model": sha256(run.model(fold)),
        "views": list(views),
        "merge": recipe.predict.merge,
        "labels": list(table.labels),
        "label_groups": list(table.label_groups),
        "task": recipe.table.task,
        "images": source.fingerprint(rows),
        "targets": targets,
    }


def _nothing(network: nn.Module, recipe: Recipe, compute: Compute, num_views: int) -> Outputs:
    """What a network says of no image, (V, 0, ...): the shapes are those that it has for one."""
    height, width = recipe.images.image_size
    image = torch.zeros((1, height, width, recipe.images.channels), dtype=torch.uint8, device=compute.device)
    with torch.inference_mode():
        said = network.eval()(image)
    logits = said.logits if not recipe.embedding.mirrored_identities else said.logits[:, : said.logits.shape[1] // 2]
    parts = [
        None if one is None else one[None, :0].expand(num_views, -1, -1).float().cpu()
        for one in (logits, said.embeddings)
    ]
    assert parts[0] is not None
    return Outputs(parts[0], parts[1])


def _probs_of(logits: Tensor, recipe: Recipe) -> np.ndarray:
    """float32 (V, N, C); C is 0 where neighbours decide: thousands of identities times all rows would fill the disk."""
    if recipe.asks_neighbours:
        return np.zeros((*logits.shape[:2], 0), np.float32)
    scaled = recipe.embedding.scale * logits if recipe.model.embeds else logits
    return recipe.task.activate(scaled).numpy()
