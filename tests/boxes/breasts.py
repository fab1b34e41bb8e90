"""Pictures of breasts: several images of one give one answer; as a table, in folders, or as views in a row."""

import json

import cv2
import numpy as np
import pandas as pd

from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    PredictConfig,
    Recipe,
    RuleConfig,
    ScoreConfig,
    SessionConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
)

PATIENTS, TEST_PATIENTS = 24, 6
LABELS = ["cancer", "biopsy"]


def picture(rng, sick):
    pixels = rng.normal(90, 25, (32, 32))
    if sick:
        x, y = rng.integers(4, 20, 2)
        pixels[y : y + 10, x : x + 10] += 40
    return pixels.clip(0, 255).astype(np.uint8)


def make_patients(folder, part, patients, seed):
    """Rows of images in a folder a patient; a lump shows in one image at least of a sick breast."""
    rng, rows = np.random.default_rng(seed), []
    for patient in patients:
        for side in "LR":
            sick, count = bool(rng.uniform() < 0.5), int(rng.integers(1, 4))
            shows = rng.permutation(count) < max(1, count - 1)
            for view in range(count):
                image = int(rng.integers(10**8, 10**9))
                path = folder / f"{part}_images" / str(patient) / f"{image}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture(rng, sick and shows[view]))
                rows.append((1 + patient % 2, patient, image, side, "CC" if view else "MLO", int(sick)))
    return pd.DataFrame(rows, columns=["site_id", "patient_id", "image_id", "laterality", "view", "cancer"])


def make_data(folder, seed=0):
    """RSNA's tables of 2022 in small: units are named in test.csv alone, and asked for in an order of their own."""
    train = make_patients(folder, "train", range(100, 100 + PATIENTS), seed)
    train.to_csv(folder / "train.csv", index=False)
    test = make_patients(folder, "test", range(200, 200 + TEST_PATIENTS), seed + 1)
    test["prediction_id"] = test["patient_id"].astype(str) + "_" + test["laterality"]
    test.to_csv(folder / "answers.csv", index=False)
    test.drop(columns="cancer").to_csv(folder / "test.csv", index=False)
    asked = pd.Series(test["prediction_id"].unique()).sample(frac=1, random_state=0)
    pd.DataFrame({"prediction_id": asked, "cancer": 0.02}).to_csv(folder / "sample_submission.csv", index=False)
    return folder


def recipe_of(**changes):
    parts = {
        "table": TableFormat(
            task="multiclass",
            id_column="image_id",
            label_column="cancer",
            group_column="patient_id",
            unit_columns=("patient_id", "laterality"),
            image_path="{patient_id}/{image_id}",
            test_csv="test.csv",
            sample_id_column="prediction_id",
            train_images="train_images",
            test_images="test_images",
        ),
        "folds": FoldConfig(num_folds=2),
        "images": ImageFormat(image_size=(32, 32), channels=1),
        "model": ModelConfig(backbone="timm:test_resnet"),
        "train": TrainConfig(loss="cross_entropy", watch="score", keep="best"),
        "stages": (StageConfig(num_epochs=8, batch_size=8, lr=(3e-3,)),),
        "predict": PredictConfig(views=("plain", "vflip")),
        "score": ScoreConfig(metric="roc_auc"),
        "rule": RuleConfig(kind="probability", positive="1"),
        "session": SessionConfig(num_workers=0, tensorboard=False),
    }
    return Recipe(**(parts | changes))


def lay_out(folder, layout):
    """A folder of a layout: the data above, or studies in folders, or two views a row, with answers to the test set."""
    if layout == "columns":
        data = make_data(folder, seed=2)
        (data / "answers.csv").rename(folder.parent / "answers.csv")
        return data
    rng, frames = np.random.default_rng(0), {}
    for part, letter, count in (("train", "s", 18), ("test", "q", 6)):
        sick = [row % 2 for row in range(count)]
        names = [(f"{letter}{row}/{view}" if layout == "folders" else f"{letter}{row}_{view}") + ".png"
                 for row in range(count) for view in "LR"]  # fmt: skip
        for place, name in enumerate(names):
            (folder / part / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / part / name), picture(rng, sick[place // 2]))
        views = {} if layout == "folders" else {"left": names[::2], "right": names[1::2]}
        ids = [f"{letter}{row}" if layout == "folders" else str(row + 100 * (part == "test")) for row in range(count)]
        frames[part] = pd.DataFrame({"study_id": ids, **views, "finding": ["no", "yes"] * (count // 2)})
        assert sick[1]
    frames["train"].to_csv(folder / "train.csv", index=False)
    frames["test"].to_csv(folder.parent / "answers.csv", index=False)
    if layout == "views":
        frames["test"].drop(columns="finding").to_csv(folder / "test.csv", index=False)
    frames["test"][["study_id"]].assign(finding="no")[::-1].to_csv(folder / "sample_submission.csv", index=False)
    return folder


def read(folder, name="scores.json"):
    return json.loads((folder / name).read_text())


POOLS = {
    "mean": lambda own: own.mean(),
    "max": lambda own: own.max(),
    "top_k": lambda own: np.sort(own)[::-1][:2].mean(),
    "noisy_or": lambda own: 1 - np.prod(1 - own),
}
