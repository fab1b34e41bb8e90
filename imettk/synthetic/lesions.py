"""A small competition of drawn moles in SIIM-ISIC 2020's file format: few melanomas, patients, an external table."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from imettk.errors import DataError

POSITIVE = "melanoma"
PATIENT_IMAGES = 5  # images of a patient, on average


class Lesion(NamedTuple):
    """The look of a diagnosis, and its frequency.

    Attributes:
        colour: RGB colour of its centre.
        ragged: the deviation of its outline from an ellipse, as a share of the radius.
        spots: number of darker parts.
        share: share of the images of 2020.
        share_before: share of the images of earlier years, which have diagnoses of their own.
    """

    colour: tuple[int, int, int]
    ragged: float
    spots: int
    share: float
    share_before: float


LESIONS: dict[str, Lesion] = {
    "unknown": Lesion((170, 115, 85), 0.03, 0, 0.55, 0.0),
    "nevus": Lesion((130, 75, 45), 0.05, 2, 0.25, 0.35),
    POSITIVE: Lesion((70, 35, 40), 0.3, 5, 0.1, 0.2),
    "BKL": Lesion((190, 150, 95), 0.15, 7, 0.1, 0.15),
    "BCC": Lesion((225, 120, 125), 0.1, 1, 0.0, 0.15),
    "AK": Lesion((220, 90, 70), 0.3, 0, 0.0, 0.05),
    "SCC": Lesion((205, 70, 60), 0.15, 3, 0.0, 0.04),
    "VASC": Lesion((150, 20, 40), 0.05, 0, 0.0, 0.03),
    "DF": Lesion((200, 140, 130), 0.05, 0, 0.0, 0.03),
}


def make_lesions(
    data_dir: Path,
    answers_csv: Path,
    *,
    num_train: int = 160,
    num_external: int = 80,
    num_test: int = 48,
    side: int = 96,
    seed: int = 0,
) -> None:
    """Lay out a competition of drawn moles in SIIM-ISIC 2020's format, with diagnoses joined as for `melanoma2020`.

    Args:
        data_dir: receives `train.csv` (with `patient_id`, `diagnosis` and `target`), `test.csv`,
            `sample_submission.csv` (`image_name,target`), images in `jpeg/train/` and `jpeg/test/`; and from earlier
            years `isic2019.csv` (without patients) with images in `isic2019/`. Must not exist yet.
        answers_csv: receives the diagnoses of the test images, in the format of `train.csv`.
        num_external: with 27 or more, every diagnosis has at least three external rows.
        side: side of the images in pixels.
    """
    if data_dir.exists():
        raise DataError(f"{data_dir} exists already; give another folder, or remove it to make the competition again")
    rng = np.random.default_rng(seed)
    shares = {name: look.share for name, look in LESIONS.items()}
    before = {name: look.share_before for name, look in LESIONS.items()}
    train = _write(data_dir / "jpeg" / "train", _deal(shares, num_train, rng), side, rng)
    test = _write(data_dir / "jpeg" / "test", _deal(shares, num_test, rng), side, rng)
    external = _write(data_dir / "isic2019", _deal(before, num_external, rng), side, rng)
    malignant = (train["diagnosis"] == POSITIVE).astype(int)
    train["benign_malignant"] = malignant.map({0: "benign", 1: "malignant"})
    train.assign(target=malignant).to_csv(data_dir / "train.csv", index=False)
    external.drop(columns="patient_id").to_csv(data_dir / "isic2019.csv", index=False)
    test.drop(columns="diagnosis").to_csv(data_dir / "test.csv", index=False)
    sample = pd.DataFrame({"image_name": test["image_name"], "target": 0})
    sample.to_csv(data_dir / "sample_submission.csv", index=False)
    answers_csv.parent.mkdir(parents=True, exist_ok=True)
    test.to_csv(answers_csv, index=False)


def _deal(shares: dict[str, float], count: int, rng: np.random.Generator) -> list[str]:
    """Deal diagnoses to images by their shares, in random order, and at least three of each with a share."""
    names = [name for name, share in shares.items() if share > 0]
    dealt = (3 * names)[:count]
    weights = np.array([shares[name] for name in names])
    edges = np.cumsum(weights) / weights.sum()
    rest = (np.arange(count - len(dealt)) + 0.5) / max(1, count - len(dealt))
    dealt += [names[place] for place in np.searchsorted(edges, rest)]
    return [dealt[place] for place in rng.permutation(count)]


def _write(folder: Path, diagnoses: list[str], side: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw the images of one folder and return their table."""
    folder.mkdir(parents=True)
    names = [f"ISIC_{number:07d}" for number in rng.choice(10_000_000, len(diagnoses), replace=False)]
    for name, diagnosis in zip(names, diagnoses, strict=True):
        picture = _draw(LESIONS[diagnosis], side, rng)
        cv2.imwrite(str(folder / f"{name}.jpg"), picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    patients = rng.integers(0, max(2, len(names) // PATIENT_IMAGES), len(names))
    return pd.DataFrame(
        {
            "image_name": names,
            "patient_id": [f"IP_{1000 + patient}" for patient in patients],
            "sex": rng.choice(["male", "female", ""], len(names), p=[0.5, 0.48, 0.02]),
            "age_approx": 5 * rng.integers(3, 18, len(names)),
            "diagnosis": diagnoses,
        }
    )


def _draw(look: Lesion, side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a mole on skin of a random tone, with hairs, uint8 RGB (side, side, 3)."""
    skin = np.array([225, 180, 155]) * rng.uniform(0.75, 1.05)
    picture = np.full((side, side, 3), np.minimum(skin, 255))
    centre, radius = rng.uniform(0.4, 0.6, 2) * side, rng.uniform(0.2, 0.32) * side
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    waves = np.sum([np.sin(times * angles + rng.uniform(0, 6)) / times for times in (2, 3, 5, 8)], axis=0)
    radii = radius * (1 + look.ragged * waves)
    outline = np.column_stack([np.cos(angles), rng.uniform(0.7, 1) * np.sin(angles)]) * radii[:, None] + centre
    colour = np.array(look.colour) * rng.uniform(0.85, 1.1)
    cv2.fillPoly(picture, [np.round(outline).astype(np.int32)], colour.tolist(), cv2.LINE_AA)
    for _ in range(look.spots):
        place = centre + rng.uniform(-0.5, 0.5, 2) * radius
        cv2.circle(picture, np.round(place).astype(int).tolist(), round(0.18 * radius), (0.6 * colour).tolist(), -1)
    for _ in range(rng.integers(0, 5)):
        ends = np.round(rng.uniform(0, side, (2, 2))).astype(int).tolist()
        cv2.line(picture, ends[0], ends[1], (60, 40, 30), 1, cv2.LINE_AA)
    return np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
