"""Tables that are no csv, from `new` to scores and a submission: COCO's JSON, and parquet."""

import json

import pandas as pd
import pytest
from pictures import make_pictures
from tiny import SMALL, TINY, run

from imettk.tracking.run_dir import LABEL_SCORES

CLASSES = {"3": "owl", "42": "hen"}


def as_coco(data):
    """Nested files, an image with two boxes, test images by their number, and a sample in parquet."""
    train, sample = pd.read_csv(data / "train.csv"), pd.read_csv(data / "sample_submission.csv")
    tables = {"train": train, "test": sample}
    for part, frame in tables.items():
        for row, name in enumerate(frame["id"]):
            inner = data / part / str(row % 3)
            inner.mkdir(exist_ok=True)
            (data / part / f"{name}.png").rename(inner / f"{name}.png")
        (data / f"{part}.csv").unlink(missing_ok=True)
    images = {
        part: [{"id": row, "file_name": f"{row % 3}/{name}.png"} for row, name in enumerate(frame["id"])]
        for part, frame in tables.items()
    }
    boxes = [
        {"image_id": row, "category_id": int(name), "bbox": [0, 0, 9, 9]} for row, name in enumerate(train["label"])
    ]
    kinds = [{"id": int(number), "name": name} for number, name in CLASSES.items()]
    coco = {"images": images["train"], "annotations": [*boxes, boxes[0]], "categories": kinds}
    (data / "train.json").write_text(json.dumps(coco))
    (data / "test.json").write_text(json.dumps({"images": images["test"], "categories": kinds}))
    (data / "sample_submission.csv").unlink()
    pd.DataFrame({"Id": range(len(sample)), "Predicted": 42}).to_parquet(data / "sample_submission.parquet")


def as_parquet(data):
    train = pd.read_csv(data / "train.csv", dtype=str)
    train.assign(group=pd.array([row // 4 if row % 5 else None for row in range(len(train))], "Int64")).to_parquet(
        data / "train.parquet"
    )
    (data / "train.csv").unlink()
    (data / "sample_submission.csv").unlink()


@pytest.mark.parametrize("form", [as_coco, as_parquet])
def test_from_new_to_scores(tmp_path, monkeypatch, form):
    data = make_pictures(tmp_path / "data", [*CLASSES] * 10)
    form(data)
    monkeypatch.chdir(tmp_path)
    run("new", "mine", "--data", data)
    for command in ("prepare", "train", "validate", *(["infer"] if form is as_coco else [])):
        run(command, "mine.py", "--data", data, "--run-dir", "run", *TINY, *SMALL)
    scores = pd.read_csv(tmp_path / "run" / LABEL_SCORES, dtype=str)
    assert scores["label"].tolist() == ["3", "42"]
    if form is as_coco:
        submission = pd.read_csv(tmp_path / "run" / "submission.csv", dtype=str)
        assert submission["Id"].tolist() == [str(row) for row in range(len(submission))]
        assert submission.columns.tolist() == ["Id", "Predicted"] and set(submission["Predicted"]) <= {*CLASSES}
    folds = pd.read_csv(tmp_path / "run" / "folds.csv", dtype=str)
    assert len(folds) == 20
