"""A small competition of drawn artworks in iMet 2019's file format: two kinds of labels, a long tail, odd shapes."""

from __future__ import annotations

import colorsys
import functools
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from imettk.errors import DataError

# Most common first. The last culture and the last tag are the rare labels: 1 and 2 training rows, one test row each.
CULTURES = ("french", "italian", "american", "dutch", "japanese", "egyptian", "greek", "mayan")
TAGS = (
    "circle", "square", "triangle", "star", "cross", "ring", "diamond", "stripes", "frame", "arrow", "zigzag",
    "hourglass", "dots", "grid", "moon", "spiral",
)  # fmt: skip
LABEL_NAMES = tuple(f"culture::{name}" for name in CULTURES) + tuple(f"tag::{name}" for name in TAGS)
RARE_ROWS = {len(CULTURES) - 1: 1, len(LABEL_NAMES) - 1: 2}  # label -> training rows

# A culture is shown by the ground: its RGB colour, and the texture drawn on it.
GROUNDS = (
    ((236, 226, 200), "plain"),
    ((198, 222, 240), "rows"),
    ((240, 202, 200), "columns"),
    ((200, 232, 200), "checks"),
    ((222, 206, 240), "plain"),
    ((232, 222, 150), "checks"),
    ((170, 190, 190), "rows"),
    ((150, 140, 130), "columns"),
)
NUM_TAGS = (0.1, 0.25, 0.25, 0.2, 0.12, 0.08)  # shares of images with 0 to 5 tags
EXTREME_ASPECTS = {3: 1 / 5, 13: 6.0}  # width / height of two images in every 20
LONG_SIDE = (80, 160)


def make_artworks(
    data_dir: Path, answers_csv: Path, *, num_train: int = 240, num_test: int = 80, seed: int = 0
) -> None:
    """Lay out a multi-label competition of drawn artworks in iMet 2019's format.

    Cultures are grounds (two cultures share the picture, half each); tags are shapes, each with its own colour, at
    random positions. Most images have an aspect ratio between 1:2 and 2:1; in every 20, one is 1:5 and one is 6:1.

    Args:
        data_dir: receives `train.csv`, `labels.csv`, `sample_submission.csv`, `train/` and `test/`; must not exist yet.
        answers_csv: receives the labels of the test images, in the format of `train.csv`.
    """
    if data_dir.exists():
        raise DataError(f"{data_dir} exists already; give another folder, or remove it to make the competition again")
    rng = np.random.default_rng(seed)
    train = _write_images(data_dir / "train", num_train, RARE_ROWS, rng)
    test = _write_images(data_dir / "test", num_test, dict.fromkeys(RARE_ROWS, 1), rng)
    train.to_csv(data_dir / "train.csv", index=False)
    labels = pd.DataFrame({"attribute_id": range(len(LABEL_NAMES)), "attribute_name": LABEL_NAMES})
    labels.to_csv(data_dir / "labels.csv", index=False)
    test.assign(attribute_ids="0 1 2").to_csv(data_dir / "sample_submission.csv", index=False)
    answers_csv.parent.mkdir(parents=True, exist_ok=True)
    test.to_csv(answers_csv, index=False)


def _write_images(folder: Path, count: int, rare: dict[int, int], rng: np.random.Generator) -> pd.DataFrame:
    """Draw the images of one folder and return their table."""
    folder.mkdir(parents=True)
    ids = sorted(rng.bytes(8).hex() for _ in range(count))
    labels = _deal_labels(count, rare, rng)
    for row, name in enumerate(ids):
        picture = _draw(labels[row], EXTREME_ASPECTS.get(row % 20) or 2 ** rng.uniform(-1, 1), rng)
        cv2.imwrite(str(folder / f"{name}.png"), picture[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return pd.DataFrame({"id": ids, "attribute_ids": [" ".join(map(str, row)) for row in labels]})


def _deal_labels(count: int, rare: dict[int, int], rng: np.random.Generator) -> list[list[int]]:
    """Return the sorted labels of each image: 1 or 2 cultures and 0 to 5 tags.

    Args:
        rare: the exact number of images of each rare label.
    """
    cultures, tags = [], []
    for _ in range(count):
        cultures.append(_draw_labels(len(CULTURES) - 1, 1 + int(rng.random() < 0.25), rng))
        tags.append(_draw_labels(len(TAGS) - 1, int(rng.choice(len(NUM_TAGS), p=NUM_TAGS)), rng))
    for label, rows in rare.items():
        for row in rng.permutation(count)[:rows]:
            if label < len(CULTURES):
                cultures[row] = [*cultures[row][:1], label]
            else:
                tags[row] = [*tags[row][:4], label - len(CULTURES)]
    return [
        sorted(culture + [len(CULTURES) + position for position in tag])
        for culture, tag in zip(cultures, tags, strict=True)
    ]


def _draw_labels(size: int, count: int, rng: np.random.Generator) -> list[int]:
    """Draw `count` distinct labels of `size`; the later a label comes, the rarer it is."""
    shares = 1 / np.arange(1, size + 1)
    return rng.choice(size, count, replace=False, p=shares / shares.sum()).tolist()


def _draw(labels: list[int], aspect: float, rng: np.random.Generator) -> np.ndarray:
    """Draw an artwork with these labels, RGB uint8 (H, W, 3).

    Args:
        aspect: width / height.
    """
    # Long strips get the largest long side, so that shapes on them are more than a few pixels wide.
    long_side = LONG_SIDE[1] if max(aspect, 1 / aspect) > 2 else int(rng.integers(LONG_SIDE[0], LONG_SIDE[1] + 1))
    width, height = round(long_side * min(1.0, aspect)), round(long_side * min(1.0, 1 / aspect))
    cultures = [label for label in labels if label < len(CULTURES)]
    rng.shuffle(cultures)
    picture = _ground(cultures[0], width, height, rng)
    if len(cultures) == 2:  # side by side, or one above the other
        half = np.s_[:, width // 2 :] if width > height else np.s_[height // 2 :]
        picture[half] = _ground(cultures[1], width, height, rng)[half]

    # One shape to a cell of a grid of at least 6, so that shapes never hide each other.
    columns = max(1, round(np.sqrt(6 * width / height)))
    rows = -(-6 // columns)
    cells = rng.permutation(columns * rows)
    radius = 0.45 * min(width / columns, height / rows)
    for label, cell in zip(labels[len(cultures) :], cells, strict=False):
        place = np.array([(cell % columns + 0.5) * width / columns, (cell // columns + 0.5) * height / rows])
        _stamp(picture, label - len(CULTURES), place, radius * rng.uniform(0.75, 1.0), rng)
    noise = 5 * rng.standard_normal((height, width, 1), np.float32)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def _ground(culture: int, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the ground of a culture, RGB uint8 (height, width, 3), a little lighter or darker each time."""
    colour, texture = GROUNDS[culture]
    step = int(rng.integers(5, 8))
    across, down = np.arange(width) // step % 2, (np.arange(height) // step % 2)[:, None]
    dark = {"plain": 0 * (across + down), "rows": 0 * across + down, "columns": across + 0 * down}
    dark["checks"] = across ^ down
    shade = rng.uniform(0.92, 1.05) * (1 - 0.14 * dark[texture][:, :, None])
    return np.clip(np.array(colour) * shade, 0, 255).astype(np.uint8)


def _stamp(picture: np.ndarray, tag: int, place: np.ndarray, radius: float, rng: np.random.Generator) -> None:
    """Draw the shape of a tag around `place` (x, y), slightly turned."""
    hue = (tag * 5 % len(TAGS)) / len(TAGS)  # neighbours in frequency differ in hue
    colour = [round(255 * value) for value in colorsys.hsv_to_rgb(hue, 1.0, rng.uniform(0.6, 0.85))]
    turn = np.deg2rad(rng.uniform(-12, 12))
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    outlines, filled = _shapes()[TAGS[tag]]
    for outline in outlines:
        points = np.round((outline @ rotation) * radius + place).astype(np.int32)
        if filled:
            cv2.fillPoly(picture, [points], colour, cv2.LINE_AA)
        else:
            cv2.polylines(picture, [points], False, colour, max(2, round(radius / 5)), cv2.LINE_AA)


@functools.cache
def _shapes() -> dict[str, tuple[list[np.ndarray], bool]]:
    """Return each tag's outlines within the unit circle, float (N, 2), and whether to fill them or to draw lines."""
    round_, lines = _polygon(24), np.linspace(-0.7, 0.7, 4)
    flat = [np.array([[-0.7, level], [0.7, level]]) for level in lines]
    square = _polygon(4, start=np.pi / 4)
    return {
        "circle": ([round_ * 0.9], True),
        "square": ([square], True),
        "triangle": ([_polygon(3, start=-np.pi / 2)], True),
        "star": ([_polygon(10, start=-np.pi / 2) * np.tile([1.0, 0.4], 5)[:, None]], True),
        "cross": ([np.array([[0, -0.9], [0, 0.9]]), np.array([[-0.6, -0.3], [0.6, -0.3]])], False),
        "ring": ([np.concatenate([round_, round_[:1]]) * 0.85], False),
        "diamond": ([_polygon(4) * [0.6, 1.0]], True),
        "stripes": (flat, False),
        "frame": ([np.concatenate([square, square[:1]])], False),
        "arrow": ([np.array([[-0.9, 0], [0.9, 0]]), np.array([[0.3, -0.6], [0.9, 0], [0.3, 0.6]])], False),
        "zigzag": ([np.column_stack([np.linspace(-0.9, 0.9, 6), np.tile([-0.4, 0.4], 3)])], False),
        "hourglass": ([np.array([[-0.6, -0.8], [0.6, -0.8], [-0.6, 0.8], [0.6, 0.8]])], True),
        "dots": ([round_ * 0.25 + [x, y] for x in (-0.5, 0.5) for y in (-0.5, 0.5)], True),
        "grid": (flat + [line[:, ::-1] for line in flat], False),
        "moon": ([np.concatenate([round_[6:19], round_[18:5:-1] * [0.5, 1.0]])], True),
        "spiral": ([_polygon(24, turns=2.5) * np.linspace(0.05, 0.95, 24)[:, None]], False),
    }


def _polygon(corners: int, *, start: float = 0.0, turns: float = 1.0) -> np.ndarray:
    """Return points on the unit circle, float (corners, 2)."""
    angles = start + np.arange(corners) * (2 * np.pi * turns / corners)
    return np.column_stack([np.cos(angles), np.sin(angles)])
