"""A few dozen small pictures with labels in a folder, as a competition ships them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd


def make_pictures(
    folder: Path,
    cells: list[str],
    *,
    num_test: int = 6,
    side: int = 32,
    seed: int = 0,
    answer: float | None = None,
) -> Path:
    """Write `train.csv` (id, label), `train/`, `test/` and `sample_submission.csv`; equal cells look alike.

    Args:
        cells: of the label column, a row each.
        answer: in each row of the sample submission; None is a label.
    """
    rng = np.random.default_rng(seed)
    kinds = sorted(set(cells))
    looks = {kind: rng.integers(0, 200, (side, side, 3)) for kind in kinds}
    for name, rows in (("train", cells), ("test", [kinds[row % len(kinds)] for row in range(num_test)])):
        (folder / name).mkdir(parents=True)
        for row, cell in enumerate(rows):
            picture = (looks[cell] + rng.integers(0, 55, (side, side, 3))).astype(np.uint8)
            assert cv2.imwrite(str(folder / name / f"{name}{row:02d}.png"), picture)
        ids = [f"{name}{row:02d}" for row in range(len(rows))]
        csv = "train.csv" if name == "train" else "sample_submission.csv"
        pd.DataFrame({"id": ids, "label": rows if name == "train" else kinds[0] if answer is None else answer}).to_csv(
            folder / csv, index=False
        )
    return folder
