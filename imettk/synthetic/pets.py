"""A small competition of drawn pets in Pawpularity 2021's file format: the appeal of a photo, from 1 to 100."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from imettk.errors import DataError

MARKS = (
    "Subject Focus", "Eyes", "Face", "Near", "Action", "Accessory", "Group", "Collage", "Human", "Occlusion", "Info",
    "Blur",
)  # fmt: skip


def make_pets(
    data_dir: Path,
    answers_csv: Path,
    *,
    num_train: int = 160,
    num_test: int = 40,
    seed: int = 0,
) -> None:
    """Lay out a competition of drawn pets in Pawpularity 2021's format: the larger the eyes, the higher the score.

    Args:
        data_dir: receives `train.csv` (`Id`, twelve meaningless columns of 0 and 1, `Pawpularity`), `test.csv`,
            `sample_submission.csv` (`Id,Pawpularity`, random numbers), and photos of several shapes in `train/` and
            `test/`; must not exist yet.
        answers_csv: receives the scores of the test images, `Id,Pawpularity`.
    """
    if data_dir.exists():
        raise DataError(f"{data_dir} exists already; give another folder, or remove it to make the competition again")
    rng = np.random.default_rng(seed)
    train = _write(data_dir / "train", num_train, rng)
    test = _write(data_dir / "test", num_test, rng)
    train.to_csv(data_dir / "train.csv", index=False)
    test.drop(columns="Pawpularity").to_csv(data_dir / "test.csv", index=False)
    sample = test[["Id"]].assign(Pawpularity=rng.uniform(1, 100, num_test).round(2))
    sample.to_csv(data_dir / "sample_submission.csv", index=False)
    answers_csv.parent.mkdir(parents=True, exist_ok=True)
    test[["Id", "Pawpularity"]].to_csv(answers_csv, index=False)


def _write(folder: Path, count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw photos with scores as skewed as the real ones, and return their table."""
    folder.mkdir(parents=True)
    names = [rng.bytes(16).hex() for _ in range(count)]
    scores = np.clip(rng.gamma(3.4, 11.2, count).round(), 1, 100).astype(int)
    for name, score in zip(names, scores.tolist(), strict=True):
        cv2.imwrite(str(folder / f"{name}.jpg"), _draw(score, rng)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    marks = pd.DataFrame(rng.integers(0, 2, (count, len(MARKS))), columns=list(MARKS))
    return pd.concat([pd.DataFrame({"Id": names}), marks, pd.DataFrame({"Pawpularity": scores})], axis=1)


def _draw(score: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a cat's face in a room, uint8 RGB, taller or wider than a square."""
    long, short = 112, int(rng.integers(72, 112))
    height, width = (long, short) if rng.uniform() < 0.6 else (short, long)
    room = rng.uniform(60, 200, (3, 3, 3))
    picture = cv2.resize(room, (width, height), interpolation=cv2.INTER_CUBIC)
    middle, radius = np.array([width, height]) / 2 + rng.uniform(-4, 4, 2), rng.uniform(24, 30)
    fur = (np.array([190, 140, 90]) * rng.uniform(0.5, 1.2)).tolist()
    for side in (-1, 1):
        ear = middle + radius * np.array([[side * 0.9, -0.4], [side * 0.75, -1.35], [side * 0.15, -0.9]])
        cv2.fillPoly(picture, [np.round(ear).astype(np.int32)], fur, cv2.LINE_AA)
    cv2.circle(picture, np.round(middle).astype(int).tolist(), round(radius), fur, -1, cv2.LINE_AA)
    eye = radius * np.clip(0.12 + 0.0035 * score + rng.normal(0, 0.02), 0.08, 0.5)
    for side in (-1, 1):
        place = np.round(middle + radius * np.array([side * 0.42, -0.15])).astype(int).tolist()
        cv2.circle(picture, place, max(1, round(eye)), [235, 235, 120], -1, cv2.LINE_AA)
        cv2.circle(picture, place, max(1, round(eye / 2)), [15, 15, 15], -1, cv2.LINE_AA)
    nose = np.round(middle + 0.35 * radius * np.array([0, 1])).astype(int).tolist()
    cv2.circle(picture, nose, 2, [120, 60, 70], -1, cv2.LINE_AA)
    return np.clip(picture + rng.normal(0, 5, picture.shape), 0, 255).astype(np.uint8)
