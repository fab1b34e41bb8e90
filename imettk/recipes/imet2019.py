"""iMet Collection 2019: 1,103 attributes of artworks, F2 over samples (www.kaggle.com/c/imet-2019-fgvc6).

Ceshine Lee's solution and those of the first places, after his notes and code, without their mistakes: no row is
dropped from validation, and the two views are plain and mirrored. Expected on the private leaderboard for 3 models at
320 pixels: 0.622.
"""

from dataclasses import replace

from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    PredictConfig,
    Recipe,
    RuleConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
)


def imet2019() -> Recipe:
    """Return the recipe of an SE-ResNeXt-50 at 320 pixels: the head first, then all layers in three rate groups."""
    head = StageConfig(
        num_epochs=0.5,
        batch_size=64,
        lr=(2e-3,),
        weight_decay=0.1,
        schedule="triangular",
        warmup_epochs=0.125,
        frozen_groups=2,
        augmentation="square",
    )
    whole = StageConfig(
        num_epochs=10,
        batch_size=64,
        lr=(1e-5, 8e-5, 5e-4),
        weight_decay=0.05,
        schedule="triangular",
        warmup_epochs=2,
        early_stop=4,
        min_gain=1e-4,
        clip_norm=10.0,
        augmentation="square",
        mixup=0.2,
        mix_mode="elem",
        hard_examples=0.05,
    )
    return Recipe(
        name="imet2019",
        table=TableFormat(labels_csv="labels.csv"),
        folds=FoldConfig(num_folds=10),
        images=ImageFormat(image_size=(320, 320), aspect="crop_marginal"),
        model=ModelConfig(backbone="pretrainedmodels:se_resnext50_32x4d", layer_groups=2, head="relu", dropout=0.25),
        train=TrainConfig(
            loss="focal",
            loss_params={"gamma": 0.25, "alpha": 0.5, "constant_weight": True},
            validate_epochs=0.5,
            watch="score",
            keep="best",
        ),
        stages=(head, whole),
        predict=PredictConfig(views=("plain", "hflip")),
        rule=RuleConfig(kind="group_thresholds", beta=2.0, min_labels=1, max_labels=10),
    )


def imet2019_freezing() -> Recipe:
    """Return the variant that freezes the first three levels of the network: warmup, then cosine."""
    recipe = imet2019()
    stage = replace(
        recipe.stages[1],
        lr=(3e-4,),
        schedule="cosine",
        warmup_epochs=3,
        frozen_groups=3,
    )
    return replace(recipe, name="imet2019-freezing", model=replace(recipe.model, layer_groups=5), stages=(stage,))
