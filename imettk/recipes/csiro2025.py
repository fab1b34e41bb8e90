"""CSIRO Image2Biomass 2025: grams of clover, dead, green and total matter on a square of pasture, one weighted R2.

The model of the tenth place, which is described in full
(www.kaggle.com/competitions/csiro-biomass/writeups/10th-place-solution): a DINOv3 ViT-L on the whole picture of two
squares, with its last two blocks fine-tuned, Huber loss with the metric's weights, averaged weights, folds that keep
dates whole, and a mirrored view. Targets that are sums are answered as sums, as in
github.com/haokwok2002/CSIRO-Image2BiomassPrediction (gold, 0.65 on the private leaderboard), the source of the
augmentation too. The tenth place left out eight rows of Western Australia (2015-08-21) whose green is 0 in the table,
though not in the picture, and gained 0.01: list them in a file for `--table.left-out-csv`. Learning rates, epochs and
batch sizes are ours, as the write-up has none.

Not included: heights and NDVI as additional targets of two of its three models, and flashes and dates drawn into
pictures. Nor what better places had: both halves through one network and joined by attention, ranges of grams as
classes beside the numbers, and training on predictions for the test set.
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

TARGETS = ("Dry_Clover_g", "Dry_Dead_g", "Dry_Green_g", "Dry_Total_g", "GDM_g")
WEIGHTS = "0.1 0.1 0.1 0.5 0.2"
SUMS = ("GDM_g = Dry_Clover_g + Dry_Green_g", "Dry_Total_g = Dry_Clover_g + Dry_Dead_g + Dry_Green_g")


def csiro2025() -> Recipe:
    """Return the recipe of a DINOv3 ViT-L at 768 x 1536 pixels: its last 2 of 24 blocks, 5 targets in long rows."""
    return Recipe(
        name="csiro2025",
        table=TableFormat(
            task="regression",
            id_column="sample_id",
            label_column="target",
            label_columns=TARGETS,
            train_rows="{id}__{label}",
            sample_rows="{id}__{label}",
            group_column="Sampling_Date",
            image_suffix=".jpg",
        ),
        folds=FoldConfig(num_folds=5),
        images=ImageFormat(image_size=(768, 1536)),
        model=ModelConfig(backbone="timm:vit_large_patch16_dinov3.lvd1689m", layer_groups=25),
        train=TrainConfig(loss="huber", loss_params={"weights": WEIGHTS}, ema_decay=0.99, watch="score"),
        stages=(
            StageConfig(
                num_epochs=30,
                batch_size=8,
                accumulate=4,
                lr=(1e-4,),
                warmup_epochs=2,
                clip_norm=1.0,
                frozen_groups=23,
                augmentation="pasture",
            ),
        ),
        predict=PredictConfig(views=("plain", "hflip"), batch_size=8),
        score=ScoreConfig(metric="r2", params={"weights": WEIGHTS, "pooled": True}),
        rule=RuleConfig(kind="value", sums=SUMS),
    )
