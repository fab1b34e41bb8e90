"""Several images of one breast give one answer, from the table to submissions, ensembles and a hidden test set."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from breasts import PATIENTS, POOLS, TEST_PATIENTS, make_data, read, recipe_of
from sklearn.metrics import roc_auc_score
from tiny import refused, run, two_runs

from imettk.config import (
    RuleConfig,
    ScoreConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
    to_json,
)
from imettk.inference.predictor import load_predictions

pytestmark = pytest.mark.usefixtures("no_charts")  # but in `runs`, whose report is looked at


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("breasts") / "data")


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Two runs with all commands, and their common folder."""
    return two_runs(tmp_path_factory.mktemp("runs"), recipe_of(), data)


def by_unit(ids, probs, table):
    """Predictions of images by the name of their breast, as a table of images names it."""
    rows = table.set_index(table["image_id"].astype(str)).loc[ids]
    units = rows["patient_id"].astype(str) + "_" + rows["laterality"]
    return pd.Series(probs, index=ids).groupby(units.to_numpy())


def test_prepare_says_how_many_images_a_unit_has(data, runs, tmp_path, capsys):
    run("prepare", runs / "recipe.json", "--data", data, "--run-dir", tmp_path)
    printed = capsys.readouterr().out
    table = pd.read_csv(data / "train.csv")
    counts = table.groupby(["patient_id", "laterality"]).size()
    assert f"{len(table)} rows in {PATIENTS} groups" in printed
    assert f"{len(counts)} units of 1 to 3 images, {counts.median():g} typically, which give one answer each" in printed
    assert re.search(rf"note: .*sample_submission.csv: {2 * TEST_PATIENTS} units of 1 to 3 images", printed)
    folds = pd.read_csv(tmp_path / "folds.csv")["fold"]
    assert (folds.groupby(table["patient_id"].to_numpy()).nunique() == 1).all() and folds.nunique() == 2


def test_scores_and_intervals_are_of_units_by_the_pool_that_scores_best(data, runs):
    table, scores, rule = pd.read_csv(data / "train.csv"), read(runs / "one"), read(runs / "one", "rule.json")
    parts = [load_predictions(runs / "one" / f"fold{fold}" / "oof.safetensors") for fold in range(2)]
    assert sum(len(part.ids) for part in parts) == len(table)  # an image each
    made = by_unit(np.concatenate([part.ids for part in parts]), np.concatenate([p.merged[:, 1] for p in parts]), table)
    sick = table.groupby(table["patient_id"].astype(str) + "_" + table["laterality"])["cancer"].first()
    found = {pool: made.apply(lambda own, take=take: take(own.to_numpy())) for pool, take in POOLS.items()}
    assert scores["pools"] == pytest.approx({pool: roc_auc_score(sick, own) for pool, own in found.items()}, abs=1e-6)
    assert scores["pool"] == rule["unit_pool"] == max(scores["pools"], key=scores["pools"].get)
    assert scores["rows"] == len(sick) == 2 * PATIENTS and 0.7 < scores["oof"] <= max(scores["pools"].values())
    assert scores["interval"][0] <= scores["oof"] <= scores["interval"][1]
    assert read(runs / "one", "errors.json")["rows"] == len(sick)
    assert pd.read_csv(runs / "one" / "label_scores.csv")["true"].sum() == len(sick)


def test_a_submission_has_a_row_a_unit_in_the_samples_order(data, runs):
    answers, sample = (pd.read_csv(path) for path in (runs / "one" / "submission.csv", data / "sample_submission.csv"))
    assert answers["prediction_id"].tolist() == sample["prediction_id"].tolist()
    parts = [load_predictions(runs / "one" / f"fold{fold}" / "test.safetensors") for fold in range(2)]
    truth = pd.read_csv(data / "answers.csv")
    made = by_unit(parts[0].ids, np.mean([part.merged[:, 1] for part in parts], 0), truth)
    pool = POOLS[read(runs / "one", "rule.json")["unit_pool"]]
    expected = made.apply(lambda own: pool(own.to_numpy()))[sample["prediction_id"]]
    assert answers["cancer"].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-4)
    sick = truth.groupby("prediction_id")["cancer"].first()[sample["prediction_id"]]
    assert read(runs / "one")["test"] == pytest.approx(roc_auc_score(sick, expected), abs=1e-6)


def test_a_curve_is_of_units(data, runs):
    lines = [json.loads(line) for line in (runs / "one" / "fold0" / "journal.jsonl").read_text().splitlines()]
    last = [line for line in lines if "score" in line][-1]
    part, table = load_predictions(runs / "one" / "fold0" / "oof.safetensors"), pd.read_csv(data / "train.csv")
    made = by_unit(part.ids, part.probs[0, :, 1], table).mean()
    sick = table.groupby(table["patient_id"].astype(str) + "_" + table["laterality"])["cancer"].first()[made.index]
    scores = [line["score"] for line in lines if "score" in line]
    assert any(score == pytest.approx(roc_auc_score(sick, made), abs=1e-6) for score in scores), (last, scores)


def test_a_hidden_test_set_is_answered_by_its_own_units(data, runs, tmp_path):
    hidden = make_data(tmp_path / "hidden", seed=5)
    for name in ("train.csv", "train_images"):
        path = hidden / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.symlink_to(data / name)
    sample = pd.read_csv(hidden / "sample_submission.csv")
    rows = pd.concat([sample, pd.DataFrame({"prediction_id": ["999_L"], "cancer": [0.0]})])
    rows.to_csv(hidden / "sample_submission.csv", index=False)
    run("infer", "--data", hidden, "--run-dir", tmp_path / "run", "--inputs", runs / "one")
    answers = pd.read_csv(tmp_path / "run" / "submission.csv")
    assert answers["prediction_id"].tolist() == rows["prediction_id"].tolist()
    assert answers["cancer"].between(0, 1).all() and answers["cancer"].nunique() > TEST_PATIENTS


@pytest.mark.parametrize("method", ["mean", "weighted", "rank"])
def test_members_are_blended_by_image_and_answered_by_unit(data, runs, tmp_path, capsys, method):
    common = ["--data", data, "--members", runs / "one", runs / "two", "--run-dir", tmp_path]
    run("ensemble", runs / "recipe.json", *common, "--method", method)
    printed = capsys.readouterr().out
    scores, table = read(tmp_path), pd.read_csv(data / "train.csv")
    blend = load_predictions(tmp_path / "oof.safetensors")
    assert len(blend.ids) == len(table) and scores["rows"] == 2 * PATIENTS
    made = by_unit(blend.ids, blend.merged[:, 1], table)
    sick = table.groupby(table["patient_id"].astype(str) + "_" + table["laterality"])["cancer"].first()
    found = made.apply(lambda own: POOLS[scores["pool"]](own.to_numpy()))
    assert scores["pools"][scores["pool"]] == pytest.approx(roc_auc_score(sick, found), abs=1e-6)
    assert f"one answer by the {scores['pool']} of their predictions" in printed
    test = load_predictions(tmp_path / "test.safetensors")
    expected = by_unit(test.ids, test.merged[:, 1], pd.read_csv(data / "answers.csv"))
    expected = expected.apply(lambda own: POOLS[scores["pool"]](own.to_numpy()))
    answers = pd.read_csv(tmp_path / "submission.csv").set_index("prediction_id")["cancer"]
    assert answers.to_numpy() == pytest.approx(expected[answers.index].to_numpy(), rel=1e-4)


def test_a_pool_that_is_asked_for_is_kept_and_another_needs_a_new_validation(data, runs, tmp_path, capsys):
    common = ["--data", data, "--run-dir", tmp_path, "--inputs", runs / "one"]
    run("validate", runs / "recipe.json", *common, "--rule.pool", "max")
    assert read(tmp_path, "rule.json")["unit_pool"] == "max"
    line = refused(capsys, "infer", runs / "recipe.json", *common, "--rule.pool", "noisy_or")
    assert "was fitted for another rule (rule.pool: 'max' -> 'noisy_or')" in line


def test_what_is_of_images_alone_is_refused_in_one_line(data, runs, capsys):
    common = ["--run-dir", runs / "one"]
    assert "pseudo labels are of images" in refused(capsys, "pseudo", *common, "--confidence", 0.9)
    line = refused(capsys, "duplicates", "--data", data, *common, "--action", "answer")
    assert "--action answer gives test images a label" in line
    (runs / "one" / "known_answers.csv").write_text("id,label,image_hash,labels_hash\n")
    line = refused(capsys, "infer", "--data", data, *common)
    (runs / "one" / "known_answers.csv").unlink()
    assert "known_answers.csv is of images, and this recipe answers units of several: delete it" in line


def test_another_runs_predictions_teach_image_by_image(data, runs, tmp_path):
    teachers = [runs / "two" / f"fold{fold}" / "oof.safetensors" for fold in range(2)]
    common = ["--data", data, "--run-dir", tmp_path]
    run("prepare", runs / "recipe.json", *common, "--train.teacher", *teachers)
    run("train", *common, "--fold", 0)
    run("validate", *common, "--fold", 0)
    assert read(tmp_path)["oof"] > 0.5 and read(tmp_path)["rows"] < 2 * PATIENTS


def test_preflight_plays_whole_units_in_miniature(data, runs, capsys):
    run("preflight", runs / "recipe.json", "--data", data)
    assert "everything works" in capsys.readouterr().out


def test_the_report_shows_a_row_a_unit(runs):
    page = (runs / "one" / "report.html").read_text()
    assert "Missing or damaged" not in page
    assert "Several images per answer" in page and page.count("chosen") >= 1


@pytest.mark.parametrize(
    ("table", "rule", "metric"),
    [
        ({"task": "multilabel", "label_column": "cancer"}, RuleConfig(kind="threshold", min_labels=0), "f_beta"),
        ({"task": "regression", "label_column": "cancer"}, RuleConfig(kind="value"), "rmse"),
        ({"task": "ordinal", "label_column": "cancer"}, RuleConfig(kind="cutpoints"), "quadratic_kappa"),
        ({"task": "multiclass", "label_column": "cancer"}, RuleConfig(kind="argmax"), "accuracy"),
    ],
)
def test_other_tasks_and_rules_answer_units_too(data, table, rule, metric, tmp_path):
    base, losses = recipe_of(), {"multilabel": "bce", "regression": "mse", "ordinal": "corn"}
    sample = pd.read_csv(data / "sample_submission.csv").assign(cancer=0)
    sample.to_csv(data / "other.csv", index=False)
    form = TableFormat(**(vars(base.table) | table | {"sample_csv": "other.csv"}))
    train = TrainConfig(loss=losses.get(form.task, "cross_entropy"))
    path = tmp_path / "recipe.json"
    stages = (StageConfig(num_epochs=2, batch_size=8, lr=(3e-3,)),)
    made = recipe_of(table=form, rule=rule, train=train, stages=stages, score=ScoreConfig(metric=metric))
    path.write_text(to_json(made))
    common = ["--data", data, "--run-dir", tmp_path / "run"]
    run("prepare", path, *common)
    for fold in range(2):
        run("train", *common, "--fold", fold)
    run("validate", *common)
    run("infer", *common, "--answers", data / "answers.csv")
    scores, answers = read(tmp_path / "run"), pd.read_csv(tmp_path / "run" / "submission.csv")
    assert scores["rows"] == 2 * PATIENTS and "test" in scores
    assert answers["prediction_id"].tolist() == sample["prediction_id"].tolist()
