"""Humpback Whale Identification 2018: the whale of each fluke, or `new_whale`; five answers in order, MAP@5.

Prithvi Raju's few-shot triplets (www.kaggle.com/c/whale-categorization-playground): 9,850 images of 4,251 whales, more
than half of them seen once. Without his mistakes: answers keep their order, and all rows are scored.
Next to `train.csv` lie `boxes.csv` (of the flukes), `turned.csv` and `left_out.csv` (one image name per line; each may
be only a header).
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


def humpback2018() -> Recipe:
    """Return the recipe of batch-hard cosine triplets with a margin of 0.7, in batches of 16 whales."""
    return Recipe(
        name="humpback2018",
        table=TableFormat(
            task="multiclass",
            id_column="Image",
            label_column="Id",
            image_suffix="",
            unknown_label="new_whale",
            boxes_csv="boxes.csv",
            turned_csv="turned.csv",
            left_out_csv="left_out.csv",
        ),
        folds=FoldConfig(num_folds=5, scheme="hold_out", hold_out_from=3),
        images=ImageFormat(image_size=(256, 512), box_margin=5.0),
        model=ModelConfig(backbone="timm:resnet50", head="embedding", pool="gem", embedding_size=512, centres=0),
        embedding=EmbeddingConfig(mining="batch_hard", distance="cosine", margin=0.7),
        train=TrainConfig(loss="triplet", watch="score", keep="best"),
        stages=(
            StageConfig(
                num_epochs=80,
                batch_size=64,
                optimizer="adam",
                lr=(3e-4,),
                weight_decay=0.0,
                warmup_epochs=2,
                augmentation="whale_heavy",
                sampler="identities",
                images_per_identity=4,
            ),
        ),
        predict=PredictConfig(views=("plain", "hflip"), batch_size=32),
        rule=RuleConfig(kind="rank"),
        ranking=RankConfig(num_answers=5),
    )


def humpback2018_arcface() -> Recipe:
    """Return the same with ArcFace: rare whales get the larger margin, and a mirrored fluke counts as another whale."""
    recipe = humpback2018()
    return replace(
        recipe,
        name="humpback2018-arcface",
        model=replace(recipe.model, centres=1, dropout=0.25),
        embedding=EmbeddingConfig(scale=30.0, margin=0.5, frequent_margin=0.2, mirrored_identities=True),
        train=replace(recipe.train, loss="arcface"),
        stages=(replace(recipe.stages[0], sampler="shuffle", num_epochs=50),),
        predict=replace(recipe.predict, views=("plain",)),
    )
