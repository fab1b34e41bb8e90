"""A small competition of drawn retinas in APTOS 2019's file format: grades from 0 to 4, and an earlier year's table."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from imettk.errors import DataError

# Shares of the grades 0 to 4 in the real tables of 2019 and 2015.
SHARES, SHARES_BEFORE = (0.49, 0.10, 0.27, 0.06, 0.08), (0.73, 0.07, 0.15, 0.03, 0.02)
BLEEDINGS = 4  # additional bleedings per grade, on average


def make_retinas(
    data_dir: Path,
    answers_csv: Path,
    *,
    num_train: int = 160,
    num_external: int = 80,
    num_test: int = 48,
    side: int = 96,
    seed: int = 0,
) -> None:
    """Lay out a competition of drawn retinas in APTOS 2019's format: the higher the grade, the more bleedings.

    Args:
        data_dir: receives `train.csv`, `sample_submission.csv` (`id_code,diagnosis`, 0 everywhere), `test.csv`, images
            in `train_images/` and `test_images/`; and from 2015 `drd2015.csv`, with the columns of `train.csv`, and
            JPEGs of patients' left and right eyes in `drd2015/`. Must not exist yet.
        answers_csv: receives the grades of the test images, in the format of `train.csv`.
        side: side of the images in pixels.
    """
    if data_dir.exists():
        raise DataError(f"{data_dir} exists already; give another folder, or remove it to make the competition again")
    rng = np.random.default_rng(seed)
    names = [f"{number:012x}" for number in rng.choice(2**40, num_train + num_test, replace=False)]
    eyes = [f"{10 + number // 2}_{'left' if number % 2 == 0 else 'right'}" for number in range(num_external)]
    train = _write(data_dir / "train_images", names[:num_train], ".png", SHARES, side, rng)
    test = _write(data_dir / "test_images", names[num_train:], ".png", SHARES, side, rng)
    before = _write(data_dir / "drd2015", eyes, ".jpeg", SHARES_BEFORE, side, rng)
    train.to_csv(data_dir / "train.csv", index=False)
    before.to_csv(data_dir / "drd2015.csv", index=False)
    test[["id_code"]].to_csv(data_dir / "test.csv", index=False)
    test.assign(diagnosis=0).to_csv(data_dir / "sample_submission.csv", index=False)
    answers_csv.parent.mkdir(parents=True, exist_ok=True)
    test.to_csv(answers_csv, index=False)


def _write(
    folder: Path, names: list[str], suffix: str, shares: tuple[float, ...], side: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw images with grades in these shares, at least one of each, and return their table."""
    folder.mkdir(parents=True)
    edges = np.cumsum(shares) / sum(shares)
    rest = max(0, len(names) - len(shares))
    dealt = [*range(len(shares)), *np.searchsorted(edges, (np.arange(rest) + 0.5) / max(1, rest))][: len(names)]
    grades = rng.permutation(np.array(dealt, np.int64)).tolist()
    for name, grade in zip(names, grades, strict=True):
        cv2.imwrite(str(folder / f"{name}{suffix}"), _draw(grade, side, rng)[:, :, ::-1])
    return pd.DataFrame({"id_code": names, "diagnosis": grades})


def _draw(grade: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a retina on black, with its nerve, vessels and bleedings, uint8 RGB (side, side, 3)."""
    picture = np.zeros((side, side, 3))
    radius, middle = round(0.46 * side), np.array([side, side]) / 2
    tone = np.array([205, 105, 50]) * rng.uniform(0.8, 1.1)
    cv2.circle(picture, (side // 2, side // 2), radius, tone.tolist(), -1, cv2.LINE_AA)
    nerve = middle + side * np.array([rng.choice([-0.28, 0.28]), rng.uniform(-0.05, 0.05)])
    for angle in rng.uniform(0, 2 * np.pi, 7):
        bend = angle + rng.uniform(-0.5, 0.5)
        points = [
            nerve,
            nerve + 0.25 * side * _unit(angle),
            nerve + 0.25 * side * _unit(angle) + 0.2 * side * _unit(bend),
        ]
        line = np.round(points).astype(np.int32)
        cv2.polylines(picture, [line], False, (0.65 * tone).tolist(), max(1, side // 64), cv2.LINE_AA)
    cv2.circle(picture, np.round(nerve).astype(int).tolist(), round(0.07 * side), [250, 205, 120], -1, cv2.LINE_AA)
    for _ in range(rng.poisson(BLEEDINGS * grade)):
        place = middle + 0.4 * side * np.sqrt(rng.uniform()) * _unit(rng.uniform(0, 2 * np.pi))
        cv2.circle(picture, np.round(place).astype(int).tolist(), max(2, round(0.03 * side)), [90, 15, 15], -1)
    outside = np.hypot(*(np.indices((side, side)) - (side - 1) / 2)) > radius
    picture[outside] = 0
    return np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


def _unit(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])
