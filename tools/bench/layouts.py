"""Ten small competitions whose folders name rows, labels and images in ten ways, each with hidden answers.

Each has 90 training and 40 test pictures of 48 pixels. A label shows as a blot of its own colour at a random place, in
noise. The same seed makes the same files.
"""

from __future__ import annotations

import colorsys
import unicodedata
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pandas as pd

NUM_TRAIN, NUM_TEST, SIDE = 90, 40, 48
SEEN = 8  # pixels a side that a linear model sees
TRAIN, TEST = range(NUM_TRAIN), range(NUM_TRAIN, NUM_TRAIN + NUM_TEST)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A competition that can be made.

    Attributes:
        make: writes all that a participant sees, and keeps the sample submission.
        names: the labels.
        shares: of the rows, which have each label.
        metric: what the competition counts, as imettk calls it.
        cells: of a submission: a probability of each label in `asked`, 0 or 1 of each, the label, or a list of labels.
        asked: labels that have a column of the submission; with `label` and `list`, all.
        exclusive: a row has one label.
    """

    make: Callable[[Folder], None]
    names: tuple[str, ...]
    shares: tuple[float, ...]
    metric: str
    cells: Literal["probability", "flag", "label", "list"]
    asked: tuple[str, ...]
    exclusive: bool = True


class Folder:
    """A participant's folder under construction, and the grader's answers.

    Attributes:
        held: labels of all rows, of which the last ones are the test's, bool (N, C).
        pixels: what a linear model sees of them, float32 (N, SEEN * SEEN * 3).
        numbers: a different one for each row, in no order, int64 (N,).
        sample: the sample submission.
    """

    def __init__(self, data_dir: Path, name: str, seed: int) -> None:
        self.layout, self.data = LAYOUTS[name], data_dir
        self.rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        self.held = np.concatenate([self._deal(NUM_TRAIN), self._deal(NUM_TEST)])
        self.numbers = self.rng.permutation(np.arange(1000, 10_000))[: len(self.held)]
        self.pixels = np.zeros((len(self.held), SEEN * SEEN * 3), np.float32)
        self.sample = pd.DataFrame()
        self.layout.make(self)

    def _deal(self, count: int) -> np.ndarray:
        """Deal labels to rows by their shares, bool (count, C)."""
        shares = np.array(self.layout.shares)
        if self.layout.exclusive:
            edges = np.round(np.cumsum(shares) / shares.sum() * count).astype(int)
            place = np.searchsorted(edges, self.rng.permutation(count), side="right")
            return np.arange(len(shares)) == place[:, None]
        columns = [self.rng.permutation(count) < round(share * count) for share in shares]
        return np.stack(columns, axis=1)

    def label(self, row: int) -> str:
        """Return the single label of a row."""
        return self.layout.names[int(self.held[row].argmax())]

    def picture(self, row: int, path: str) -> None:
        """Draw a row's picture and write it in the format of the path's suffix."""
        image = self._draw(np.flatnonzero(self.held[row]))
        self.pixels[row] = cv2.resize(image, (SEEN, SEEN), interpolation=cv2.INTER_AREA).ravel()
        place = self.data / path
        place.parent.mkdir(parents=True, exist_ok=True)
        done, content = cv2.imencode(place.suffix, image)
        assert done, path
        place.write_bytes(content.tobytes())

    def _draw(self, labels: np.ndarray) -> np.ndarray:
        """Draw one blot per label and two small ones of any colour on noisy grey, uint8 (SIDE, SIDE, 3)."""
        rng, image = self.rng, np.full((SIDE, SIDE, 3), self.rng.uniform(90, 130))
        y, x = np.mgrid[:SIDE, :SIDE]
        blots = [(rng.uniform(), rng.uniform(4, 7)) for _ in range(2)]
        blots += [(label / len(self.layout.names) + rng.normal(0, 0.04), rng.uniform(8, 12)) for label in labels]
        for hue, radius in blots:
            away = np.hypot(x - rng.uniform(radius, SIDE - radius), y - rng.uniform(radius, SIDE - radius))
            image[away < radius] = 255 * np.array(colorsys.hsv_to_rgb(hue % 1, 0.8, 0.8))
        return np.clip(image + rng.normal(0, 25, image.shape), 0, 255).astype(np.uint8)

    def write_table(self, name: str, columns: dict[str, Any], separator: str = ",") -> pd.DataFrame:
        """Write a table of the folder, and return it."""
        table = pd.DataFrame(columns)
        table.to_csv(self.data / name, index=False, sep=separator)
        return table

    def write_sample(self, key: str, ids: list[str], cells: dict[str, object]) -> None:
        """Write the sample submission, with the same cells in every row."""
        self.sample = self.write_table("sample_submission.csv", {key: ids} | cells)


def make_mushrooms(folder: Folder) -> None:
    """Write a folder per class beside the test's, and an unordered column per class."""
    for row in TRAIN:
        folder.picture(row, f"photos/{folder.label(row)}/{folder.numbers[row]}.jpg")
    ids = [f"{folder.numbers[row]}.jpg" for row in TEST]
    for row, name in zip(TEST, ids, strict=True):
        folder.picture(row, f"photos/test/{name}")
    folder.write_sample("file", ids, dict.fromkeys(folder.layout.asked, round(1 / 3, 4)))


def make_vines(folder: Folder) -> None:
    """Write one 0/1 column per class, with spaces in their names; all pictures lie in one folder."""
    ids = [f"leaf{number}" for number in folder.numbers]
    for row, name in enumerate(ids):
        folder.picture(row, f"images/{name}.png")
    columns = {name: folder.held[:NUM_TRAIN, place].astype(int) for place, name in enumerate(folder.layout.names)}
    folder.write_table("train.csv", {"leaf": ids[:NUM_TRAIN]} | columns)
    folder.write_sample("leaf", ids[NUM_TRAIN:], dict.fromkeys(folder.layout.asked, 0.25))


def make_roofs(folder: Folder) -> None:
    """Write one True/False column per label, any number of them true; some rows have no site."""
    ids = [f"{number:05d}" for number in folder.numbers]
    for row, name in enumerate(ids):
        folder.picture(row, f"{'train' if row in TRAIN else 'test'}/{name}.jpg")
    sites = [f"S{site}" if site else "" for site in folder.rng.integers(0, 20, NUM_TRAIN)]
    columns = {name: folder.held[:NUM_TRAIN, place] for place, name in enumerate(folder.layout.names)}
    folder.write_table("train.csv", {"roof": ids[:NUM_TRAIN], "site": sites} | columns)
    folder.write_sample("roof", ids[NUM_TRAIN:], dict.fromkeys(folder.layout.asked, 0))


def make_bridges(folder: Folder) -> None:
    """Name files by class and number, without a table; one column of the sample names a class."""
    for row in TRAIN:
        folder.picture(row, f"train/{folder.label(row)}_{folder.numbers[row]}.png")
    ids = [str(folder.numbers[row]) for row in TEST]
    for row, name in zip(TEST, ids, strict=True):
        folder.picture(row, f"test/{name}.png")
    folder.write_sample("id", ids, {"cracked": 0.5})


def make_toys(folder: Folder) -> None:
    """Write each row's labels as a Python list in one cell."""
    held = folder.held
    empty = ~held.any(axis=1)
    held[empty, folder.rng.integers(0, held.shape[1], empty.sum())] = True  # every box holds a toy
    ids = [f"box-{number}" for number in folder.numbers]
    for row, name in enumerate(ids):
        folder.picture(row, f"{'train' if row in TRAIN else 'test'}/{name}.jpg")
    cells = [str([folder.layout.names[place] for place in np.flatnonzero(held[row])]) for row in TRAIN]
    folder.write_table("train.csv", {"box": ids[:NUM_TRAIN], "toys": cells})
    folder.write_sample("box", ids[NUM_TRAIN:], {"toys": "['ball']"})


def make_bottles(folder: Folder) -> None:
    """Write three file formats in one folder; the table's ids have the endings, the sample's do not."""
    endings = [(".jpg", ".JPG", ".png")[number % 3] for number in folder.numbers]
    ids = [f"IMG_{number}" for number in folder.numbers]
    for row, name in enumerate(ids):
        folder.picture(row, f"{'train' if row in TRAIN else 'test'}/{name}{endings[row]}")
    files = [f"{ids[row]}{endings[row]}" for row in TRAIN]
    folder.write_table("train.csv", {"file": files, "material": [folder.label(row) for row in TRAIN]})
    folder.write_sample("file", ids[NUM_TRAIN:], {"material": "glass"})


def make_clouds(folder: Folder) -> None:
    """Write words as labels, tab-separated cells, and a sample with another name for the ids."""
    ids = [f"sky_{number}" for number in folder.numbers]
    for row, name in enumerate(ids):
        folder.picture(row, f"{'train_images' if row in TRAIN else 'test_images'}/{name}.jpg")
    labels = [folder.label(row) for row in TRAIN]
    folder.write_table("train.tsv", {"picture": ids[:NUM_TRAIN], "genus": labels}, "\t")
    folder.write_sample("Id", ids[NUM_TRAIN:], {"genus": "cirrus"})


def make_cheeses(folder: Folder) -> None:
    """Write accented letters decomposed in file names, as some archives leave them, and composed in ids."""
    words = ("gruyère", "comté", "brânză", "jāņu siers")
    ids = [unicodedata.normalize("NFC", f"{words[number % 4]} {number}") for number in folder.numbers]
    for row, name in enumerate(ids):
        file = unicodedata.normalize("NFD", name)
        folder.picture(row, f"{'train' if row in TRAIN else 'test'}/{file}.png")
    folder.write_table("train.csv", {"cheese": ids[:NUM_TRAIN], "milk": [folder.label(row) for row in TRAIN]})
    folder.write_sample("cheese", ids[NUM_TRAIN:], {"milk": "cow"})


def make_biopsies(folder: Folder) -> None:
    """Write words as labels; the positive one is rare, and names the sample's column."""
    ids = [f"B{number}" for number in folder.numbers]
    for row, name in enumerate(ids):
        folder.picture(row, f"{'train' if row in TRAIN else 'test'}/{name}.jpg")
    labels = [folder.label(row) for row in TRAIN]
    folder.write_table("train.csv", {"biopsy": ids[:NUM_TRAIN], "finding": labels})
    folder.write_sample("biopsy", ids[NUM_TRAIN:], {"malignant": 0})


def make_tiles(folder: Folder) -> None:
    """Write numbers as classes and as the sample's columns, both unordered, and a test table."""
    ids = [f"tile_{number}" for number in folder.numbers]
    for row, name in enumerate(ids):
        folder.picture(row, f"{'train' if row in TRAIN else 'test'}/{name}.png")
    shelves = folder.rng.integers(1, 9, len(ids))
    labels = [folder.label(row) for row in TRAIN]
    train = {"tile": ids[:NUM_TRAIN], "shelf": shelves[:NUM_TRAIN], "glaze": labels}
    folder.write_table("train.csv", train)
    folder.write_table("test.csv", {"tile": ids[NUM_TRAIN:], "shelf": shelves[NUM_TRAIN:]})
    folder.write_sample("tile", ids[NUM_TRAIN:], dict.fromkeys(folder.layout.asked, 0))


FUNGI = ("morel", "agaric", "bolete")
BLIGHTS = ("Downy mildew", "Healthy", "Black rot", "Leaf roll virus")
PARTS = ("chimney", "skylight", "solar panel")
TOYS = ("ball", "kite", "drum")
GLAZES = ("33", "10", "2")
LAYOUTS: dict[str, Layout] = {
    "mushrooms": Layout(
        make=make_mushrooms, names=FUNGI, shares=(0.4, 0.3, 0.3), metric="log_loss", cells="probability", asked=FUNGI
    ),
    "vines": Layout(
        make=make_vines,
        names=BLIGHTS,
        shares=(0.3, 0.3, 0.25, 0.15),
        metric="roc_auc",
        cells="probability",
        asked=BLIGHTS,
    ),
    "roofs": Layout(
        make=make_roofs,
        names=PARTS,
        shares=(0.5, 0.3, 0.2),
        metric="f1_macro",
        cells="flag",
        asked=PARTS,
        exclusive=False,
    ),
    "bridges": Layout(
        make=make_bridges,
        names=("cracked", "sound"),
        shares=(0.4, 0.6),
        metric="roc_auc",
        cells="probability",
        asked=("cracked",),
    ),
    "toys": Layout(
        make=make_toys,
        names=TOYS,
        shares=(0.5, 0.4, 0.3),
        metric="f1_samples",
        cells="list",
        asked=TOYS,
        exclusive=False,
    ),
    "bottles": Layout(
        make=make_bottles,
        names=("clay", "glass", "tin"),
        shares=(0.3, 0.4, 0.3),
        metric="accuracy",
        cells="label",
        asked=("clay", "glass", "tin"),
    ),
    "clouds": Layout(
        make=make_clouds,
        names=("cirrus", "cumulus", "stratus"),
        shares=(0.5, 0.3, 0.2),
        metric="f1_macro",
        cells="label",
        asked=("cirrus", "cumulus", "stratus"),
    ),
    "cheeses": Layout(
        make=make_cheeses,
        names=("cow", "goat", "sheep"),
        shares=(0.6, 0.2, 0.2),
        metric="balanced_accuracy",
        cells="label",
        asked=("cow", "goat", "sheep"),
    ),
    "biopsies": Layout(
        make=make_biopsies,
        names=("benign", "malignant"),
        shares=(0.85, 0.15),
        metric="average_precision",
        cells="probability",
        asked=("malignant",),
    ),
    "tiles": Layout(
        make=make_tiles, names=GLAZES, shares=(0.3, 0.3, 0.4), metric="log_loss", cells="probability", asked=GLAZES
    ),
}
