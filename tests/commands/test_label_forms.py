"""Labels in columns, in lists and in names of files go through every command that reads or writes a table."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import make_pictures
from tiny import run

from imettk.cli.main import main
from imettk.inference.predictor import load_predictions

pytestmark = pytest.mark.usefixtures("no_charts_here")
SMALL = [
    "--images.image-size",
    "32",
    "32",
    "--stages.0.num-epochs",
    "6",
    "--stages.0.batch-size",
    "4",
    "--folds.num-folds",
    "2",
    "--model.backbone",
    "timm:test_resnet",
    "--session.num-workers",
    "0",
]
SETS = ["a", "b c", "a b c", "", "d"] * 8
COLUMNS = ["a", "b c", "d"]


def split(cell):
    return [label for label in COLUMNS if label in cell]


def flags(cells):
    return pd.DataFrame([[int(label in split(cell)) for label in COLUMNS] for cell in cells], columns=COLUMNS)


def in_columns(data, sample_value):
    """A column of 0 and 1 for each label, in another order in the sample."""
    train = pd.read_csv(data / "train.csv", keep_default_na=False)
    pd.concat([train[["id"]], flags(train["label"])], axis=1).to_csv(data / "train.csv", index=False)
    sample = pd.read_csv(data / "sample_submission.csv")[["id"]]
    sample.assign(**dict.fromkeys(reversed(COLUMNS), sample_value)).to_csv(data / "sample_submission.csv", index=False)


def in_lists(data, sample_value):
    for csv in ("train.csv", "sample_submission.csv"):
        frame = pd.read_csv(data / csv, keep_default_na=False)
        frame.assign(label=[str(split(cell)) for cell in frame["label"]]).to_csv(data / csv, index=False)


def in_names(data, sample_value):
    """No table at all: cat_0.png and so on."""
    for row, label in enumerate(pd.read_csv(data / "train.csv")["label"]):
        (data / "train" / f"train{row:02d}.png").rename(data / "train" / f"{label}_{row}.png")
    (data / "train.csv").unlink()
    sample = pd.read_csv(data / "sample_submission.csv").assign(label=sample_value)
    sample.to_csv(data / "sample_submission.csv", index=False)


@pytest.mark.parametrize(
    ("write", "cells", "value", "words"),
    [
        (in_columns, SETS, 0.5, ["--metric", "roc_auc"]),
        (in_columns, SETS, 0, ["--metric", "f1_macro"]),
        (in_columns, [cell for cell in SETS if cell in COLUMNS], 0.3, []),
        (in_lists, SETS, None, ["--metric", "f1_samples"]),
        (in_names, ["cat", "dog"] * 16, 0.5, []),
    ],
    ids=["probabilities", "flags", "classes", "lists", "names"],
)
def test_from_new_to_a_submission_and_pseudo_labels(tmp_path, monkeypatch, write, cells, value, words):
    monkeypatch.chdir(tmp_path)
    write(make_pictures(tmp_path / "data", cells, num_test=10), value)
    run("new", "mine", "--data", "data", *words)
    common = ["mine.py", "--data", "data", *SMALL]
    if not words:  # classes are learned more slowly
        common += ["--stages.0.num-epochs", "18"]
    for command in ("prepare", "train", "validate", "infer"):
        run(command, *common, "--run-dir", "run")
    sample = pd.read_csv("data/sample_submission.csv", keep_default_na=False)
    answers = pd.read_csv("run/submission.csv", keep_default_na=False)
    assert list(answers.columns) == list(sample.columns) and list(answers["id"]) == list(sample["id"])
    check(answers, words)
    run("pseudo", *common, "--run-dir", "run", "--confidence", "0.5")
    run("prepare", *common, "--run-dir", "again", "--pseudo", "run")
    run("preflight", *common, "--run-dir", "tried")
    run("duplicates", *common, "--run-dir", "run")


def check(answers, words):
    """Answers are those of the networks, label by label, whatever the order of columns."""
    files = [load_predictions(Path(f"run/fold{fold}/test.safetensors")) for fold in (0, 1)]
    labels, probs = list(files[0].values["labels"]), np.mean([file.merged for file in files], axis=0)
    if "label" not in answers:
        values = answers[labels].to_numpy(float)
        if "f1_macro" not in words:
            np.testing.assert_allclose(values, probs, atol=1e-6)
            assert words or np.allclose(values.sum(1), 1, atol=1e-6)
            return
        assert set(np.unique(values)) <= {0, 1}
    elif answers["label"].dtype == float:
        np.testing.assert_allclose(answers["label"], probs[:, labels.index("dog")], atol=1e-6)
        return
    else:
        values = np.array([[label in ast.literal_eval(cell) for label in labels] for cell in answers["label"]])
    for row, prob in zip(values, probs, strict=True):  # one threshold for all labels
        assert prob[row > 0].min(initial=1) >= prob[row == 0].max(initial=0)


@pytest.mark.parametrize("write", [in_columns, in_lists, in_names])
def test_a_part_is_held_out_in_the_same_form(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    cells = ["cat", "dog"] * 16 if write is in_names else SETS
    data = make_pictures(tmp_path / "data", cells)
    write(data, 0.5)
    (data / "sample_submission.csv").unlink()
    run("new", "mine", "--data", "data", "--hold-out", "0.25")
    train, answers, sample = (
        pd.read_csv(f"mine-data/{name}.csv") for name in ("train", "answers", "sample_submission")
    )
    assert list(train.columns) == list(answers.columns) == list(sample.columns) and len(train) + len(answers) == len(
        cells
    )
    if write is not in_names:
        whole = pd.read_csv("data/train.csv").set_index("id")
        dealt = pd.concat([train, answers]).set_index("id").loc[whole.index]
        pd.testing.assert_frame_equal(dealt, whole)
    run("prepare", "mine.py", "--data", "mine-data", "--run-dir", "run", *SMALL)


def test_a_sample_for_another_kind_of_answer_stops_prepare_and_infer(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = make_pictures(tmp_path / "data", ["cat", "dog"] * 8)
    run("new", "mine", "--data", "data")
    sample = pd.read_csv(data / "sample_submission.csv")
    sample.assign(label=0.5).to_csv(data / "sample_submission.csv", index=False)
    with pytest.raises(SystemExit) as stopped:
        main(["prepare", "mine.py", "--data", "data", "--run-dir", "run", *SMALL])
    line = capsys.readouterr().err
    assert stopped.value.code == 2 and "column label holds '0.5', where labels such as 'cat' would be written" in line
