"""Predictions for rows of a table, a substitute for images that could not be read, and the files that keep them."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
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
from imettk.errors import MismatchError, TrainingError
from imettk.experiment.imported import read_imported
from imettk.experiment.network_check import predict_sizes, require_sizes
from imettk.experiment.prepared import Experiment, ImageRows, load_model, require_trained_by
from imettk.experiment.scaling import read_scale, unscale
from imettk.inference.predictor import Predictions, load_predictions, predict_outputs, save_predictions
from imettk.models.heads import Outputs, log_probs_by_part
from imettk.models.image_sizes import Size
from imettk.models.network import Network
from imettk.progress import say
from imettk.tracking.files import sha256
from imettk.tracking.run_dir import RunDir
from imettk.tracking.tensors import read_values
from imettk.training.process_group import Compute


@dataclass(frozen=True)
class TrainedModels:
    """The trained models of a run, one a fold, which predict as the recipe says."""

    recipe: Recipe
    run: RunDir
    compute: Compute

    @classmethod
    def of(cls, experiment: Experiment) -> TrainedModels:
        """Return those of an experiment's run."""
        return cls(experiment.recipe, experiment.run, experiment.compute)

    def predict(
        self,
        fold: int,
        name: str,
        images: ImageRows,
        *,
        views: tuple[str, ...] | None = None,
        until: float = math.inf,
    ) -> Predictions:
        """Return a fold's predictions: those in its `NAME.safetensors` if they match, else new ones, saved there.

        Imported ones, of another tool, are taken as they are.

        Args:
            views: of TTA; None is all that the recipe has.
            until: when to stop, on `time.monotonic()`. Images that were not reached get the mean prediction of the
                others, and the file is not written.
        """
        if (imported := read_imported(self.run, fold, name, images)) is not None:
            return imported
        recipe, views = self.recipe, self.recipe.predict.views if views is None else views
        values = self._identify(fold, images, views)  # before the model is read: it may be replaced meanwhile
        if (kept := self._find(fold, name, images, values)) is not None:
            return kept
        network = self.load(fold, images.table)
        what = f"fold {fold} {name}"
        outputs = evaluate(network, images, recipe, self.compute, views=views, what=what, until=until)
        predictions = Predictions(
            images.ids,
            _probs_of(unscale(outputs.logits, read_scale(self.run.model(fold))), recipe),
            values,
            images.targets,
            None if outputs.embeddings is None else outputs.embeddings.numpy(),
        )
        if time.monotonic() < until:  # else some rows hold a mean, and a later session has time for them
            save_predictions(self.run.fold(fold) / f"{name}.safetensors", predictions)
        return predictions

    def load(self, fold: int, table: SampleTable) -> Network:
        """Return the network of a fold, which knows the labels of this table."""
        network = load_model(self.run.model(fold), self.recipe, table, self.compute.device)
        if self.recipe.predict.image_size is not None:  # it may be set after the training, which checked all others
            require_sizes(network, self.recipe, predict_sizes(self.recipe))
        return network

    def find(self, fold: int, name: str, images: ImageRows, views: tuple[str, ...]) -> Predictions | None:
        """Return what a fold's `NAME.safetensors` holds, in the run folder or an input, if it fits these images."""
        if (imported := read_imported(self.run, fold, name, images)) is not None:
            return imported
        return self._find(fold, name, images, self._identify(fold, images, views))

    def _find(self, fold: int, name: str, images: ImageRows, values: dict[str, Any]) -> Predictions | None:
        """Find predictions of this identity; see `find`."""
        for folder in self.run.fold_everywhere(fold):
            if not (path := folder / f"{name}.safetensors").is_file():
                continue
            try:
                kept = load_predictions(path)
            except MismatchError as error:
                say(f"warning: {error}: the predictions are made again")
                continue
            if kept.values == values and np.array_equal(kept.ids, images.ids):
                model = self.run.model(fold)
                require_trained_by(model, self.recipe, read_values(model))  # as if the model were to predict
                say(f"fold {fold} {name}: taken from {path}")
                return kept
        return None

    def _identify(self, fold: int, images: ImageRows, views: tuple[str, ...]) -> dict[str, Any]:
        """Return what identifies predictions: those in a file count only if all of it is the same.

        Images count by the content of their files, their box and whether they are turned: a file may have been mended,
        or have taken the name of another.
        """
        table, targets = images.table, images.targets
        size = self.recipe.predict_size
        larger = {} if size == self.recipe.images.image_size else {"image_size": list(size)}
        return larger | {
            "model": sha256(self.run.model(fold)),
            "views": list(views),
            "merge": self.recipe.predict.merge,
            "labels": list(table.labels),
            "label_groups": list(table.label_groups),
            "task": self.recipe.table.task,
            "images": images.source.fingerprint(images.rows),
            "targets": None if targets is None else hashlib.sha256(targets.tobytes()).hexdigest()[:16],
        }


def evaluate(
    network: nn.Module,
    images: ImageRows,
    recipe: Recipe,
    compute: Compute,
    *,
    views: tuple[str, ...],
    size: Size | None = None,
    what: str | None = None,
    until: float = math.inf,
) -> Outputs:
    """Return logits and embeddings of images, float32 (V, N, ...).

    An image that cannot be read, that was not reached in time, or (if there is a progress bar) for which the network
    outputs NaN, gets the mean logits of the others, and NaN for its embedding.

    Args:
        size: (height, width) that the network is given; None is the recipe's for predictions.
        what: name of the progress bar and of warnings; None is for a curve, which has to show a NaN.
        until: when to stop, on `time.monotonic()`, after one batch at least.
    """
    rows, size = images.rows, size or recipe.predict_size
    source = images.source if size == recipe.images.image_size else images.source.at_least(size)
    if not len(rows):
        return _outputs_of_nothing(network, recipe, compute, len(views))
    crops = recipe.images.load_size if any(VIEWS[view].crop is not None for view in views) else None
    centre = recipe.images.fit == "centre_crop"
    dataset = ImageDataset(source, None, image_size=crops or size, centre_crop=centre, skip_bad=True)
    batches = load_batches(
        dataset,
        sequential_requests(rows, recipe.predict.batch_size),
        num_workers=recipe.session.num_workers,
        pin=compute.device.type == "cuda",
    )
    outputs = predict_outputs(
        network,
        batches,
        views=views,
        device=compute.device,
        dtype=compute.dtype,
        num_samples=len(rows),
        size=size if crops else None,
        what=what,
        until=until,
    )
    late = len(rows) - outputs.logits.shape[1]
    if late:
        say(f"warning: {what or 'evaluation'}: no time for {late} of {len(rows)} images: they get the others' mean")
        outputs = _padded(outputs, late)
    if recipe.embedding.mirrored_identities:  # the second half of the classes are the mirrored ones
        outputs = outputs._replace(logits=outputs.logits[..., : outputs.logits.shape[-1] // 2])
    unread = np.isin(rows, list(dataset.faults))
    lost = unread | (np.arange(len(rows)) >= len(rows) - late)
    if what is not None:
        lost |= _find_nan(outputs.logits, lost, images, what)
        if unread.any():
            say(f"warning: {what}: {source.unread(rows)} cannot be read, and got the mean prediction of the others")
    parts = getattr(network, "answered_parts", ())
    return _with_mean(outputs, torch.from_numpy(lost), parts) if lost.any() else outputs


def _padded(outputs: Outputs, count: int) -> Outputs:
    """Append so many rows of zeros."""
    logits, embeddings = (
        None if part is None else nn.functional.pad(part, (0, 0, 0, count))
        for part in (outputs.logits, outputs.embeddings)
    )
    assert logits is not None
    return Outputs(logits, embeddings)


def _find_nan(logits: Tensor, lost: np.ndarray, images: ImageRows, what: str) -> np.ndarray:
    """Return rows for which the network outputs NaN, bool (N,), without those that are lost already; name them.

    Raises:
        TrainingError: there is no other row left.
    """
    odd = logits.isnan().any(2).any(0).numpy() & ~lost
    if odd.any():
        if (odd | lost).all():
            raise TrainingError(
                f"{what}: the network outputs NaN for every image: train it again, in float32 or at a lower lr"
            )
        names = list_names((Path(images.source.path(row)).name for row in images.rows[odd]), "image")
        say(f"warning: {what}: the network outputs NaN for {names}, which got the mean prediction of the others")
    return odd


def _with_mean(outputs: Outputs, lost: Tensor, parts: Sequence[int]) -> Outputs:
    """Give lost rows, bool (N,), the mean logits of the others, and NaN for an embedding.

    Args:
        parts: sizes of logits that are logarithms of probabilities, whose mean has to be normalised again.
    """
    mean = torch.zeros_like(outputs.logits[:, 0]) if lost.all() else outputs.logits[:, ~lost].mean(1)
    mean = (log_probs_by_part(mean, parts) if parts else mean)[:, None]
    embeddings = outputs.embeddings
    if embeddings is not None:
        embeddings = torch.where(lost[:, None], torch.nan, embeddings)
    return outputs._replace(logits=torch.where(lost[:, None], mean, outputs.logits), embeddings=embeddings)


def _outputs_of_nothing(network: nn.Module, recipe: Recipe, compute: Compute, num_views: int) -> Outputs:
    """Return outputs for no image, (V, 0, ...), of the shapes that the network has for one."""
    height, width = recipe.images.image_size
    image = torch.zeros((1, height, width, recipe.images.channels), dtype=torch.uint8, device=compute.device)
    with torch.inference_mode():
        outputs = network.eval()(image)
    logits = outputs.logits
    if recipe.embedding.mirrored_identities:
        logits = logits[:, : logits.shape[1] // 2]
    embeddings = outputs.embeddings

    def empty(part: Tensor) -> Tensor:
        return part[None, :0].expand(num_views, -1, -1).float().cpu()

    return Outputs(empty(logits), None if embeddings is None else empty(embeddings))


def _probs_of(logits: Tensor, recipe: Recipe) -> np.ndarray:
    """Return probabilities or values, float32 (V, N, C); C is 0 if neighbours decide.

    Thousands of identities times all rows would fill the disk.
    """
    if recipe.ranks_by_neighbours:
        return np.zeros((*logits.shape[:2], 0), np.float32)
    scaled = recipe.embedding.scale * logits if recipe.model.embeds else logits
    return recipe.task.activate(scaled).numpy()
