"""A small competition of sheets of real handwritten digits in iMet's file format, that of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from imettk.errors import DataError

FACTS = (
    "has an even digit",
    "has an odd digit",
    "has a digit above 6",
    "is a single digit",
    "has three or more digits",
)
LABEL_NAMES = tuple(f"digit::{digit}" for digit in range(10)) + tuple(f"fact::{fact}" for fact in FACTS)


@dataclass(frozen=True, kw_only=True)
class DigitsSize:
    """The size of a digits competition; the default is the demo's."""

    train_sheets: int = 1800
    test_sheets: int = 600
    num_groups: int = 12
    test_share: float = 0.3
    sheet_pixels: int = 48


def make_digits(data_dir: Path, answers_csv: Path, *, seed: int = 0, size: DigitsSize | None = None) -> None:
    """Lay out a multi-label competition of handwritten digits in iMet's format.

    Every sheet shows 1 to 4 of the 1,797 real scans of `sklearn.datasets.load_digits` at random positions and sizes. No
    scan is in both train and test, and each group of training sheets has its own scans, so folds that keep groups whole
    measure what the test set measures.

    Args:
        data_dir: receives `train.csv`, `labels.csv`, `sample_submission.csv`, `train/` and `test/`; must not exist yet.
        answers_csv: receives the labels of the test sheets, in the format of `train.csv`.
    """
    size = size or DigitsSize()
    if data_dir.exists():
        raise DataError(f"{data_dir} exists already; give another folder, or remove it to make the competition again")
    rng = np.random.default_rng(seed)
    test_scans, *group_scans = _deal_scans(rng, size)
    (data_dir / "train").mkdir(parents=True)
    (data_dir / "test").mkdir()

    groups = np.arange(size.train_sheets) % size.num_groups
    train = [
        _write_sheet(data_dir / "train", f"s{row:05d}", group_scans[group], rng, size.sheet_pixels)
        | {"group": f"g{group:02d}"}
        for row, group in enumerate(groups)
    ]
    test = [
        _write_sheet(data_dir / "test", f"t{row:05d}", test_scans, rng, size.sheet_pixels) | {"group": "test"}
        for row in range(size.test_sheets)
    ]
    pd.DataFrame(train).to_csv(data_dir / "train.csv", index=False)
    labels = pd.DataFrame({"attribute_id": range(len(LABEL_NAMES)), "attribute_name": LABEL_NAMES})
    labels.to_csv(data_dir / "labels.csv", index=False)
    sample = pd.DataFrame({"id": [row["id"] for row in test], "attribute_ids": "0 1 2"})
    sample.to_csv(data_dir / "sample_submission.csv", index=False)
    answers_csv.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(test).to_csv(answers_csv, index=False)


def sheet_labels(digits: list[int]) -> list[int]:
    """Return the label ids (positions in `LABEL_NAMES`) of a sheet that shows these digits."""
    facts = (
        any(digit % 2 == 0 for digit in digits),
        any(digit % 2 == 1 for digit in digits),
        max(digits) > 6,
        len(digits) == 1,
        len(digits) >= 3,
    )
    return sorted(set(digits)) + [10 + position for position, holds in enumerate(facts) if holds]


def _deal_scans(rng: np.random.Generator, size: DigitsSize) -> list[list[tuple[np.ndarray, int]]]:
    """Return the scans of the test set, then those of each group; every digit is dealt evenly."""
    from sklearn.datasets import load_digits

    scans = load_digits()
    images = (scans.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8), grey levels 0 to 16
    parts: list[list[tuple[np.ndarray, int]]] = [[] for _ in range(size.num_groups + 1)]
    for digit in range(10):
        rows = rng.permutation(np.flatnonzero(scans.target == digit))
        num_test = round(len(rows) * size.test_share)
        parts[0] += [(images[row], digit) for row in rows[:num_test]]
        for position, row in enumerate(rows[num_test:]):
            parts[1 + position % size.num_groups].append((images[row], digit))
    return parts


def _write_sheet(
    folder: Path, name: str, scans: list[tuple[np.ndarray, int]], rng: np.random.Generator, pixels: int
) -> dict[str, str]:
    """Draw one sheet and return its table row."""
    sheet = np.zeros((pixels, pixels), np.uint8)
    digits = []
    # One digit to a quarter of the sheet, so that digits never hide each other.
    half = pixels // 2
    for quarter in rng.permutation(4)[: rng.integers(1, 5)]:
        scan, digit = scans[rng.integers(len(scans))]
        side = int(rng.integers(half * 5 // 8, half + 1))
        top, left = (
            int(offset) + half * int(corner)
            for offset, corner in zip(rng.integers(0, half - side + 1, 2), divmod(int(quarter), 2), strict=True)
        )
        sheet[top : top + side, left : left + side] = cv2.resize(scan, (side, side), interpolation=cv2.INTER_CUBIC)
        digits.append(digit)
    noise = rng.normal(0, 8, sheet.shape)
    cv2.imwrite(str(folder / f"{name}.png"), np.clip(sheet + noise, 0, 255).astype(np.uint8))
    return {"id": name, "attribute_ids": " ".join(map(str, sheet_labels(digits)))}
