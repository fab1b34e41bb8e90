"""Omniglot as a competition in identities, and a recipe for it with a network of four blocks.

Also a recipe file, as a user's own: `imettk train tools/bench/omniglot.py --data DIR`. The data are the 242 characters
of `../shared/data/omniglot_small.zip` (github.com/brendenlake/omniglot, MIT), each drawn by 20 people.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional

from imettk.config import (
    EmbeddingConfig,
    FoldConfig,
    ImageFormat,
    ModelConfig,
    PredictConfig,
    RankConfig,
    Recipe,
    RuleConfig,
    SessionConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
)

ARCHIVE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "omniglot_small.zip"
NUM_ANSWERS = 5


class LastConvolution(nn.Conv2d):
    """A convolution without padding; a 1 x 1 output is a matrix product, which oneDNN computes 5 times slower."""

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, out, H', W')."""
        if images.shape[2:] != self.kernel_size:
            return super().forward(images)
        return functional.linear(images.flatten(1), self.weight.flatten(1))[:, :, None, None]


class FourBlocks(nn.Module):
    """Four blocks of convolution, BatchNorm, 2 x 2 pooling and ReLU, then a convolution over the remaining 2 x 2.

    In a character it counts where a stroke is. With the interface that timm's networks have.
    """

    def __init__(self, widths: tuple[int, ...], in_chans: int) -> None:
        super().__init__()
        self.num_features = self.head_hidden_size = 2 * widths[-1]
        self.pretrained_cfg = {"input_size": (in_chans, 40, 40)}
        blocks = []
        for before, width in zip((in_chans, *widths), widths, strict=False):
            convolution = nn.Conv2d(before, width, 3, padding=1, bias=False)
            blocks.append(nn.Sequential(convolution, nn.BatchNorm2d(width), nn.MaxPool2d(2), nn.ReLU(True)))
        places = LastConvolution(widths[-1], self.num_features, 2, bias=False)
        blocks.append(nn.Sequential(places, nn.BatchNorm2d(self.num_features), nn.ReLU(True)))
        self.blocks = nn.Sequential(*blocks)

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, F, H / 16 - 1, W / 16 - 1)."""
        return self.blocks(images)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return one group of parameters per block."""
        return {"stem": r"^none", "blocks": r"^blocks\.(\d+)"}


@register_model
def four_blocks(pretrained: bool = False, **options: Any) -> FourBlocks:
    """Return the network of 32 to 256 channels."""
    return FourBlocks((32, 64, 128, 256), options["in_chans"])


def recipe() -> Recipe:
    """Return the recipe: ArcFace, cropped to the ink, 32 pixels and finally 40; the gallery is the training set."""
    stage = StageConfig(batch_size=64, weight_decay=1e-3, augmentation="strokes")
    return Recipe(
        name="omniglot",
        table=TableFormat(
            task="multiclass",
            id_column="image",
            label_column="character",
            image_suffix="",
            boxes_csv="boxes.csv",
            box_id_column="image",
            answer_columns=tuple(f"prediction{number}" for number in range(1, NUM_ANSWERS + 1)),
        ),
        folds=FoldConfig(num_folds=3, scheme="none", min_images=2),
        images=ImageFormat(image_size=(40, 40), channels=1, mean=(0.1,), std=(0.3,), aspect="pad", box_margin=8.0),
        model=ModelConfig(
            backbone="timm:four_blocks", head="embedding", pool="average", embedding_size=256, dropout=0.2
        ),
        embedding=EmbeddingConfig(scale=16.0, margin=0.3),
        train=TrainConfig(loss="arcface", validate_epochs=1000),
        stages=(
            replace(stage, num_epochs=75, lr=(2e-3,), warmup_epochs=3, final_lr=0.4, image_size=(32, 32)),
            replace(stage, num_epochs=35, lr=(8e-4,), warmup_epochs=1),
        ),
        predict=PredictConfig(views=("plain", "zoom_in", "zoom_out"), batch_size=256),
        rule=RuleConfig(kind="rank"),
        ranking=RankConfig(num_answers=NUM_ANSWERS, pool="mean", best_of=5, rerank=20),
        session=SessionConfig(num_workers=0, tensorboard=False),
    )


def read_characters() -> list[list[np.ndarray]]:
    """Read ink on black, uint8 (105, 105), by 20 drawers for each character.

    Greek and Latin stand in both halves of the archive: characters with the same 20 files are one.
    """
    files: dict[str, list[bytes]] = defaultdict(list)
    with zipfile.ZipFile(ARCHIVE) as archive:
        for name in sorted(archive.namelist()):  # of a character the drawers follow each other
            if name.startswith("images_background") and name.endswith(".png"):
                files[name.rpartition("/")[0]].append(archive.read(name))
    different = {hashlib.sha256(b"".join(drawn)).digest(): drawn for drawn in files.values()}
    return [[_decode(content) for content in drawn] for drawn in different.values()]


def read_run(number: int) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Read a one-shot task: 20 queries, 20 images to compare them with, and the right one's index, int64 (20,)."""
    folder = f"run{number:02d}"
    with zipfile.ZipFile(ARCHIVE) as archive:
        lines = [line.split() for line in archive.read(f"{folder}/class_labels.txt").decode().splitlines()]
        places = sorted({training for _, training in lines})
        images = [
            [_decode(archive.read(_inside(archive, name))) for name in names]
            for names in ([test for test, _ in lines], places)
        ]
    return images[0], images[1], np.array([places.index(training) for _, training in lines])


def _inside(archive: zipfile.ZipFile, name: str) -> str:
    """Return the file that a line of `class_labels.txt` names, with or without the folder above."""
    return next(path for path in archive.namelist() if path.endswith(name))


def _decode(content: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    return 255 - image


def lay_out(folder: Path, *, unseen: bool) -> None:
    """Write a competition: `data/`, with a box around the ink of every image, and `answers.csv`.

    Args:
        unseen: train on every other character with all its drawers; the others are enrolled by their first drawer, and
            the rest of their drawers are the queries. Else drawers 1 to 10 of all are for training, 11 to 20 queries.
    """
    rows: dict[str, list[dict[str, str]]] = {"train": [], "test": []}
    boxes = []
    for place in rows:
        (folder / "data" / place).mkdir(parents=True)
    for number, drawn in enumerate(read_characters()):
        count = 10 if not unseen else (len(drawn), 1)[number % 2]
        for drawer, image in enumerate(drawn):
            place, name = "train" if drawer < count else "test", f"c{number:03d}_{drawer:02d}.png"
            cv2.imwrite(str(folder / "data" / place / name), image)
            rows[place].append({"image": name, "character": f"c{number:03d}"})
            left, top, width, height = cv2.boundingRect(image)
            boxes.append({"image": name, "x0": left, "y0": top, "x1": left + width, "y1": top + height})
    pd.DataFrame(boxes).to_csv(folder / "data" / "boxes.csv", index=False)
    pd.DataFrame(rows["train"]).to_csv(folder / "data" / "train.csv", index=False)
    answers = pd.DataFrame(rows["test"])
    answers.to_csv(folder / "answers.csv", index=False)
    columns = recipe().table.answer_columns
    guesses = dict(zip(columns, answers["character"].unique(), strict=False))
    answers[["image"]].assign(**guesses).to_csv(folder / "data" / "sample_submission.csv", index=False)
