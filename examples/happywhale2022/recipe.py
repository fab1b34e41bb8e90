"""Happywhale 2022: the individual on each photo of a whale or dolphin, or a new one; five answers in order, MAP@5.

ArcFace with a larger margin for individuals that were seen less often. Each fold hides a fiftieth of the individuals:
they are its new ones, about a fifth of the photos on which the threshold for `new_individual` is fitted.
"""

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


def recipe() -> Recipe:
    """Return the recipe of an EfficientNetV2-S at 384 pixels: 512-dimensional embeddings, 15 epochs, five folds."""
    return Recipe(
        name="happywhale2022",
        table=TableFormat(
            task="multiclass",
            id_column="image",
            label_column="individual_id",
            answer_column="predictions",
            unknown_label="new_individual",  # in answers only: the training table has none
            train_images="train_images",
            test_images="test_images",
            image_suffix="",  # ids are file names
        ),
        folds=FoldConfig(num_folds=5, scheme="hold_out", hold_out_from=3, unknown_identities=0.02),
        images=ImageFormat(image_size=(384, 384)),
        model=ModelConfig(
            backbone="timm:tf_efficientnetv2_s.in21k_ft_in1k",
            weights="weights",
            layer_groups=4,
            head="embedding",
            pool="gem",
            embedding_size=512,
            centres=2,
            dropout=0.2,
        ),
        embedding=EmbeddingConfig(scale=30.0, margin=0.4, frequent_margin=0.1),
        train=TrainConfig(loss="arcface", watch="score", keep="best"),
        stages=(
            StageConfig(
                num_epochs=15,
                batch_size=32,
                lr=(1e-3,),
                layer_decay=0.5,
                freeze_batchnorm=True,
                warmup_epochs=2,
                augmentation="whale_heavy",
            ),
        ),
        predict=PredictConfig(views=("plain", "hflip")),
        rule=RuleConfig(kind="rank"),
        ranking=RankConfig(num_answers=5),
    )
