"""APTOS 2019 Blindness Detection: the damage that diabetes has done to a retina, grades 0 to 4, quadratic kappa.

The solution of the first place, Guanshuo Xu (www.kaggle.com/c/aptos2019-blindness-detection, "1st place solution
summary"; notes at pennz.github.io/kaggle/aptos_1st_learn.html): grades are learned as numbers, with smooth L1 as the
only loss; images of the 2015 competition are learned too, all of them only resized; and the answer is the plain mean of
eight networks, each of MODELS with two seeds. Train them with `--model.backbone`, `--images.image-size` and
`--train.seed`, then run `imettk ensemble --method mean`. A second round learns from the first: labels are averaged with
its predictions (`--train.teacher FIRST/fold0/oof.safetensors ...`), and confidently predicted test images are learned
too (`imettk pseudo`). Expected: kappa 0.936 on the private leaderboard.

Images lie in `train_images`, `test_images` and `drd2015`; the external table is `drd2015.csv`, the labels of 2015 in
the columns of `train.csv`. `imettk new --like aptos2019 --metric quadratic_kappa` leaves it out.

Not included: generalised mean pooling before the last layer, and external images other than those of 2015. He cut the
numbers at 0.7, 1.5, 2.5 and 3.5; here the cut-points are fitted out of fold. Learning rates and epochs are ours.
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

# Backbone, and the side of its input images.
MODELS = (
    ("pretrainedmodels:se_resnext50_32x4d", 512),
    ("pretrainedmodels:se_resnext101_32x4d", 384),
    ("pretrainedmodels:inceptionv4", 512),
    ("pretrainedmodels:inceptionresnetv2", 512),
)


def aptos2019() -> Recipe:
    """Return the recipe of an SE-ResNeXt-50 at 512 pixels: grades as numbers, fitted cut-points, five folds."""
    backbone, side = MODELS[0]
    return Recipe(
        name="aptos2019",
        table=TableFormat(
            task="regression",
            id_column="id_code",
            label_column="diagnosis",
            train_images="train_images",
            test_images="test_images",
            image_suffix=".png",
            extra=(ExtraTable(csv="drd2015.csv", images="drd2015", image_suffix=".jpeg"),),
        ),
        folds=FoldConfig(num_folds=5),
        images=ImageFormat(image_size=(side, side)),
        model=ModelConfig(backbone=backbone),
        train=TrainConfig(loss="huber", watch="score", keep="best"),
        stages=(
            StageConfig(
                num_epochs=10,
                batch_size=32,
                optimizer="adam",
                lr=(2e-4,),
                weight_decay=0.0,
                warmup_epochs=1,
                augmentation="retina",
            ),
        ),
        predict=PredictConfig(views=("plain", "hflip"), batch_size=32),
        score=ScoreConfig(metric="quadratic_kappa"),
        rule=RuleConfig(kind="cutpoints"),
    )
