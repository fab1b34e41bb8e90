"""`import`: a model of scikit-learn on imettk's folds is scored as scikit-learn scores it, and joins an ensemble."""

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer
from tiny import SMALL, TINY, refused, run, scores_of

from imettk.inference.predictor import load_predictions

pytestmark = pytest.mark.usefixtures("no_charts_here")


def pixels(folder, ids):
    images = [cv2.imread(str(folder / f"{name}.png"), cv2.IMREAD_GRAYSCALE) for name in ids]
    return np.array([cv2.resize(image, (16, 16)).ravel() / 255 for image in images])


@pytest.fixture(scope="module")
def other(digits_data, tmp_path_factory):
    """A folder with a prepared run, and the files oof.csv and test.csv of another tool on its folds."""
    root, data = tmp_path_factory.mktemp("other"), digits_data / "data"
    metric = ["--score.metric", "log_loss"]
    run(
        "prepare",
        "digits",
        "--data",
        data,
        "--run-dir",
        root / "ours",
        *TINY,
        *SMALL,
        *metric,
        "--rule.kind",
        "threshold",
    )
    folds = pd.read_csv(root / "ours" / "folds.csv")
    train = pd.read_csv(data / "train.csv", dtype=str, keep_default_na=False).set_index("id").loc[folds["id"]]
    labels = pd.read_csv(data / "labels.csv", dtype=str)["attribute_id"].tolist()
    binarizer = MultiLabelBinarizer(classes=labels)
    targets = binarizer.fit_transform(train["attribute_ids"].str.split())
    images = pixels(data / "train", folds["id"])
    model = OneVsRestClassifier(LogisticRegression(C=0.1))
    probs = cross_val_predict(model, images, targets, cv=PredefinedSplit(folds["fold"]), method="predict_proba")
    oof = pd.concat([folds, pd.DataFrame(probs, columns=labels)], axis=1)
    oof.sample(frac=1, random_state=0).to_csv(root / "oof.csv")  # with the index that everybody forgets
    asked = pd.read_csv(data / "sample_submission.csv")["id"]
    test = model.fit(images, targets).predict_proba(pixels(data / "test", asked))
    pd.concat([asked, pd.DataFrame(test, columns=labels)], axis=1).to_parquet(root / "test.parquet")
    return root, targets, probs


def words(root, data, name):
    return ["import", "--inputs", root / "ours", "--data", data, "--run-dir", root / name, "--name", "sklearn"]


def test_the_score_is_scikit_learns_and_the_run_joins_an_ensemble(other, digits_data, capsys):
    root, targets, probs = other
    data = digits_data / "data"
    run(*words(root, data, "theirs"), "--oof", root / "oof.csv", "--test", root / "test.parquet")
    text = capsys.readouterr().out
    assert f"{root / 'oof.csv'}: 72 rows of folds 0, 1, 15 labels, 24 test rows of {root / 'test.parquet'}" in text
    assert "ignored 1 column ((unnamed))" in text
    expected = np.mean([log_loss(targets[:, label], probs[:, label]) for label in range(15)])
    assert scores_of(root / "theirs")["oof"] == pytest.approx(expected, rel=1e-5)
    first = (root / "theirs" / "fold0" / "oof.safetensors").read_bytes()
    # Out again and in again: the same bits.
    run("export", "--data", data, "--run-dir", root / "theirs")
    files = {name: (root / "theirs" / "export" / f"{name}.csv") for name in ("oof", "test", "folds")}
    frame = pd.read_csv(files["oof"])
    truth = frame.filter(like="truth:").to_numpy()
    assert roc_auc_score(truth, frame.filter(regex=r"^\d+$"), average="micro") == pytest.approx(
        roc_auc_score(targets, probs, average="micro"), abs=1e-6
    )
    run(*words(root, data, "again"), "--oof", files["oof"], "--test", files["test"])
    run("export", "--data", data, "--run-dir", root / "again")
    for name, path in files.items():
        assert (root / "again" / "export" / f"{name}.csv").read_bytes() == path.read_bytes(), name
    assert first != (root / "again" / "fold0" / "oof.safetensors").read_bytes()  # it names another file
    # Other commands take it like any other run.
    run("validate", "--data", data, "--run-dir", root / "theirs", "--score.metric", "f_beta")
    assert scores_of(root / "theirs")["metric"] == "f_beta"
    run("infer", "--data", data, "--run-dir", root / "theirs")
    assert len(pd.read_csv(root / "theirs" / "submission.csv")) == 24
    run("ensemble", "--data", data, "--run-dir", root / "both", "--members", root / "theirs", root / "again")
    assert scores_of(root / "both")["oof"] == pytest.approx(scores_of(root / "theirs")["oof"], abs=1e-6)
    alone = load_predictions(root / "theirs" / "fold1" / "test.safetensors")
    blended = load_predictions(root / "both" / "test.safetensors")
    np.testing.assert_allclose(blended.merged, alone.merged[np.argsort(alone.ids)], rtol=1e-6)


def test_nothing_is_written_of_predictions_that_leak(other, digits_data, capsys):
    root, _, _ = other
    frame = pd.read_csv(root / "oof.csv")
    frame["fold"] = np.random.default_rng(0).permutation(frame["fold"])
    frame.to_csv(root / "leak.csv", index=False)
    line = refused(capsys, *words(root, digits_data / "data", "leak"), "--oof", root / "leak.csv")
    assert "of 72 rows have another fold than in folds.csv" in line and "`imettk export` writes" in line
    assert not list((root / "leak").glob("fold*")) and not (root / "leak" / "scores.json").exists()
    line = refused(capsys, "import", "digits", "--run-dir", root / "new", "--oof", root / "oof.csv")
    assert "run `imettk prepare` first" in line
