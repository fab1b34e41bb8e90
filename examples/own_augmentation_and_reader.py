"""Your own augmentation and reader of image files: stains, and edges as a second channel.

    imettk demo                                    make the data for this example, in runs/demo/data
    imettk prepare examples/own_augmentation_and_reader.py --data runs/demo/data --run-dir runs/edges
    imettk prepare --data runs/demo/data --run-dir runs/edges --show-augmentation
    imettk train --data runs/demo/data --run-dir runs/edges
    imettk validate --data runs/demo/data --run-dir runs/edges
    imettk infer --data runs/demo/data --run-dir runs/edges

Write a reader for files that imettk cannot read, such as a sensor's own format, or that it should read differently.
"""

import albumentations as A
import cv2
import numpy as np

from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    Recipe,
    SessionConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
)
from imettk.data.warp import Warp


def with_edges(path: str) -> np.ndarray:
    """Return a grey image and its gradient magnitude, uint8 (H, W, 2).

    Whatever it raises marks this file as a bad image, with the text as the reason.
    """
    grey = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise ValueError("OpenCV cannot read it")
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    edges = np.hypot(across, down) / 4  # a hard edge exceeds 8 bits otherwise
    return np.dstack([grey, np.minimum(edges, 255).astype(np.uint8)])


def stained(size: tuple[int, int], channels: int) -> list[A.BasicTransform]:
    """Return transforms of uint8 (H, W, channels): imettk's own warp, which also resizes, then dark stains."""
    return [
        Warp(size, rotate=(-10, 10), scale=(0.9, 1.1), border=cv2.BORDER_CONSTANT),
        A.CoarseDropout(num_holes_range=(1, 3), hole_height_range=(0.05, 0.1), hole_width_range=(0.05, 0.1), p=0.5),
    ]


def recipe() -> Recipe:
    """Return the demo's recipe with both."""
    return Recipe(
        name="edges",
        table=TableFormat(group_column="group", labels_csv="labels.csv"),
        folds=FoldConfig(num_folds=3),
        images=ImageFormat(
            image_size=(48, 48), channels=2, mean=(0.2, 0.2), std=(0.3, 0.3), reader="recipe:with_edges"
        ),
        model=ModelConfig(backbone="timm:test_resnet"),
        train=TrainConfig(ema_decay=0.95),
        stages=(StageConfig(num_epochs=8, lr=(6e-3,), warmup_epochs=1, clip_norm=5.0, augmentation="recipe:stained"),),
        session=SessionConfig(num_workers=0),
    )
