"""SIIM-ISIC Melanoma Classification 2020: the probability that a mole is a melanoma, ROC AUC.

The image models of the first place, Qishen Ha, Bo Liu and Fuxu Liu (arXiv 2010.05351;
github.com/haqishen/SIIM-ISIC-Melanoma-Classification-1st-Place-Solution): they learn the diagnosis, though only the
probability of melanoma is answered. Rows of 2018 and 2019 are learned and validated too, folds keep patients whole, and
eighteen models are averaged by rank: train MODELS with `--model.backbone` and the rest of their row, then run
`imettk ensemble --method rank`. Expected: AUC 0.9600 out of fold, 0.9490 on the private leaderboard.

Images of 512 pixels a side lie in `jpeg/train`, `jpeg/test` and `isic2019`; the external table is `isic2019.csv`. Join
diagnoses in the tables first, as they did: the lentigines, lichenoid and seborrheic keratosis become BKL; cafe-au-lait
macule and atypical melanocytic proliferation become unknown; NV becomes nevus and MEL melanoma.

Not included: the patient's data, which four of the eighteen used beside the image, and the mean of five dropouts before
the last layer.
"""

from imettk.config import (
    ExtraTable,
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

# Backbone, side of its input images and of the images as loaded, peak learning rate.
MODELS = (
    ("timm:tf_efficientnet_b5.ns_jft_in1k", 448, 512, 3e-4),
    ("timm:tf_efficientnet_b4.ns_jft_in1k", 448, 512, 3e-4),
    ("timm:tf_efficientnet_b4.ns_jft_in1k", 640, 768, 3e-4),
    ("timm:tf_efficientnet_b4.ns_jft_in1k", 768, 768, 3e-4),
    ("timm:tf_efficientnet_b4.ns_jft_in1k", 896, 1024, 2e-4),
    ("timm:tf_efficientnet_b5.ns_jft_in1k", 640, 768, 1.5e-4),
    ("timm:tf_efficientnet_b6.ns_jft_in1k", 448, 512, 3e-4),
    ("timm:tf_efficientnet_b6.ns_jft_in1k", 576, 768, 3e-4),
    ("timm:tf_efficientnet_b6.ns_jft_in1k", 640, 768, 3e-4),
    ("timm:tf_efficientnet_b7.ns_jft_in1k", 576, 768, 1e-4),
    ("timm:tf_efficientnet_b7.ns_jft_in1k", 640, 768, 1e-4),
    ("timm:resnest101e", 640, 768, 2e-4),
    ("pretrainedmodels:se_resnext101_32x4d", 640, 768, 3e-4),
)


def melanoma2020() -> Recipe:
    """Return the recipe of an EfficientNet-B5 at 448 pixels: nine diagnoses, eight views, five folds."""
    backbone, side, load_side, lr = MODELS[0]
    return Recipe(
        name="melanoma2020",
        table=TableFormat(
            task="multiclass",
            id_column="image_name",
            label_column="diagnosis",
            answer_column="target",
            group_column="patient_id",
            train_images="jpeg/train",
            test_images="jpeg/test",
            image_suffix=".jpg",
            extra=(ExtraTable(csv="isic2019.csv", images="isic2019", new_labels=True, validates=True),),
        ),
        folds=FoldConfig(num_folds=5),
        images=ImageFormat(image_size=(side, side), load_size=(load_side, load_side)),
        model=ModelConfig(backbone=backbone, dropout=0.5),
        train=TrainConfig(loss="cross_entropy", watch="score", keep="best"),
        stages=(
            StageConfig(
                num_epochs=15,
                batch_size=64,
                optimizer="adam",
                lr=(lr,),
                weight_decay=0.0,
                warmup_epochs=1,
                warmup_start=0.1,
                augmentation="lesion",
            ),
        ),
        predict=PredictConfig(
            views=("plain", "hflip", "vflip", "rot180", "transpose", "rot90", "rot270", "transverse"), batch_size=32
        ),
        score=ScoreConfig(metric="roc_auc"),
        rule=RuleConfig(kind="probability", positive="melanoma"),
    )
