"""GDSC 2020's recipes run on folders of its real format."""

import pandas as pd
import pytest
from tiny import SMALL
from tiny import run as command

from imettk.inference.predictor import load_predictions
from imettk.synthetic.whales import make_whale_folders

EMBEDDING = ["--model.embedding-size", 16, "--stages.0.num-epochs", 2, "--stages.0.batch-size", 16]


@pytest.mark.parametrize("name", ["gdsc2020", "gdsc2020-triplet"])
def test_gdsc2020_runs_with_its_real_structure(tmp_path, capsys, name):
    """A folder per whale and one for unknown ones, boxes as shares, PK batches; the 20 nearest other images."""
    make_whale_folders(tmp_path / "data", tmp_path / "answers.csv")
    common = ["--data", tmp_path / "data", "--run-dir", tmp_path / "run"]
    small = [*SMALL, *EMBEDDING, "--images.image-size", 48, 48, "--stages.0.accumulate", 1]
    command("prepare", name, *common, *small, "--stages.0.warmup-epochs", 0.5)
    folds = pd.read_csv(tmp_path / "run" / "folds.csv").set_index("id")["fold"]
    whales = pd.Series({image: image.split("/")[0] for image in folds.index})
    single = whales.map(whales[whales != "-1"].value_counts()) == 1
    assert single.any() and (folds[single] == -3).all()
    command("train", *common, "--fold", 0)
    command("validate", *common)
    command("infer", *common, "--answers", tmp_path / "answers.csv")
    text = capsys.readouterr().out
    assert "MAP@20" in text and "precision@20" in text
    submission = pd.read_csv(tmp_path / "run" / "submission.csv", dtype=str).set_index("image")
    assert submission.shape[1] == 20 and submission.notna().all(axis=None)
    known = {*folds.index, *submission.index}
    for query, row in submission.iterrows():
        assert set(row) <= known - {query} and len(set(row)) == 20
    part = load_predictions(tmp_path / "run" / "fold0" / "gallery.safetensors")
    assert set(folds.index[single]) <= set(part.ids)  # they do not train, and can be found
