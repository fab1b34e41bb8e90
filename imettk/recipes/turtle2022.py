"""Turtle Recall 2022: one of 100 turtles, or a new one; five answers in order, MAP@5.

Igor Ivanov's system, fifth place (github.com/vecxoz/turtle-recall): a softmax over all 2,265 turtles of `train.csv`
and `extra_images.csv`; turtles that are not among the 100 of `train.csv` are answered as `new_turtle`. All images lie
in `images/`. Its other models are this recipe with another `--model.backbone`, averaged by `imettk ensemble`. Expected:
CV MAP@5 0.893 to 0.920 each, 0.9503 together, 0.9648 on the private leaderboard.
"""

from imettk.config import (
    ExtraTable,
    FoldConfig,
    ImageFormat,
    ModelConfig,
    PredictConfig,
    RankConfig,
    Recipe,
    RuleConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
)

# EfficientNet-B7, -L2 (twice), V2-L and V2-XL, and BEiT-L, by their names in timm.
BACKBONES = (
    "timm:tf_efficientnet_b7",
    "timm:tf_efficientnet_l2",
    "timm:tf_efficientnetv2_l",
    "timm:tf_efficientnetv2_xl",
    "timm:beit_large_patch16_512",
)
NUM_ANSWERS = 5


def turtle2022() -> Recipe:
    """Return the recipe of an EfficientNet-B7 at 512 pixels: ten views, five folds."""
    return Recipe(
        name="turtle2022",
        table=TableFormat(
            task="multiclass",
            id_column="image_id",
            label_column="turtle_id",
            image_suffix=".JPG",
            train_images="images",
            test_images="images",
            unknown_label="new_turtle",
            answer_columns=tuple(f"prediction{number}" for number in range(1, NUM_ANSWERS + 1)),
            extra=(ExtraTable(csv="extra_images.csv", images="images", new_labels=True, validates=True),),
        ),
        folds=FoldConfig(num_folds=5),
        images=ImageFormat(image_size=(512, 512)),
        model=ModelConfig(backbone=BACKBONES[0]),
        train=TrainConfig(loss="cross_entropy", keep="best"),
        stages=(
            StageConfig(
                num_epochs=200,
                batch_size=16,
                accumulate=4,
                optimizer="adam",
                lr=(1e-4,),
                weight_decay=0.0,
                schedule="plateau",
                plateau_factor=0.5,
                plateau_validations=4,
                final_lr=1e-4,
                early_stop=8,
                augmentation="dihedral",
            ),
        ),
        predict=PredictConfig(
            views=("plain", "hflip", "vflip", "rot90", "rot180", "rot270", "rot45", "rot135", "rot225", "rot315"),
            batch_size=16,
        ),
        rule=RuleConfig(kind="rank"),
        ranking=RankConfig(by="probs", scored="train", num_answers=NUM_ANSWERS),
    )
