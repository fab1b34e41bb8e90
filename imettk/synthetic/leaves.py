"""A small competition of drawn apple leaves in Plant Pathology 2020's file format: a column of 0 and 1 per class."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from imettk.errors import DataError

# Numbers of real training rows; a leaf shows one disease, both, or none.
SHARES = {"healthy": 516, "multiple_diseases": 91, "rust": 622, "scab": 592}
SHOWN = {"healthy": (), "multiple_diseases": ("rust", "scab"), "rust": ("rust",), "scab": ("scab",)}
SPOTS = {"rust": ((235, 150, 30), 0.06, 5), "scab": ((50, 60, 35), 0.1, 4)}  # RGB, radius as a share of height, number


def make_leaves(
    data_dir: Path,
    answers_csv: Path,
    *,
    num_train: int = 120,
    num_test: int = 40,
    image_size: tuple[int, int] = (64, 96),
    seed: int = 0,
) -> None:
    """Lay out a competition of drawn leaves in Plant Pathology 2020's format.

    Args:
        data_dir: receives `train.csv` (`image_id` and a column of 0 and 1 for each class), `test.csv`,
            `sample_submission.csv` (0.25 everywhere), and all images in `images/`; must not exist yet.
        answers_csv: receives the classes of the test images, in the format of `train.csv`.
        image_size: (height, width) in pixels.
    """
    if data_dir.exists():
        raise DataError(f"{data_dir} exists already; give another folder, or remove it to make the competition again")
    rng = np.random.default_rng(seed)
    (data_dir / "images").mkdir(parents=True)
    train = _write(data_dir / "images", "Train", num_train, image_size, rng)
    test = _write(data_dir / "images", "Test", num_test, image_size, rng)
    train.to_csv(data_dir / "train.csv", index=False)
    test[["image_id"]].to_csv(data_dir / "test.csv", index=False)
    test.assign(**dict.fromkeys(SHARES, 0.25)).to_csv(data_dir / "sample_submission.csv", index=False)
    answers_csv.parent.mkdir(parents=True, exist_ok=True)
    test.to_csv(answers_csv, index=False)


def _write(
    folder: Path, prefix: str, count: int, image_size: tuple[int, int], rng: np.random.Generator
) -> pd.DataFrame:
    """Draw images of classes as frequent as in the real table, and return their table."""
    edges = np.cumsum(list(SHARES.values())) / sum(SHARES.values())
    classes = rng.permutation(np.searchsorted(edges, (np.arange(count) + 0.5) / count))
    names = [f"{prefix}_{row}" for row in range(count)]
    for name, number in zip(names, classes.tolist(), strict=True):
        picture = _draw(SHOWN[list(SHARES)[number]], image_size, rng)
        cv2.imwrite(str(folder / f"{name}.jpg"), picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    held = (classes[:, None] == np.arange(len(SHARES))).astype(int)
    return pd.concat([pd.DataFrame({"image_id": names}), pd.DataFrame(held, columns=list(SHARES))], axis=1)


def _draw(diseases: tuple[str, ...], image_size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw a leaf with these diseases in front of a blurred orchard, uint8 RGB (height, width, 3)."""
    height, width = image_size
    ground = rng.uniform(40, 120, (4, 6, 3)) * [0.8, 1.0, 0.6]
    picture = cv2.resize(ground, (width, height), interpolation=cv2.INTER_CUBIC)
    centre = np.array([width, height]) * rng.uniform(0.42, 0.58, 2)
    axes, turn = np.array([0.42 * width, 0.34 * height]) * rng.uniform(0.85, 1.05), rng.uniform(-25, 25)
    green = (np.array([95, 160, 60]) * rng.uniform(0.8, 1.2)).tolist()
    corner, size = np.round(centre).astype(int).tolist(), np.round(axes).astype(int).tolist()
    cv2.ellipse(picture, corner, size, turn, 0, 360, green, -1, cv2.LINE_AA)
    along = np.array([np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))])
    ends = [np.round(centre + side * 0.9 * axes[0] * along).astype(int).tolist() for side in (-1, 1)]
    cv2.line(picture, ends[0], ends[1], [170, 200, 130], 1, cv2.LINE_AA)
    for disease in diseases:
        colour, radius, number = SPOTS[disease]
        for _ in range(number + int(rng.integers(0, 3))):
            angle, away = rng.uniform(0, 2 * np.pi), 0.75 * np.sqrt(rng.uniform())
            place = centre + away * axes.min() * np.array([np.cos(angle), np.sin(angle)])
            cv2.circle(picture, np.round(place).astype(int).tolist(), max(2, round(radius * height)), colour, -1)
    return np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
