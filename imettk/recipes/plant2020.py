"""Plant Pathology 2020: the probabilities of healthy, rust, scab and several diseases, mean ROC AUC of the columns.

The first place's system as its authors, yelanlan and nick, rebuilt it (github.com/alipay/cvpr2020-plant-pathology).
Labels are partly wrong, so a second training of all folds learns from 0.7 of the labels and 0.3 of the first one's
out-of-fold predictions, and both are averaged. Train and validate `plant2020`, then again in another `--run-dir` with
`--train.teacher FIRST/fold0/oof.safetensors FIRST/fold1/oof.safetensors ...`, and join the two with `imettk ensemble
--method mean`. Expected on the private leaderboard: 0.98108 for the first, 0.98135 for the second, 0.98253 together.

Not included: features of unit length before the last layer. Leaves photographed upright are squeezed, not rotated as
theirs were, and mirrored views replace their eight random draws of the training augmentation.
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

CYCLES = (10, 20, 40)  # epochs; the learning rate restarts from its peak after each cycle (SGDR, arXiv 1608.03983)


def plant2020() -> Recipe:
    """Return the recipe of an SE-ResNeXt-50 at 480 x 768 pixels: three cycles of the learning rate, five folds."""
    return Recipe(
        name="plant2020",
        table=TableFormat(
            task="multiclass",
            id_column="image_id",
            label_columns=("healthy", "multiple_diseases", "rust", "scab"),
            train_images="images",
            test_images="images",
            image_suffix=".jpg",
        ),
        folds=FoldConfig(num_folds=5),
        images=ImageFormat(image_size=(480, 768)),
        model=ModelConfig(backbone="pretrainedmodels:se_resnext50_32x4d"),
        train=TrainConfig(loss="cross_entropy", watch="score", keep="best", teacher_weight=0.3),
        stages=tuple(
            StageConfig(
                num_epochs=num_epochs,
                batch_size=32,
                optimizer="adam",
                lr=(1e-3,),
                final_lr=0.01,
                weight_decay=0.0,
                clip_norm=1.0,
                augmentation="leaves",
            )
            for num_epochs in CYCLES
        ),
        predict=PredictConfig(views=("plain", "hflip", "vflip", "rot180"), batch_size=32),
        score=ScoreConfig(metric="roc_auc"),
        rule=RuleConfig(kind="probability"),
    )
