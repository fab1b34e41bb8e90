"""Plant Pathology 2020: healthy, rust, scab or several diseases, a probability each, mean ROC AUC of the four columns.

The first place's system as its authors made it anew (github.com/alipay/cvpr2020-plant-pathology, by yelanlan and nick):
labels are partly wrong, so a second training of all folds learns 0.7 of the labels and 0.3 of what the first one's
models said of rows that they had not seen, and both are averaged. Train `plant2020` and validate it, then in another
`--run-dir` with `--train.teacher FIRST/fold0/oof.safetensors FIRST/fold1/oof.safetensors ...`, and `imettk ensemble
--method mean` joins the two. Figures on the private board: 0.98108 the first, 0.98135 the second, 0.98253 together.

Not here: features of unit length before the last layer; leaves taken upright are squeezed, where theirs were turned;
and mirrored views stand for their eight random draws of training's augmentation.
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

CYCLES = (10, 20, 40)  # epochs, after each of which the learning rate starts from its peak (SGDR, arXiv 1608.03983)


def plant2020() -> Recipe:
    """An SE-ResNeXt-50 at 480 x 768 pixels, three cycles of the learning rate, five folds."""
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
