"""Settings that a recipe leaves to its weights: the mean and std of images, and the network behind a hub's name.

A checkpoint and a model hold the settled sections `images` and `model` beside the fingerprint of the recipe as it was
given. Those of earlier versions hold ImageNet's mean and std, which were the default, and go on with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from imettk.config import Recipe, fingerprint
from imettk.config.choices import BACKBONES
from imettk.errors import CheckpointError
from imettk.models.pretraining import adapt_to_channels, pretraining_of
from imettk.models.weights_file import WeightsInfo, find_weights, info_of_training
from imettk.tracking.run_dir import RunDir
from imettk.tracking.tensors import read_values


@dataclass(frozen=True)
class Settled:
    """A recipe with nothing left open, from which networks are made.

    Attributes:
        source: where mean and std come from, in words.
    """

    recipe: Recipe
    source: str

    def values(self) -> dict[str, Any]:
        """Return the part that checkpoints and models keep, as plain values."""
        return {"model": asdict(self.recipe.model), "images": asdict(self.recipe.images)}

    def describe(self) -> str:
        """Return a line about mean and std, and where they come from."""
        images = self.recipe.images
        mean, std = (" ".join(f"{value:.3g}" for value in values or ()) for values in (images.mean, images.std))
        return f"images are normalised with mean {mean} and std {std} ({self.source})"


def settle(recipe: Recipe, run: RunDir) -> Settled:
    """Settle a recipe as the folds of a run that have begun, otherwise by its weights.

    Raises:
        ConfigError, MissingFileError: as of `pretraining_of`.
    """
    # What a training began with counts, even if the weights' own mean and std are known better by now.
    begun = next(_begun(recipe, run), None)
    if begun is not None:
        return settle_as(recipe, begun)
    return _fill(recipe, pretraining_of(recipe.model.backbone, recipe.model.weights))


def settle_as(recipe: Recipe, values: Mapping[str, Any]) -> Settled:
    """Settle a recipe as a checkpoint or model of it, from that file's plain values."""
    return _fill(recipe, replace(info_of_training(values), source="as the training began"))


def weights_of(recipe: Recipe) -> str | None:
    """Return the path of a recipe's weights; for a hub's name the file, as its network has another name."""
    library, _, model = recipe.model.backbone.partition(":")
    row, weights = BACKBONES.get(library), recipe.model.weights
    return weights if weights is None or row is None or not row.in_file else str(find_weights(Path(weights), model))


def with_architecture(recipe: Recipe) -> Recipe:
    """Return a recipe whose network has its library's name, even if only the file of its weights knows it."""
    model, row = recipe.model, BACKBONES.get(recipe.model.backbone.partition(":")[0])
    if row is None or not row.in_file:
        return recipe
    return replace(recipe, model=replace(model, backbone=pretraining_of(model.backbone, model.weights).architecture))


def misfits(recipe: Recipe, values: Mapping[str, Any]) -> list[str]:
    """Return the settings of a checkpoint or model that the recipe now contradicts, and that no fingerprint covers.

    Returns:
        Lines such as those of `config.differences`.
    """
    about, images = info_of_training(values), recipe.images
    pairs = {"images.mean": (about.mean, images.mean), "images.std": (about.std, images.std)}
    return [f"{name}: {old!r} -> {new!r}" for name, (old, new) in pairs.items() if old and new and old != new]


def is_of(recipe: Recipe, values: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint or model is of a recipe."""
    return values["fingerprint"] == fingerprint(recipe) and not misfits(recipe, values)


def _begun(recipe: Recipe, run: RunDir) -> Iterator[dict[str, Any]]:
    """Return the plain values of this recipe's models and checkpoints in a run, those of finished folds first."""
    for root in (run.path, *run.inputs):
        for pattern in ("fold*/model.safetensors", "fold*/checkpoints/step-*.safetensors"):
            for path in sorted(root.glob(pattern)):
                try:
                    values = read_values(path)
                except (OSError, CheckpointError):
                    continue  # whoever reads its tensors reports it
                if values.get("fingerprint") == fingerprint(recipe):
                    yield values


def _fill(recipe: Recipe, about: WeightsInfo) -> Settled:
    """Fill what a recipe leaves open with the settings that its weights were trained with."""
    images, model = recipe.images, recipe.model
    assert about.mean is not None and about.std is not None
    given = images.mean is not None and images.std is not None
    images = replace(
        images,
        mean=images.mean or adapt_to_channels(about.mean, images.channels),
        std=images.std or adapt_to_channels(about.std, images.channels),
    )
    row = BACKBONES.get(model.backbone.partition(":")[0])
    if row is not None and row.in_file:
        model = replace(model, backbone=about.architecture)
    return Settled(replace(recipe, images=images, model=model), "as the recipe gives them" if given else about.source)
