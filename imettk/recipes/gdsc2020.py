"""Global Data Science Challenge 2020: the 20 most similar photographs for each one of a sperm whale's fluke.

Ahmed Besbes's system (github.com/ahmedbesbes/whales-classification) without its mistakes: test images are cropped to
their box, as training images are, and the learning rate does not start at 0. Images lie in `train/WHALE/`, those of
unknown whales in `train/-1/`; `boxes.csv` has the box of each fluke. To start from similar data, train on the images of
`humpback2018` with this recipe first, and give the resulting `model.safetensors` as `--model.weights`.
"""

from dataclasses import replace

from imettk.config import (
    EmbeddingConfig,
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

NUM_ANSWERS = 20


def gdsc2020() -> Recipe:
    """Return the recipe of a ResNet-34 at 620 pixels, ArcFace beside a plain classifier; leaderboard score 1434."""
    return Recipe(
        name="gdsc2020",
        table=TableFormat(
            task="multiclass",
            train_folders=True,
            id_column="image",
            label_column="whale",
            image_suffix="",
            unknown_label="-1",
            answer_columns=tuple(f"prediction{number}" for number in range(1, NUM_ANSWERS + 1)),
            boxes_csv="boxes.csv",
            box_id_column="image",
            box_columns=("x_center", "y_center", "width", "height"),
            box_format="centre",
        ),
        folds=FoldConfig(num_folds=5, scheme="hold_out", hold_out_from=3, min_images=2),
        images=ImageFormat(image_size=(620, 620)),
        model=ModelConfig(backbone="timm:resnet34", head="embedding", embedding_size=256, joint_dropout=0.5),
        embedding=EmbeddingConfig(scale=30.0, margin=0.5),
        train=TrainConfig(loss="arcface", watch="score", keep="best"),
        stages=(
            StageConfig(
                num_epochs=60,
                batch_size=64,
                accumulate=2,
                optimizer="adam",
                lr=(2.5e-4,),
                final_lr=0.2,
                weight_decay=1e-3,
                warmup_epochs=2,
                augmentation="whale_heavy",
                sampler="identities",
                images_per_identity=4,
            ),
        ),
        predict=PredictConfig(views=("plain",), batch_size=32),
        rule=RuleConfig(kind="rank"),
        ranking=RankConfig(answers="images", num_answers=NUM_ANSWERS),
    )


def gdsc2020_densenet() -> Recipe:
    """Return the recipe of its second model, a DenseNet-121 at 480 pixels (1450), to join by `imettk ensemble`."""
    recipe = gdsc2020()
    return replace(
        recipe,
        name="gdsc2020-densenet",
        images=replace(recipe.images, image_size=(480, 480)),
        model=replace(recipe.model, backbone="timm:densenet121"),
    )


def gdsc2020_triplet() -> Recipe:
    """Return the recipe that it had before ArcFace: batch-hard triplets (1370)."""
    recipe = gdsc2020()
    return replace(
        recipe,
        name="gdsc2020-triplet",
        model=replace(recipe.model, centres=0, joint_dropout=None),
        embedding=replace(recipe.embedding, margin=0.3),
        train=replace(recipe.train, loss="triplet"),
    )
