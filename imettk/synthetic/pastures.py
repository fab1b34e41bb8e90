"""A small competition of drawn pastures in CSIRO 2025's file format: one row for each picture and target."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from imettk.errors import DataError

TARGETS = ("Dry_Clover_g", "Dry_Dead_g", "Dry_Green_g", "Dry_Total_g", "GDM_g")
COLOURS = {"Dry_Clover_g": (70, 190, 140), "Dry_Dead_g": (205, 185, 120), "Dry_Green_g": (40, 130, 30)}  # RGB
GRAMS = 1.3  # weight of a drawn plant
STATES = ("NSW", "Tas", "Vic", "WA")
A_DATE = 4  # pictures taken on the same day, in the same state


def make_pastures(
    data_dir: Path,
    answers_csv: Path,
    *,
    num_train: int = 60,
    num_test: int = 20,
    image_size: tuple[int, int] = (64, 128),
    seed: int = 0,
) -> None:
    """Lay out a competition of drawn pastures in CSIRO 2025's format.

    Args:
        data_dir: receives `train.csv` (ids such as `ID7__GDM_g`, the picture, notes, the target's name and its grams),
            `test.csv`, `sample_submission.csv` (0 everywhere), `train/` and `test/`; must not exist yet.
        answers_csv: receives the grams of the test pictures, in the format of `train.csv`.
        image_size: (height, width) in pixels, two squares side by side.
    """
    if data_dir.exists():
        raise DataError(f"{data_dir} exists already; give another folder, or remove it to make the competition again")
    rng = np.random.default_rng(seed)
    train = _write(data_dir, "train", num_train, 0, image_size, rng)
    test = _write(data_dir, "test", num_test, num_train, image_size, rng)
    train.to_csv(data_dir / "train.csv", index=False)
    test[["sample_id", "image_path", "target_name"]].to_csv(data_dir / "test.csv", index=False)
    test[["sample_id"]].assign(target=0.0).to_csv(data_dir / "sample_submission.csv", index=False)
    answers_csv.parent.mkdir(parents=True, exist_ok=True)
    test.to_csv(answers_csv, index=False)


def _write(
    data_dir: Path, part: str, count: int, first: int, image_size: tuple[int, int], rng: np.random.Generator
) -> pd.DataFrame:
    """Draw pictures, and return their table, one row for each picture and target."""
    (data_dir / part).mkdir(parents=True)
    rows = []
    for number in range(first, first + count):
        date = number // A_DATE
        plants = {name: int(rng.integers(0, 24) * rng.integers(0, 2)) for name in ("Dry_Clover_g", "Dry_Dead_g")}
        plants["Dry_Green_g"] = int(rng.integers(1, 40))
        path = f"{part}/ID{1000 + number}.jpg"
        picture = _draw(plants, image_size, rng)
        cv2.imwrite(str(data_dir / path), picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        clover, dead, green = (GRAMS * plants[name] for name in COLOURS)
        grams = dict(zip(TARGETS, (clover, dead, green, clover + dead + green, clover + green), strict=True))
        notes = {
            "Sampling_Date": f"2015/{1 + date // 28}/{1 + date % 28}",
            "State": STATES[date % len(STATES)],
            "Species": "Clover" if clover > green else "Ryegrass_Clover" if clover else "Ryegrass",
            "Pre_GSHH_NDVI": round(0.3 + 0.01 * (plants["Dry_Green_g"] + plants["Dry_Clover_g"]), 2),
            "Height_Ave_cm": round(2 + 0.2 * sum(plants.values()), 4),
        }
        rows += [
            {"sample_id": f"ID{1000 + number}__{name}", "image_path": path, **notes}
            | {"target_name": name, "target": round(weight, 4)}
            for name, weight in grams.items()
        ]
    return pd.DataFrame(rows)


def _draw(plants: dict[str, int], image_size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw soil with so many plants of each kind, uint8 RGB (height, width, 3)."""
    height, width = image_size
    picture = cv2.resize(rng.uniform(60, 100, (4, 8, 1)) * [1.2, 0.9, 0.7], (width, height))
    kinds = rng.permutation([name for name, number in plants.items() for _ in range(number)])
    for name in kinds.tolist():
        colour = (np.array(COLOURS[name]) * rng.uniform(0.85, 1.15)).tolist()
        place = [int(rng.integers(0, width)), int(rng.integers(0, height))]
        if name == "Dry_Clover_g":
            cv2.circle(picture, place, max(2, height // 16), colour, -1)
            continue
        along = rng.normal(0, height / 8, 2).round().astype(int)
        cv2.line(picture, place, (np.array(place) + along).tolist(), colour, max(1, height // 32))
    return np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
