"""The demo's competition: sheets of handwritten digits, several labels each, small enough for two CPU cores."""

from imettk.config import (
    FoldPlan,
    ImageFormat,
    ModelPlan,
    PredictPlan,
    Recipe,
    RulePlan,
    SessionPlan,
    StagePlan,
    TableFormat,
    TrainPlan,
)


def digits() -> Recipe:
    """A tiny network from scratch on grey 48 px sheets; about half a minute a fold on two cores."""
    return Recipe(
        name="digits",
        table=TableFormat(group_column="group", labels_csv="labels.csv"),
        folds=FoldPlan(num_folds=3),
        images=ImageFormat(image_size=(48, 48), channels=1, mean=(0.2,), std=(0.3,)),
        model=ModelPlan(backbone="timm:test_resnet"),
        train=TrainPlan(ema_decay=0.95, validate_epochs=3),
        stages=(StagePlan(num_epochs=11, lr=(6e-3,), warmup_epochs=1, clip_norm=5.0, augmentation="affine"),),
        predict=PredictPlan(views=("plain", "zoom_out")),
        rule=RulePlan(kind="group_thresholds"),
        session=SessionPlan(num_workers=0),
    )
