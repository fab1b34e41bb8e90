"""A recipe's network is looked at before anything is trained, with all the sizes that it will meet."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_swin import register_tiny_swin

from imettk.errors import ConfigError
from imettk.experiment.network_check import check_network
from imettk.recipes import load_recipe


def recipe_of(backbone, size=(64, 64), stage=None, views=("plain",), predicted=None, **model):
    recipe = load_recipe("digits")
    return dataclasses.replace(
        recipe,
        images=dataclasses.replace(recipe.images, image_size=size),
        model=dataclasses.replace(recipe.model, backbone=backbone, **model),
        stages=(dataclasses.replace(recipe.stages[0], image_size=stage),),
        predict=dataclasses.replace(recipe.predict, views=views, image_size=predicted),
    )


def frozen(num_groups):
    recipe = recipe_of("timm:test_resnet", layer_groups=0)
    return dataclasses.replace(recipe, stages=(dataclasses.replace(recipe.stages[0], frozen_groups=num_groups),))


@pytest.mark.parametrize(
    "fitting",
    [
        recipe_of("timm:test_resnet", (40, 50), (30, 70), ("plain", "rot90", "zoom_out")),
        recipe_of("timm:vit_tiny_patch16_224", (48, 64), (32, 32), ("rot90",), (64, 96), head="wide", last_levels=2),
        recipe_of(f"timm:{register_tiny_swin()}", (36, 64), (52, 32), ("transpose",)),
        recipe_of("pretrainedmodels:resnet18", (64, 48), (32, 32), head="relu"),
        frozen(5),
    ],
    ids=["resnet", "vit", "swin", "pretrainedmodels", "blocks"],
)
def test_what_fits_passes_and_leaves_the_random_numbers_alone(fitting):
    before = torch.get_rng_state()
    check_network(fitting, 7)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (recipe_of("timm:vit_tiny_patch16_224", (60, 64)), r"`images.image_size`: .* 60 x 64 .* 56 x 64|48 x 64"),
        (recipe_of("timm:vit_tiny_patch16_224", stage=(60, 64)), r"`stages.0.image_size`: .* 60 x 64 .* 48 x 64"),
        (recipe_of("timm:pit_ti_224", (32, 48), views=("plain", "rot90")), r"`predict.views rot90`: .* 48 x 32"),
        (recipe_of("timm:vit_tiny_patch16_224", predicted=(70, 96)), r"`predict.image_size`: .* 70 x 96 .* 64 x 96"),
        (recipe_of("timm:test_resnet", layer_groups=6), "`model.layer_groups` must be at most 5"),
        (recipe_of("timm:no_such_network"), "`model.backbone`: timm has no network"),
        (recipe_of("timm:vgg11", drop_path=0.1), "`model.drop_path`: timm:vgg11 has no such dropout; leave it out"),
        (recipe_of("timm:test_resnet", levels=(5,)), r"`model.levels` 5: this backbone has no such maps"),
        (frozen(7), "`stages.0.frozen_groups` must be at most 5, the blocks and the stem of this backbone, got 7"),
    ],
)
def test_what_does_not_is_named(wrong, line):
    before = torch.get_rng_state()
    with pytest.raises(ConfigError, match=line):
        check_network(wrong, 7)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_last_stage_of_another_size_is_warned_of_where_batchnorm_notices():
    warning = check_network(recipe_of("timm:test_resnet", (64, 64), (32, 32)), 7)
    assert "trains at 32 x 32 and the network predicts at 64 x 64: BatchNorm" in warning
    assert check_network(recipe_of("timm:test_resnet", (64, 64), (64, 64)), 7) is None
    assert check_network(recipe_of("timm:test_vit", (64, 64), (32, 32)), 7) is None


@pytest.mark.parametrize(("head", "noted"), [("linear", True), ("pooled", False)])
def test_a_pool_that_does_nothing_is_warned_of(head, noted):
    warning = "warning: `model.pool` gem does nothing with the head linear: use the head pooled"
    assert check_network(recipe_of("timm:test_resnet", head=head, pool="gem"), 7) == (warning if noted else None)


@pytest.mark.parametrize("backbone", ["timm:test_vit", "timm:test_resnet"])
def test_frozen_batchnorm_needs_a_backbone_that_has_some(backbone):
    recipe = recipe_of(backbone)
    recipe = dataclasses.replace(recipe, stages=(dataclasses.replace(recipe.stages[0], freeze_batchnorm=True),))
    if backbone == "timm:test_resnet":
        check_network(recipe, 7)
    else:
        with pytest.raises(ConfigError, match=r"`stages.0.freeze_batchnorm` must be False: timm:test_vit has no Batch"):
            check_network(recipe, 7)


def test_recomputation_is_refused_where_the_backbone_lacks_it():
    for backbone in ("timm:vgg11", "timm:test_vit"):
        recipe = recipe_of(backbone)
        recipe = dataclasses.replace(recipe, session=dataclasses.replace(recipe.session, recompute_activations=True))
        if backbone == "timm:test_vit":
            check_network(recipe, 7)
        else:
            with pytest.raises(ConfigError, match=r"`session.recompute_activations` must be False: VGG keeps all"):
                check_network(recipe, 7)
