"""CSIRO Image2Biomass 2025: grams of clover, dead, green and all matter on a square of pasture, one weighted R2 of all.

The tenth place's model, which is told in full (www.kaggle.com/competitions/csiro-biomass/writeups/10th-place-solution):
DINOv3 ViT-L on the whole picture of two squares, of which the last two blocks are tuned, Huber's loss with the metric's
weights, averaged weights, dates kept whole in folds, a mirrored view. What is a sum is answered as one, as in
github.com/haokwok2002/CSIRO-Image2BiomassPrediction (gold, 0.65 on the private board), from which the augmentation is.
The tenth left out eight rows of Western Australia (2015-08-21) whose green is 0 in the table, not in the picture, and
gained 0.01: list them in a file for `--table.left-out-csv`. Rates, epochs and batches are ours: the text has none.

Not here: heights and NDVI as further targets of two of its three models, and flashes and dates drawn into pictures; the
halves through one network and joined by attention, classes of ranges of grams beside the numbers, and training on the
test set's own predictions, as others had that came first.
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
    """A DINOv3 ViT-L at 768 x 1536 pixels, its last two of 24 blocks, five targets in long rows, five folds."""
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
