"""Cassava Leaf Disease Classification 2020: one of five classes for each photo of a plant, accuracy.

Labels are partly wrong, so targets are smoothed and weights averaged. Images keep their shape, 3 : 4.
"""

from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    PredictConfig,
    Recipe,
    RuleConfig,
    ScoreConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
)


def recipe() -> Recipe:
    """Return the recipe of an EfficientNetV2-S at 384 x 512 pixels: five folds of ten epochs."""
    return Recipe(
        name="cassava2020",
        table=TableFormat(
            task="multiclass",
            id_column="image_id",
            label_column="label",
            train_images="train_images",
            test_images="test_images",
            image_suffix="",  # ids are file names
        ),
        folds=FoldConfig(num_folds=5),
        images=ImageFormat(image_size=(384, 512)),
        model=ModelConfig(backbone="timm:tf_efficientnetv2_s.in21k_ft_in1k", weights="weights", layer_groups=4),
        train=TrainConfig(loss="cross_entropy", ema_decay=0.999, watch="score"),
        stages=(
            StageConfig(
                num_epochs=10,
                batch_size=32,
                lr=(1e-3,),
                layer_decay=0.75,
                freeze_batchnorm=True,
                warmup_epochs=1,
                augmentation="leaves",
                label_smoothing=0.1,
                cutmix=1.0,
                mix_share=0.5,
            ),
        ),
        predict=PredictConfig(views=("plain", "hflip", "vflip", "rot180")),
        rule=RuleConfig(kind="argmax"),
        score=ScoreConfig(metric="accuracy"),
    )
