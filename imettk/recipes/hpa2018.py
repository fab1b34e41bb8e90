"""Human Protein Atlas 2018: 28 locations of a protein in a cell, macro F1, four grey files per image.

The classifier of the first place, bestfitting (www.kaggle.com/c/human-protein-atlas-image-classification), without two
of its mistakes: dropout is off during prediction, and label shares are kept, as only empty rows are filled. The loss is
that of the write-up; `--train.loss focal_lovasz_hard` adds the hard-negative cross-entropy of the code.
External images lie in `external/`, with `external.csv` next to `train.csv`. Remove copies of test or training images
among them first: `imettk duplicates hpa2018 --each-channel --action group`.
"""

from dataclasses import replace

from imettk.config import (
    EmbeddingConfig,
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


def hpa2018() -> Recipe:
    """Return the recipe of a DenseNet-121 on crops of 512 from 768 pixels: lowest focal loss, label shares kept."""
    return Recipe(
        name="hpa2018",
        table=TableFormat(
            id_column="Id",
            label_column="Target",
            answer_column="Predicted",
            group_pattern="^ENSG[0-9]+_([0-9]+)_",  # images of one antibody have almost the same labels
            image_suffix="_*.png",
            channel_files=("red", "green", "blue", "yellow"),
            extra=(ExtraTable(csv="external.csv", images="external", validates=True),),
        ),
        folds=FoldConfig(num_folds=5),
        images=ImageFormat(
            image_size=(512, 512),
            load_size=(768, 768),
            fit="centre_crop",
            channels=4,
            # Over train and test, from the solution's code; `imettk prepare` prints those of your files.
            mean=(0.074598, 0.050630, 0.050891, 0.076287),
            std=(0.122813, 0.085745, 0.129882, 0.119411),
        ),
        model=ModelConfig(backbone="timm:densenet121", head="wide", hidden=1024, dropout=0.5),
        train=TrainConfig(loss="focal_lovasz", watch="focal", keep="best"),
        stages=(
            StageConfig(
                num_epochs=45,
                batch_size=32,
                optimizer="adam",
                lr=(30e-5,),
                weight_decay=0.0,
                schedule="steps",
                step_epochs=(25, 30, 35, 40),
                step_lrs=(1 / 2, 1 / 4, 1 / 10, 1 / 30),
                clip_norm=1.0,
                augmentation="protein",
            ),
        ),
        predict=PredictConfig(views=("crop0", "crop1", "crop2", "crop3"), merge="max", batch_size=32),
        rule=RuleConfig(kind="share", beta=1.0, average="macro"),
    )


def hpa2018_metric() -> Recipe:
    """Return the recipe of a ResNet-50 that learns antibodies, for `imettk neighbours`: close images share labels.

    It learns from the external images, whose names contain the antibody. Images of `train.csv` are embedded too, but
    not judged, as their antibodies are unknown. One image in four validates; the score is top-1 of the external ones.
    """
    recipe = hpa2018()
    return replace(
        recipe,
        name="hpa2018-metric",
        table=replace(
            recipe.table,
            task="multiclass",
            train_csv="external.csv",
            train_images="external",
            label_column="antibody",
            label_pattern=recipe.table.group_pattern,
            group_pattern=None,
            unknown_label="none",
            extra=(ExtraTable(csv="train.csv", images="train", validates=True),),
        ),
        folds=FoldConfig(num_folds=4, scheme="hold_out", hold_out_from=4, hold_out_share=0.25),
        model=ModelConfig(
            backbone="timm:resnet50", head="wide_embedding", hidden=1024, embedding_size=512, dropout=0.5
        ),
        embedding=EmbeddingConfig(scale=30.0, margin=0.5, plain_weight=1.0),
        train=TrainConfig(loss="arcface", watch="score", keep="best"),
        stages=(
            StageConfig(
                num_epochs=50,
                batch_size=32,
                optimizer="adam",
                lr=(1e-4,),
                weight_decay=0.0,
                schedule="constant",
                clip_norm=1.0,
                augmentation="protein",
            ),
        ),
        rule=RuleConfig(kind="rank"),
        ranking=RankConfig(num_answers=1, judge_unknown=False),
    )
