"""A small competition of drawn turtle heads in Turtle Recall 2022's file format: scored, extra and new turtles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from imettk.errors import DataError

UNKNOWN = "new_turtle"
NUM_ANSWERS = 5
FACE = 240  # side of a face before it is projected into a photo


@dataclass(frozen=True, kw_only=True)
class TurtlesSize:
    """The size of a turtles competition.

    Attributes:
        scored: turtles of `train.csv`, with 4 to `most_images` images each.
        extra: turtles that only `extra_images.csv` has, with 1 to 5 images each.
        extra_of_scored: images of scored turtles in `extra_images.csv`.
        test: test images of scored turtles; `test_extra` of extra ones, `test_new` of turtles never seen before.
        side: side of the images in pixels; either side may be up to a quarter shorter.
    """

    scored: int = 12
    most_images: int = 10
    extra: int = 20
    extra_of_scored: int = 10
    test: int = 36
    test_extra: int = 6
    test_new: int = 8
    side: int = 128


class Turtle(NamedTuple):
    """The side of a head, uint8 RGB (FACE, FACE, 3), and its mask, uint8 (FACE, FACE)."""

    face: np.ndarray
    mask: np.ndarray


class _Photographer:
    """A writer of images into one folder, under random names."""

    def __init__(self, folder: Path, size: TurtlesSize, rng: np.random.Generator) -> None:
        self._folder, self._size, self._rng = folder, size, rng
        folder.mkdir(parents=True)

    def draw(self, turtle: Turtle, label: str) -> tuple[str, str]:
        """Write another image of a turtle, and return its table row."""
        name = f"ID_{_letters(self._rng)}"
        picture = _photo(turtle, self._size.side, self._rng)
        cv2.imwrite(str(self._folder / f"{name}.JPG"), picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        return name, label


def make_turtles(data_dir: Path, answers_csv: Path, *, seed: int = 0, size: TurtlesSize | None = None) -> None:
    """Lay out a competition of drawn turtle heads in Turtle Recall 2022's format.

    Turtles of `train.csv` are scored; any other turtle of a test image is a `new_turtle`, in `extra_images.csv` or not.

    Args:
        data_dir: receives `train.csv` and `extra_images.csv` (`image_id,turtle_id`), `test.csv`,
            `sample_submission.csv` (`image_id,prediction1..prediction5`), and all images in `images/`; must not exist
            yet.
        answers_csv: receives the turtles of the test images, in the format of `train.csv`.
    """
    size = size or TurtlesSize()
    if data_dir.exists():
        raise DataError(f"{data_dir} exists already; give another folder, or remove it to make the competition again")
    rng = np.random.default_rng(seed)
    photographer = _Photographer(data_dir / "images", size, rng)
    turtles = [_turtle(rng) for _ in range(size.scored + size.extra)]
    names = [f"t_id_{_letters(rng)}" for _ in turtles]

    def rows_of(numbers: np.ndarray, label: str | None = None) -> list[tuple[str, str]]:
        return [photographer.draw(turtles[number], label or names[number]) for number in numbers.tolist()]

    scored, others = np.arange(size.scored), np.arange(size.scored, len(turtles))
    train = rows_of(np.repeat(scored, rng.integers(4, size.most_images + 1, len(scored))))
    extra = rows_of(np.repeat(others, rng.integers(1, 6, len(others))))
    extra += rows_of(rng.choice(scored, size.extra_of_scored))
    test = rows_of(rng.choice(scored, size.test)) + rows_of(rng.choice(others, size.test_extra), UNKNOWN)
    test += [photographer.draw(_turtle(rng), UNKNOWN) for _ in range(size.test_new)]

    columns = ["image_id", "turtle_id"]
    for csv, rows in (("train.csv", train), ("extra_images.csv", extra)):
        pd.DataFrame(sorted(rows), columns=columns).to_csv(data_dir / csv, index=False)
    answers = pd.DataFrame(sorted(test), columns=columns)
    answers[["image_id"]].to_csv(data_dir / "test.csv", index=False)
    columns_of_sample = (f"prediction{number}" for number in range(1, NUM_ANSWERS + 1))
    sample = answers[["image_id"]].assign(**dict(zip(columns_of_sample, [UNKNOWN, *names], strict=False)))
    sample.to_csv(data_dir / "sample_submission.csv", index=False)
    answers_csv.parent.mkdir(parents=True, exist_ok=True)
    answers.to_csv(answers_csv, index=False)


def _letters(rng: np.random.Generator) -> str:
    """Return eight random letters and digits."""
    return "".join(rng.choice(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"), 8).tolist())


def _turtle(rng: np.random.Generator) -> Turtle:
    """Make a turtle: its scutes are Voronoi cells of random points, darker or lighter, with pale seams."""
    down, across = np.mgrid[:FACE, :FACE] / FACE
    points = _spread(int(rng.integers(9, 15)), rng)
    # A random offset per point makes the cells uneven in size, and their outlines more distinctive.
    distances = (across[None] - points[:, 0, None, None]) ** 2 + (down[None] - points[:, 1, None, None]) ** 2
    distances = np.sqrt(distances) - rng.uniform(0, 0.05, len(points))[:, None, None]
    nearest, second = np.partition(distances, 1, axis=0)[:2]
    tones = rng.permutation(np.linspace(0.25, 1.0, len(points)))[distances.argmin(0)]
    hue = np.array([rng.uniform(150, 200), rng.uniform(105, 140), rng.uniform(45, 85)])
    face = tones[:, :, None] * hue
    seam = np.clip(1.6 - (second - nearest) * FACE / 4, 0, 1)[:, :, None]
    face = face * (1 - seam) + seam * np.array([228, 214, 170])

    ellipse = ((across - 0.48) / 0.46) ** 2 + ((down - 0.5) / 0.36) ** 2
    mask = np.where(ellipse < 1, 255, 0).astype(np.uint8)
    beak = np.array([[0.80, 0.30], [0.99, 0.46], [0.97, 0.62], [0.84, 0.70]])
    cv2.fillPoly(mask, [np.round(beak * FACE).astype(np.int32)], 255)
    cv2.ellipse(face, (int(0.72 * FACE), int(0.42 * FACE)), (20, 13), 20, 0, 360, (228, 214, 170), -1, cv2.LINE_AA)
    cv2.circle(face, (int(0.72 * FACE), int(0.42 * FACE)), 9, (15, 15, 15), -1, cv2.LINE_AA)
    cv2.ellipse(face, (int(0.92 * FACE), int(0.5 * FACE)), (60, 22), 0, 50, 160, (90, 75, 40), 3, cv2.LINE_AA)
    return Turtle(np.clip(face, 0, 255).astype(np.uint8), mask)


def _spread(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return points in the head that are spread out, float (count, 2): each is the farthest of a few random ones."""
    points = rng.uniform([0.1, 0.2], [0.85, 0.8], (1, 2))
    while len(points) < count:
        tries = rng.uniform([0.05, 0.15], [0.9, 0.85], (6, 2))
        gaps = np.linalg.norm(tries[:, None] - points[None], axis=2).min(1)
        points = np.vstack([points, tries[gaps.argmax()]])
    return points


def _photo(turtle: Turtle, side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the turtle under water from a random viewpoint in random light, RGB uint8 (H, W, 3)."""
    shape = np.array([side, side])
    shape[rng.integers(2)] = int(side * rng.uniform(0.75, 1))
    width, height = shape.tolist()
    half = shape.min() / 2 * rng.uniform(0.8, 1.05)
    tilt = np.deg2rad(rng.normal(0, 15))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    corners = corners @ np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    corners += shape / 2 + rng.normal(0, 0.05, 2) * side + rng.normal(0, 0.05, (4, 2)) * half
    square = np.array([[0, 0], [FACE, 0], [FACE, FACE], [0, FACE]], np.float32)
    view = cv2.getPerspectiveTransform(square, corners.astype(np.float32))
    blur = 0.4 * FACE / (2 * half)
    face, cover = (cv2.warpPerspective(cv2.GaussianBlur(part, (0, 0), blur), view, (width, height)) for part in turtle)

    water = cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), side / 14)
    water = (1 + 0.2 * water / water.std())[:, :, None] * rng.uniform([25, 85, 95], [70, 150, 165])
    lit = face * rng.uniform(0.75, 1.2) * (1 + rng.uniform(-0.25, 0.25) * np.linspace(-1, 1, height)[:, None, None])
    picture = water + (lit - water) * (cover[:, :, None] / 255)
    haze = rng.uniform(0, 0.25)  # the water in between
    picture = picture * (1 - haze) + haze * water.mean((0, 1)) + rng.normal(0, rng.uniform(2, 6), (height, width, 1))
    return np.clip(picture, 0, 255).astype(np.uint8)
