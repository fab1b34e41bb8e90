"""Check of a recipe's network before anything is trained: that it can be made, for all of its image sizes."""

from __future__ import annotations

import torch

from imettk.config import ModelConfig, Recipe
from imettk.config.choices import HEADS, VIEWS
from imettk.errors import ConfigError
from imettk.experiment.prepared import make_network
from imettk.experiment.settle import with_architecture
from imettk.models.image_sizes import Size
from imettk.models.lora import require_adapters
from imettk.models.network import Network
from imettk.models.recompute import require_recomputation
from imettk.training.frozen import batch_norms


def check_network(recipe: Recipe, num_labels: int) -> str | None:
    """Make the network of a recipe on the meta device, and check that it takes images of each size that it will meet.

    Returns:
        Warnings, one a line, or None: the last images that BatchNorm sees in training have another size than those to
        predict, or the head does not take the pool.

    Raises:
        ConfigError: there is no such network, it has fewer layer groups, it does not take a size, or it lacks what a
            setting is about.
    """
    recipe = with_architecture(recipe)
    network = _make_without_values(recipe, num_labels)
    num_groups = len(network.layer_groups(recipe.model.layer_groups)) - 1
    for number, stage in enumerate(recipe.stages):
        if stage.frozen_groups > num_groups:  # of blocks, which the recipe alone does not know
            raise ConfigError(
                f"`stages.{number}.frozen_groups` must be at most {num_groups}, the blocks and the stem of this "
                f"backbone, got {stage.frozen_groups}"
            )
    sizes = {f"stages.{number}.image_size": stage.image_size for number, stage in enumerate(recipe.stages)}
    require_sizes(network, recipe, sizes | predict_sizes(recipe))
    _require_batchnorm(recipe, network)
    if recipe.model.lora_rank:
        require_adapters(network, recipe.model, recipe.images.image_size)
    if recipe.session.recompute_activations:
        require_recomputation(network, recipe.images.image_size)
    warnings = [_warn_of_last_size(recipe, network), _warn_of_pool(recipe.model)]
    return "\n".join(filter(None, warnings)) or None


def require_sizes(network: Network, recipe: Recipe, sizes: dict[str, Size | None]) -> None:
    """Raise `ConfigError` if a network does not take a size; `images.image_size`, for which it is made, passes."""
    for field, size in sizes.items():
        if size not in (None, recipe.images.image_size):
            network.require_size(size, field=field, name=recipe.model.backbone)


def predict_sizes(recipe: Recipe) -> dict[str, Size | None]:
    """Return the sizes of predictions by the field that asks for them, None for that of training."""
    sizes, size = {"predict.image_size": recipe.predict.image_size}, recipe.predict_size
    if size[0] != size[1]:  # some views turn images
        image = torch.empty(1, 1, *size, device="meta")
        for view in recipe.predict.views:
            height, width = VIEWS[view].load()(image).shape[-2:]
            if (height, width) != size:
                sizes[f"predict.views {view}"] = height, width
    return sizes


def _require_batchnorm(recipe: Recipe, network: Network) -> None:
    """Raise `ConfigError` if a stage freezes the BatchNorm of a backbone that has none."""
    stages = [number for number, stage in enumerate(recipe.stages) if stage.freeze_batchnorm]
    if stages and not batch_norms(network.backbone):
        raise ConfigError(
            f"`stages.{stages[0]}.freeze_batchnorm` must be False: {recipe.model.backbone} has no BatchNorm"
        )


def _make_without_values(recipe: Recipe, num_labels: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return make_network(recipe, num_labels)
        except Exception:  # a network may look at values while it is made; a real fault is raised again below
            pass
        return make_network(recipe, num_labels)


def _warn_of_last_size(recipe: Recipe, network: Network) -> str | None:
    """Return a warning about BatchNorm's statistics, which depend on the size of what an image shows (FixRes)."""
    size, last = recipe.predict_size, recipe.stages[-1].image_size
    if last in (None, size, recipe.images.image_size) or not batch_norms(network):
        return None
    shown = " x ".join(map(str, last or size))
    return (
        f"warning: the last stage trains at {shown} and the network predicts at {size[0]} x {size[1]}: BatchNorm keeps "
        "statistics of the wrong size; add a short last stage without `image_size`"
    )


def _warn_of_pool(model: ModelConfig) -> str | None:
    """Return a warning about a pool that the head does not take, which earlier versions allowed."""
    row = HEADS.get(model.head)
    if model.pool == ModelConfig().pool or (row is not None and "pool" in row.settings):
        return None
    return f"warning: `model.pool` {model.pool} does nothing with the head {model.head}: use the head pooled"
