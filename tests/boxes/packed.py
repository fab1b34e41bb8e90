"""Small competitions whose images lie in few files, as real ones ship them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pandas as pd

TRAIN, TEST, SIDE = 40, 12, 24
SHAPE = (16, 36)  # of the same pixels in parquet
Made = tuple[list[str], dict[str, int] | None]  # ids, and the labels that stand in a table of their own


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw grey noise, with a bright corner if the label is 1."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.normal(90, 20, (count, SIDE, SIDE))
    images[labels == 1, :10, :10] += 90
    return images.clip(0, 255).astype(np.uint8), labels


def make_hdf5(folder: Path, part: str, images: np.ndarray, labels: np.ndarray) -> Made:
    """Write one dataset of JPEG bytes per id, as ISIC 2024 has."""
    ids = [f"ISIC_{len(images)}{row:03d}" for row in range(len(images))]
    with h5py.File(folder / f"{part}-image.hdf5", "w") as file:
        for name, image in zip(ids, images, strict=True):
            file[name] = np.void(cv2.imencode(".jpg", image)[1].tobytes())
    return ids, dict(zip(ids, labels, strict=True)) if part == "train" else None


def make_csv(folder: Path, part: str, images: np.ndarray, labels: np.ndarray) -> Made:
    """Write one column per pixel and no ids, as digit-recognizer has."""
    frame = pd.DataFrame(images.reshape(len(images), -1), columns=[f"pixel{number}" for number in range(SIDE * SIDE)])
    if part == "train":
        frame.insert(0, "label", labels)
    frame.to_csv(folder / f"{part}.csv", index=False)
    return [str(row) for row in range(1, len(images) + 1)], None


def make_parquet(folder: Path, part: str, images: np.ndarray, labels: np.ndarray) -> Made:
    """Write one row per image, not square, in several files, as Bengali.AI has."""
    ids = [f"{part.title()}_{row}" for row in range(len(images))]
    frame = pd.DataFrame(images.reshape(len(images), -1), columns=[str(number) for number in range(SIDE * SIDE)])
    frame.insert(0, "image_id", ids)
    for number, rows in enumerate(np.array_split(np.arange(len(images)), 3)):
        frame.iloc[rows].to_parquet(folder / f"{part}_image_data_{number}.parquet", index=False)
    return ids, dict(zip(ids, labels, strict=True)) if part == "train" else None


def make_json(folder: Path, part: str, images: np.ndarray, labels: np.ndarray) -> Made:
    """Write two bands of decibels as lists beside the label, as the iceberg challenge has."""
    ids = [f"{part[:2]}{row:06x}" for row in range(len(images))]
    rows = []
    for row, image in enumerate(images):
        bands = {"band_1": (image / 4 - 40.5).ravel().tolist(), "band_2": (image / 5 - 45.5).ravel().tolist()}
        more = {"is_iceberg": int(labels[row])} if part == "train" else {}
        rows.append({"id": ids[row], **bands, "inc_angle": "na" if row % 3 else 40.5, **more})
    (folder / f"{part}.json").write_text(json.dumps(rows))
    return ids, None


KINDS: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "hdf5": (make_hdf5, {"train_images": "train-image.hdf5", "test_images": "test-image.hdf5"}, {}),
    "csv": (make_csv, {"id_column": "row", "train_images": "train.csv", "test_images": "test.csv"}, {"white": 255}),
    "parquet": (
        make_parquet,
        {
            "train_images": "train_image_data_*.parquet",
            "test_images": "test_image_data_*.parquet",
            "pixel_shape": SHAPE,
        },
        {},
    ),
    "json": (
        make_json,
        {
            "train_csv": "train.json",
            "label_column": "is_iceberg",
            "train_images": "train.json",
            "test_images": "test.json",
        },
        {"channels": 2, "white": "-50..25"},
    ),
}


def make_data(folder: Path, kind: str, seed: int = 0, test: int = TEST) -> Path:
    """Make the folder of a competition, with answers beside it."""
    folder.mkdir(parents=True)
    make, table, _ = KINDS[kind]
    _, labels = make(folder, "train", *pictures(TRAIN, 0))
    if labels is not None:
        pd.DataFrame({"id": list(labels), "label": list(labels.values())}).to_csv(folder / "train.csv", index=False)
    images, truth = pictures(test, 1 + seed)
    ids, _ = make(folder, "test", images, truth)
    label = table.get("label_column", "label")
    sample = pd.DataFrame({"id": ids, label: 0.5})
    sample.to_csv(folder / "sample_submission.csv", index=False)
    sample.assign(**{label: truth}).to_csv(folder.parent / f"{folder.name}-answers.csv", index=False)
    return folder
