"""Small competitions of drawn whale flukes in the file formats of Humpback Whale 2018 and of GDSC 2020."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from imettk.errors import DataError

UNKNOWN, UNKNOWN_FOLDER = "new_whale", "-1"
SKIN = (360, 200)  # width and height of a fluke before it is projected into a photo
NUM_NEAREST = 20


@dataclass(frozen=True, kw_only=True)
class WhalesSize:
    """The size of a whales competition.

    Attributes:
        whales: whales with 2 to `most_images` training images each; few images are more common than many.
        singletons: whales with one training image.
        unknown_train: training images of nameless whales, each seen once; `unknown_test` are test images of such.
        test: test images of whales with a name.
        merged: whales with two names each.
        left_out: training rows whose image shows only the sea.
        turned: share of images that are upside down.
        width: width of the images in pixels; the height is at least half of it.
    """

    whales: int = 24
    most_images: int = 10
    singletons: int = 8
    unknown_train: int = 24
    test: int = 40
    unknown_test: int = 12
    merged: int = 2
    left_out: int = 3
    turned: float = 0.04
    width: int = 128


class Whale(NamedTuple):
    """A fluke: its outline, int32 (P, 2), and its markings, uint8 grey (H, W), both on a canvas of size `SKIN`."""

    outline: np.ndarray
    skin: np.ndarray


class Photo(NamedTuple):
    """An image: its file, its whale's name, its pixels (BGR, uint8), the fluke's box, and whether it is upside down."""

    name: str
    label: str
    image: np.ndarray
    box: tuple[int, int, int, int]
    turned: bool


def make_whales(data_dir: Path, answers_csv: Path, *, seed: int = 0, size: WhalesSize | None = None) -> None:
    """Lay out a competition of drawn flukes in Humpback Whale 2018's format.

    Args:
        data_dir: receives `train.csv`, `sample_submission.csv`, `train/` and `test/`; `boxes.csv` of both,
            `turned.csv`, `left_out.csv` and `duplicate_ids.csv` (names that are one whale); must not exist yet.
        answers_csv: receives the names of the test images, in the format of `train.csv`.
    """
    size = size or WhalesSize()
    train, test, merged, sea = _make_photos(data_dir, seed, size)
    photos = train + test
    for folder, part in (("train", train), ("test", test)):
        (data_dir / folder).mkdir(parents=True)
        for photo in part:
            _write(data_dir / folder / photo.name, photo.image)
    _table(train, "Image", "Id").to_csv(data_dir / "train.csv", index=False)
    boxes = pd.DataFrame([(photo.name, *photo.box) for photo in photos], columns=["Image", "x0", "y0", "x1", "y1"])
    boxes.to_csv(data_dir / "boxes.csv", index=False)
    for csv, names in (("turned.csv", {photo.name for photo in photos if photo.turned}), ("left_out.csv", sea)):
        pd.DataFrame({"Image": sorted(names)}).to_csv(data_dir / csv, index=False)
    lines = pd.DataFrame({"Id": [f"group_{number:04d}" for number in range(len(merged))], "SubId": merged})
    lines.to_csv(data_dir / "duplicate_ids.csv", index=False)
    answers = _table(test, "Image", "Id")
    few = sorted({photo.label for photo in train} - {UNKNOWN})[:4]
    answers.assign(Id=" ".join([UNKNOWN, *few])).to_csv(data_dir / "sample_submission.csv", index=False)
    _write_answers(answers_csv, answers)


def make_whale_folders(data_dir: Path, answers_csv: Path, *, seed: int = 0, size: WhalesSize | None = None) -> None:
    """Lay out the same drawings in GDSC 2020's format: none upside down, none left out, and one name per whale.

    Args:
        data_dir: receives `train/WHALE/`, `train/-1/` for unknown ones, `test/`, `boxes.csv` (file name, then centre
            and size as shares) and `sample_submission.csv` with 20 images a row; must not exist yet.
        answers_csv: receives `image,whale` of the test images, -1 for unknown ones.
    """
    size = size or WhalesSize()
    train, test, merged, sea = _make_photos(data_dir, seed, size)
    first_name = {name: line.split()[0] for line in merged for name in line.split()} | {UNKNOWN: UNKNOWN_FOLDER}

    def as_named(photo: Photo) -> Photo:
        upright = _turn(photo) if photo.turned else photo
        return upright._replace(label=first_name.get(photo.label, photo.label))

    train, test = [as_named(photo) for photo in train if photo.name not in sea], [as_named(photo) for photo in test]
    (data_dir / "test").mkdir(parents=True)
    for photo in train:
        (data_dir / "train" / photo.label).mkdir(parents=True, exist_ok=True)
        _write(data_dir / "train" / photo.label / photo.name, photo.image)
    for photo in test:
        _write(data_dir / "test" / photo.name, photo.image)
    columns = ["image", "x_center", "y_center", "width", "height"]
    boxes = pd.DataFrame([(photo.name, *_as_shares(photo)) for photo in train + test], columns=columns)
    boxes.round(6).to_csv(data_dir / "boxes.csv", index=False)
    answers = _table(test, "image", "whale")
    images = [f"{photo.label}/{photo.name}" for photo in train[:NUM_NEAREST]]
    sample = answers[["image"]].assign(**{f"prediction{number}": image for number, image in enumerate(images, 1)})
    sample.to_csv(data_dir / "sample_submission.csv", index=False)
    _write_answers(answers_csv, answers)


def _make_photos(data_dir: Path, seed: int, size: WhalesSize) -> tuple[list[Photo], list[Photo], list[str], set[str]]:
    """Draw training and test photos, sorted by name; return the pairs of names of one whale, and the photos of sea."""
    if data_dir.exists():
        raise DataError(f"{data_dir} exists already; give another folder, or remove it to make the competition again")
    rng = np.random.default_rng(seed)
    counts = 2 + np.floor((size.most_images - 1) * rng.random(size.whales) ** 2).astype(int)
    counts[: size.merged] = size.most_images
    counts = np.append(counts, np.ones(size.singletons, int))
    names = [f"w_{rng.bytes(4).hex()[:7]}" for _ in range(len(counts) + size.merged)]
    whales = [_whale(rng) for _ in counts]
    second = dict(enumerate(names[len(counts) :]))
    train, test = [], []
    for number, count in enumerate(counts):
        train += [
            _photo(whales[number], second[number] if number in second and image < 3 else names[number], size, rng)
            for image in range(count)
        ]
    for _ in range(size.test):
        number = int(rng.integers(len(counts)))
        test.append(_photo(whales[number], names[number], size, rng))
    train += [_photo(_whale(rng), UNKNOWN, size, rng) for _ in range(size.unknown_train)]
    test += [_photo(_whale(rng), UNKNOWN, size, rng) for _ in range(size.unknown_test)]
    sea = [_photo(None, str(rng.choice(names[: len(counts)])), size, rng) for _ in range(size.left_out)]
    merged = [f"{names[number]} {other}" for number, other in second.items()]
    return sorted(train + sea), sorted(test), merged, {photo.name for photo in sea}


def _whale(rng: np.random.Generator) -> Whale:
    """Make a whale: the trailing edge of its fluke with notch and teeth, and its white patches, scars and spots."""
    along = np.linspace(0, 1, 40)
    rise, notch, droop, power = rng.uniform([0.1, 0.1, 0.0, 1.3], [0.45, 0.45, 0.5, 2.6])
    sides = []
    for _ in range(2):  # they differ a little
        teeth = sum(
            amplitude * np.sin(2 * np.pi * frequency * along + rng.uniform(0, 6))
            for frequency, amplitude in zip((3, 5, 9, 14), rng.uniform(0, [0.03, 0.03, 0.03, 0.025]), strict=True)
        )
        upper = -rise * np.sin(np.pi * along * 0.85) + droop * along**3 + notch * np.exp(-((along / 0.12) ** 2))
        upper = upper + teeth * np.sin(np.pi * along)
        lower = upper[-1] + (0.95 - upper[-1]) * (1 - along[::-1]) ** power
        sides.append(np.column_stack([np.append(along, 1 - 0.88 * (1 - along[::-1])), np.append(upper, lower)]))
    points = np.concatenate([sides[0], (sides[1] * [-1, 1])[::-1]])
    low, high = points.min(0), points.max(0)
    scale = (0.96 * np.array(SKIN) / (high - low)).min()
    outline = np.round((points - (low + high) / 2) * scale + np.array(SKIN) / 2).astype(np.int32)

    skin = np.full(SKIN[::-1], rng.uniform(40, 80), np.float32)
    for _ in range(rng.integers(3, 8)):  # patches, and what is dark within them
        place, axes = rng.uniform([0.05, 0.1], [0.95, 0.7]) * SKIN, rng.uniform(0.05, 0.2, 2) * SKIN[0]
        shape = tuple(place.astype(int).tolist()), tuple(axes.astype(int).tolist())
        cv2.ellipse(skin, *shape, rng.uniform(0, 180), 0, 360, float(rng.choice([30, 170, 215, 240])), -1, cv2.LINE_AA)
    for _ in range(rng.integers(2, 9)):  # scars
        start = rng.uniform(0.1, 0.85, 2) * SKIN
        end = start + rng.normal(0, 0.14, 2) * SKIN[0]
        ends = start.astype(int).tolist(), end.astype(int).tolist()
        cv2.line(skin, *ends, float(rng.choice([20, 250])), int(rng.integers(2, 6)), cv2.LINE_AA)
    for place in (rng.uniform(0.1, 0.9, (rng.integers(0, 12), 2)) * SKIN).astype(int).tolist():
        cv2.circle(skin, place, int(rng.integers(3, 8)), 235, -1, cv2.LINE_AA)
    return Whale(outline, cv2.GaussianBlur(skin, (0, 0), 1.5).astype(np.uint8))


def _photo(whale: Whale | None, label: str, size: WhalesSize, rng: np.random.Generator) -> Photo:
    """Draw the whale from a random viewpoint in random light, or only the sea, whose box is the whole image."""
    width, height = size.width, int(size.width * rng.uniform(0.5, 0.7))
    image, box = _sea(width, height, rng), (0, 0, width, height)
    if whale is not None:
        spread = min(width / SKIN[0], height / SKIN[1]) * rng.uniform(0.75, 1.0)
        half = np.array(SKIN) * spread / 2
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        tilt = np.deg2rad(rng.normal(0, 7))
        corners = corners @ np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
        room = np.maximum(np.array([width, height]) / 2 - half, 1)
        corners += np.array([width, height]) / 2 + rng.uniform(-0.7, 0.7, 2) * room + rng.normal(0, 0.05, (4, 2)) * half
        square = np.array([[0, 0], [SKIN[0], 0], SKIN, [0, SKIN[1]]], np.float32)
        view = cv2.getPerspectiveTransform(square, corners.astype(np.float32))
        mask = np.zeros(SKIN[::-1], np.uint8)
        cv2.fillPoly(mask, [whale.outline], 255, cv2.LINE_AA)
        skin, cover = (
            cv2.warpPerspective(cv2.GaussianBlur(part, (0, 0), 0.35 / spread), view, (width, height))[:, :, None]
            for part in (whale.skin, mask)
        )
        light = rng.uniform(0.75, 1.2) * (1 + rng.uniform(-0.2, 0.2) * np.linspace(-1, 1, width)[None, :, None])
        tint = np.array([1.04, 1.0, 0.95]) ** rng.uniform(-1, 2)
        image = image + (skin * light * tint - image) * (cover / 255)
        x, y, across, down = cv2.boundingRect((cover[:, :, 0] > 127).astype(np.uint8))
        box = (x, y, x + across, y + down)
    image = image + rng.normal(0, rng.uniform(2, 7), (height, width, 1))
    if rng.random() < 0.3:  # many real photos are grey
        image = image.mean(2, keepdims=True).repeat(3, axis=2)
    photo = Photo(f"{rng.bytes(5).hex()[:9]}.jpg", label, np.clip(image, 0, 255).astype(np.uint8), box, False)
    return _turn(photo)._replace(turned=True) if whale is not None and rng.random() < size.turned else photo


def _sea(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Draw waves below a horizon that may be out of view, BGR float (height, width, 3)."""
    waves = cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), sigmaX=width / 40, sigmaY=1.2)
    light = 1 + 0.12 * waves / waves.std() + np.linspace(0.2, -0.2, height)[:, None]
    sea = light[:, :, None] * rng.uniform(0.8, 1.3) * (np.array([125, 110, 90]) + rng.uniform(-10, 10, 3))
    horizon = int(height * rng.uniform(-0.3, 0.3))
    sea[: max(0, horizon)] = rng.uniform(170, 225)
    return sea


def _turn(photo: Photo) -> Photo:
    """Rotate a photo by 180 degrees, with its box."""
    (height, width), (left, top, right, bottom) = photo.image.shape[:2], photo.box
    box = (width - right, height - bottom, width - left, height - top)
    return photo._replace(image=photo.image[::-1, ::-1].copy(), box=box)


def _as_shares(photo: Photo) -> tuple[float, float, float, float]:
    """Return a photo's box as centre and size, in shares of the image's sides."""
    (height, width), (left, top, right, bottom) = photo.image.shape[:2], photo.box
    return (left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height


def _write(path: Path, image: np.ndarray) -> None:
    """Write an image as JPEG."""
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 92])


def _table(photos: list[Photo], *columns: str) -> pd.DataFrame:
    """Return the names and labels of photos in two columns."""
    return pd.DataFrame([(photo.name, photo.label) for photo in photos], columns=list(columns))


def _write_answers(path: Path, answers: pd.DataFrame) -> None:
    """Write a table of answers, whose folder may not exist yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answers.to_csv(path, index=False)
