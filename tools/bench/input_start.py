"""A part of `input.py`: a table of iMet's size over made-up images, and the time to its first batch.

`input_start.py make FOLDER ROWS`, then `input_start.py time FOLDER` in a process of its own; `input_start.py open
FOLDER` times how a cache of these images is opened, with a look at the size and time of every file.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from imettk.config import Recipe, TableFormat
from imettk.data.cache import ImageCache
from imettk.data.dataset import ImageDataset, load_batches
from imettk.data.reader import ImageReader
from imettk.data.samplers import Sampler
from imettk.data.sampling import train_requests
from imettk.data.source import ImageSource, cache_key, image_names, make_reader
from imettk.data.stamps import stamp_files
from imettk.data.survey import CacheTarget, survey_images
from imettk.data.table import read_table

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "tables" / "imet2019" / "train_with_folds.csv"
FORMAT = TableFormat(labels_csv="labels.csv")
SMALL = ImageReader(size=(8, 8))


def make(folder: Path, num_rows: int) -> None:
    """Write the table, with the real labels if they are at hand; every image is a link to one of a few files."""
    (folder / "train").mkdir(parents=True)
    if REAL.is_file():
        frame = pd.read_csv(REAL, dtype=str).iloc[:num_rows]
    else:
        rng = np.random.default_rng(0)
        cells = [" ".join(map(str, rng.choice(1103, 3, replace=False))) for _ in range(num_rows)]
        frame = pd.DataFrame({"id": [f"{row:016x}" for row in range(num_rows)], "attribute_ids": cells})
    frame[["id", "attribute_ids"]].to_csv(folder / "train.csv", index=False)
    labels = pd.DataFrame({"attribute_id": range(1103), "attribute_name": [f"tag::{label}" for label in range(1103)]})
    labels.to_csv(folder / "labels.csv", index=False)
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    for number, name in enumerate(frame["id"]):
        if number % 10_000 == 0:  # a file may have 65,000 names
            image = folder / f"image{number}.png"
            cv2.imwrite(str(image), pixels)
        os.link(image, folder / "train" / f"{name}.png")


def time_first_batch(folder: Path) -> None:
    """Print the seconds from the csv file to the first batch of two workers."""
    started = time.perf_counter()
    table = read_table(FORMAT, folder)
    source = ImageSource(table, make_reader(Recipe(table=FORMAT)))
    dataset = ImageDataset(source, table.targets, image_size=(256, 256))
    requests = train_requests(
        Sampler(rows=np.arange(len(table)), seed=0).order,
        samples_per_epoch=len(table),
        first_epoch=0,
        batch_size=32,
        accumulate=1,
        first_step=0,
        last_step=100,
    )
    batch = next(load_batches(dataset, requests, num_workers=2, pin=False))
    assert batch.images.shape == (32, 256, 256, 3)
    print(time.perf_counter() - started)


def make_cache(folder: Path) -> None:
    """Write a cache of all rows, with 8 x 8 made-up pixels each: the timed part does not read them."""
    table, pixels = read_table(FORMAT, folder), np.zeros((*SMALL.size, 3), np.uint8)
    target = CacheTarget(folder=folder / "cache", kind="pixels", key=cache_key(SMALL, "pixels", 95), quality=95)
    stamps = stamp_files(table.paths, ())
    survey_images(lambda row: pixels, image_names(table, folder), stamps, pixels.shape, cache=target)


def time_cache(folder: Path) -> None:
    """Print the seconds from the table to a source that has found every cached image unchanged."""
    table = read_table(FORMAT, folder)
    started = time.perf_counter()
    source = ImageSource(table, SMALL, cache=ImageCache(folder / "cache"), names=image_names(table, folder))
    seconds = time.perf_counter() - started
    assert source.num_cached == len(table)
    print(seconds)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), int(sys.argv[3]))
        make_cache(Path(sys.argv[2]))
    elif sys.argv[1] == "open":
        time_cache(Path(sys.argv[2]))
    else:
        time_first_batch(Path(sys.argv[2]))
