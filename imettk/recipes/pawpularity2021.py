"""PetFinder.my Pawpularity 2021: the appeal of a pet's photo, a number from 1 to 100, RMSE.

The common ground of the best places (www.kaggle.com/c/petfinder-pawpularity-score; summary at
zenn.dev/kohecchi/articles/efc6d291dec289): large transformers pretrained on ImageNet-22k, with BEiT the best single
network of the first place (Gilberto Titericz) and the sixth (Chris Deotte); squares cropped from photos that keep their
aspect ratio, at 224, 384 or 512 pixels (sixth); blends of many networks. Scores were learned like probabilities, by
cross-entropy on shares of their range (forcelog.hatenablog.com/entry/2022/01/16/173857), with mixup in half of the
batches. Train MODELS with `--model.backbone` and the sides beside it, then run `imettk ensemble --method weighted`.
Photos tell little: a constant answer has an RMSE of 20.6, Chris Deotte's public notebook 17.8.

Several rows show copies of one photo: `imettk duplicates --action group` keeps them in one fold.

Not included: the first place's support vector regression on features of many networks, CLIP's among them. Learning rate
and epochs are ours.
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

# Backbone, side of its input squares, and of the images that these are cropped from.
MODELS = (
    ("timm:beit_large_patch16_224.in22k_ft_in22k_in1k", 224, 256),
    ("timm:swin_large_patch4_window7_224.ms_in22k_ft_in1k", 224, 256),
    ("timm:swin_large_patch4_window12_384.ms_in22k_ft_in1k", 384, 416),
    ("timm:beit_large_patch16_384.in22k_ft_in22k_in1k", 384, 416),
    ("timm:convnext_large.fb_in22k_ft_in1k", 384, 416),
)


def pawpularity2021() -> Recipe:
    """Return the recipe of a BEiT-Large at 224 pixels: cross-entropy on scores, ten folds."""
    backbone, side, load_side = MODELS[0]
    return Recipe(
        name="pawpularity2021",
        table=TableFormat(
            task="regression",
            id_column="Id",
            label_column="Pawpularity",
            train_images="train",
            test_images="test",
            image_suffix=".jpg",
        ),
        folds=FoldConfig(num_folds=10),
        images=ImageFormat(
            image_size=(side, side), load_size=(load_side, load_side), fit="centre_crop", aspect="shorter_side"
        ),
        model=ModelConfig(backbone=backbone, dropout=0.3),
        train=TrainConfig(loss="scaled_bce", watch="score", keep="best"),
        stages=(
            StageConfig(
                num_epochs=5,
                batch_size=32,
                lr=(2e-5,),
                weight_decay=0.01,
                warmup_epochs=1,
                clip_norm=1.0,
                augmentation="pets",
                mixup=1.0,
                mix_share=0.5,
            ),
        ),
        predict=PredictConfig(views=("plain", "hflip"), batch_size=32),
        score=ScoreConfig(metric="rmse"),
        rule=RuleConfig(kind="value"),
    )
