"""The demo: sheets of handwritten digits with several labels each, small enough for two CPU cores."""

from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    PredictConfig,
    Recipe,
    RuleConfig,
    SessionConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
)


def digits() -> Recipe:
    """Return the recipe of a tiny network from scratch on grey 48 px sheets: half a minute per fold on two cores."""
    return Recipe(
        name="digits",
        table=TableFormat(group_column="group", labels_csv="labels.csv"),
        folds=FoldConfig(num_folds=3),
        images=ImageFormat(image_size=(48, 48), channels=1, mean=(0.2,), std=(0.3,)),
        model=ModelConfig(backbone="timm:test_resnet"),
        train=TrainConfig(ema_decay=0.95, validate_epochs=3),
        stages=(StageConfig(num_epochs=11, lr=(6e-3,), warmup_epochs=1, clip_norm=5.0, augmentation="affine"),),
        predict=PredictConfig(views=("plain", "zoom_out")),
        rule=RuleConfig(kind="group_thresholds"),
        session=SessionConfig(num_workers=0),
    )
