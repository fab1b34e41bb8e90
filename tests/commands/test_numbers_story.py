"""Numbers from the table to a submission: two targets in columns, a scale of each fold, ensembles, a report."""

import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score, root_mean_squared_error
from tiny import refused, run, scores_of, two_runs

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
    to_json,
)
from imettk.inference.predictor import load_predictions
from imettk.tracking.tensors import read_values

NUM, NUM_TEST = 48, 10
TARGETS = ("weight", "height")


def make_data(folder, seed=0):
    """A picture's brightness is its weight, its bar's width its height; the sample has the columns swapped."""
    rng = np.random.default_rng(seed)
    numbers = np.column_stack([rng.uniform(100, 900, NUM + NUM_TEST), rng.uniform(-1, 1, NUM + NUM_TEST)])
    frames = []
    for part, rows in (("train", range(NUM)), ("test", range(NUM, NUM + NUM_TEST))):
        (folder / part).mkdir(parents=True)
        for row in rows:
            weight, height = numbers[row]
            picture = rng.normal(weight / 5, 8, (32, 32, 3))
            picture[:, : int(16 + 14 * height), 0] += 60
            cv2.imwrite(str(folder / part / f"p{row}.png"), picture.clip(0, 255).astype(np.uint8))
        ids = [f"p{row}" for row in rows]
        frames.append(pd.DataFrame({"id": ids, **dict(zip(TARGETS, numbers[list(rows)].T, strict=True))}))
    frames[0].assign(group=np.arange(NUM) // 2).to_csv(folder / "train.csv", index=False)
    frames[1].to_csv(folder / "answers.csv", index=False)
    pd.DataFrame({"id": frames[1]["id"], "height": 0.5, "weight": 0.0}).to_csv(
        folder / "sample_submission.csv", index=False
    )
    return folder


def recipe_of(**changes):
    parts = {
        "table": TableFormat(
            task="regression", label_columns=TARGETS, answer_columns=TARGETS[::-1], group_column="group"
        ),
        "folds": FoldConfig(num_folds=2),
        "images": ImageFormat(image_size=(32, 32)),
        "model": ModelConfig(backbone="timm:test_resnet"),
        "train": TrainConfig(loss="huber", loss_params={"weights": "1 2"}, watch="score", keep="best"),
        "stages": (StageConfig(num_epochs=6, batch_size=8, lr=(3e-3,), sampler="balanced", mixup=0.2),),
        "predict": PredictConfig(views=("plain", "vflip")),
        "score": ScoreConfig(metric="r2", params={"weights": "0.5 1.5"}),
        "rule": RuleConfig(kind="value"),
        "session": SessionConfig(num_workers=0, tensorboard=False),
    }
    return Recipe(**(parts | changes))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("numbers") / "data")


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Two runs with all commands, and their common folder."""
    return two_runs(tmp_path_factory.mktemp("runs"), recipe_of(), data)


def test_a_folds_scale_is_that_of_its_training_rows_and_kept_in_model_and_checkpoints(data, runs):
    table, folds = pd.read_csv(data / "train.csv"), pd.read_csv(runs / "one" / "folds.csv")["fold"]
    assert (folds.groupby(np.arange(NUM) // 2).nunique() == 1).all()
    for fold in range(2):
        rows = table[list(TARGETS)][folds != fold].to_numpy(np.float32).astype(np.float64)
        folder = runs / "one" / f"fold{fold}"
        for file in (folder / "model.safetensors", *folder.glob("checkpoints/*.safetensors")):
            scale = read_values(file)["scale"]
            assert scale["kind"] == "standard" and scale["shift"] == pytest.approx(rows.mean(0), rel=1e-12)
            assert scale["spread"] == pytest.approx(rows.std(0), rel=1e-12)


def test_scores_are_of_answers_in_the_range_that_other_folds_have(data, runs):
    parts = [load_predictions(runs / "one" / f"fold{fold}" / "oof.safetensors") for fold in range(2)]
    answers = np.concatenate(
        [
            np.clip(part.merged, other.targets.min(0), other.targets.max(0))
            for part, other in zip(parts, reversed(parts), strict=True)
        ]
    )
    truth, scores = np.concatenate([part.targets for part in parts]), scores_of(runs / "one")
    assert scores["metric"] == "r2" and scores["title"] == "R2" and abs(scores["constant"]) < 1e-9
    assert scores["oof"] == pytest.approx(r2_score(truth, answers, multioutput=[0.25, 0.75]), abs=1e-5)
    assert scores["RMSE"] == pytest.approx(root_mean_squared_error(truth, answers), rel=1e-5)
    assert scores["oof"] > 0.3 and scores["interval"][0] <= scores["oof"] <= scores["interval"][1]
    rows = pd.read_csv(runs / "one" / "label_scores.csv")
    assert rows["label"].tolist() == list(TARGETS)
    assert rows["rmse"].tolist() == pytest.approx(
        root_mean_squared_error(truth, answers, multioutput="raw_values"), rel=1e-4
    )


def test_an_export_that_is_imported_is_the_same_run(data, runs, tmp_path):
    run("export", "--run-dir", runs / "one", "--out", tmp_path / "first")
    files = [word for kind in ("oof", "test") for word in (f"--{kind}", tmp_path / "first" / f"{kind}.csv")]
    run("import", "--data", data, "--inputs", runs / "one", "--run-dir", tmp_path / "again", *files)
    run("infer", "--data", data, "--run-dir", tmp_path / "again")
    frame, table = pd.read_csv(tmp_path / "first" / "oof.csv"), pd.read_csv(data / "train.csv")
    np.testing.assert_allclose(frame.filter(like="truth:"), table[list(TARGETS)], rtol=1e-6)
    assert scores_of(tmp_path / "again")["oof"] == scores_of(runs / "one")["oof"]  # two views, each in a fold's scale
    name = "submission.csv"
    assert (tmp_path / "again" / name).read_bytes() == (runs / "one" / name).read_bytes()
    run("export", "--run-dir", tmp_path / "again", "--out", tmp_path / "second")
    for name in ("oof.csv", "test.csv", "folds.csv"):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()


def test_a_submission_is_the_mean_of_the_folds_in_range_in_the_samples_columns(data, runs):
    answers = pd.read_csv(runs / "one" / "submission.csv")
    rule = json.loads((runs / "one" / "rule.json").read_text())
    table = pd.read_csv(data / "train.csv")[list(TARGETS)]
    assert rule["low"] == pytest.approx(table.min().tolist()) and rule["high"] == pytest.approx(table.max().tolist())
    mean = np.mean([load_predictions(runs / "one" / f"fold{fold}" / "test.safetensors").merged for fold in range(2)], 0)
    expected = np.clip(mean, rule["low"], rule["high"])
    assert list(answers) == ["id", "height", "weight"]
    assert answers[list(TARGETS)].to_numpy() == pytest.approx(expected, rel=1e-5)
    truth = pd.read_csv(data / "answers.csv")[list(TARGETS)]
    assert scores_of(runs / "one")["test"] == pytest.approx(
        r2_score(truth, expected, multioutput=[0.25, 0.75]), abs=1e-5
    )


def test_the_report_shows_true_and_answered_numbers(runs):
    page, curves = (runs / "one" / "report.html").read_text(), json.loads((runs / "one" / "curves.json").read_text())
    assert [part["target"] for part in curves["values"]] == list(TARGETS)
    assert page.count("answered against true, and residuals") >= 2 and "Missing or damaged" not in page
    errors = json.loads((runs / "one" / "errors.json").read_text())
    assert errors["tiles"][0]["truth"][0]["label"].startswith("weight ")


def test_pictures_are_answered_without_a_table(data, runs, capsys):
    capsys.readouterr()
    run("infer", "--data", data, "--run-dir", runs / "one", "--images", data / "test" / f"p{NUM}.png")
    line = capsys.readouterr().out.splitlines()[-1]
    row = pd.read_csv(runs / "one" / "submission.csv").iloc[0]
    name, weight, height = line.replace(",", "").split()[0], *line.replace(",", "").split()[2::2]
    assert name == f"p{NUM}.png:" and float(weight) == pytest.approx(row["weight"], rel=1e-4)
    assert float(height) == pytest.approx(row["height"], rel=1e-3)


def test_members_are_blended_by_mean_or_by_weights_on_the_metric(data, runs, capsys, tmp_path):
    common = ["--data", data, "--members", runs / "one", runs / "two"]
    for method in ("mean", "weighted"):
        run("ensemble", runs / "recipe.json", *common, "--run-dir", tmp_path / method, "--method", method)
    alone = [scores_of(runs / name)["oof"] for name in ("one", "two")]
    assert scores_of(tmp_path / "weighted")["oof"] >= min(alone) and (tmp_path / "mean" / "submission.csv").is_file()
    members = [load_predictions(runs / name / "fold0" / "test.safetensors").merged for name in ("one", "two")]
    blended = load_predictions(tmp_path / "mean" / "test.safetensors").merged
    others = [load_predictions(runs / name / "fold1" / "test.safetensors").merged for name in ("one", "two")]
    assert blended == pytest.approx(np.mean([*members, *others], 0), rel=1e-4)
    for method in ("rank", "geometric", "max", "join"):
        line = refused(
            capsys, "ensemble", runs / "recipe.json", *common, "--run-dir", tmp_path / "no", "--method", method
        )
        assert f"--method {method} is for probabilities" in line or "join" in line


def test_test_rows_that_both_folds_agree_on_are_trained_on(data, runs, tmp_path):
    """A row is sure where the folds' numbers are near each other in standard deviations of the true ones."""
    parts = [runs / "one" / f"fold{fold}" for fold in range(2)]
    said = np.stack([load_predictions(part / "test.safetensors").merged for part in parts])
    spread = pd.read_csv(data / "train.csv")[list(TARGETS)].to_numpy().std(0)
    apart = (np.abs(said[0] - said[1]) / 2 / spread).max(1)
    limit = min(float(np.median(apart)), 0.49)
    run("pseudo", "--run-dir", runs / "one", "--confidence", 1 - limit)
    frame, file = pd.read_csv(runs / "one" / "pseudo.csv"), load_predictions(runs / "one" / "pseudo.safetensors")
    ids = load_predictions(parts[0] / "test.safetensors").ids
    rows = np.flatnonzero(apart <= limit + 1e-9)
    assert 0 < len(rows) < NUM_TEST and frame["id"].tolist() == ids[rows].tolist() == file.ids.tolist()
    assert np.array(file.values["sure"]).all() and np.array_equal(file.probs, said[:, rows])
    rule = json.loads((runs / "one" / "rule.json").read_text())
    mean = np.clip(said.mean(0)[rows], rule["low"], rule["high"])
    assert frame[list(TARGETS)].to_numpy() == pytest.approx(mean, rel=1e-5)
    common = ["--data", data, "--run-dir", tmp_path / "more", "--pseudo", runs / "one"]
    for command in ("prepare", "train", "validate"):
        run(command, runs / "recipe.json", *common, *([] if command == "prepare" else ["--fold", 0]))
    scale = read_values(tmp_path / "more" / "fold0" / "model.safetensors")["scale"]
    folds = pd.read_csv(tmp_path / "more" / "folds.csv").set_index("id")["fold"]
    known = pd.read_csv(data / "train.csv").set_index("id")[list(TARGETS)]
    rest = known.loc[[one for one in known.index if folds[one] != 0]].to_numpy()
    assert scale["shift"] == pytest.approx(np.concatenate([rest, mean]).mean(0), rel=1e-5)


def test_one_fold_has_nobody_to_agree_with(data, runs, tmp_path, capsys):
    folder = tmp_path / "alone"
    shutil.copytree(runs / "one", folder)
    (folder / "fold1" / "test.safetensors").unlink()
    run("validate", runs / "recipe.json", "--data", data, "--run-dir", folder, "--fold", 0)
    line = refused(capsys, "pseudo", "--run-dir", folder, "--confidence", 0.9)
    assert "only fold 0 has predicted the test set" in line


def test_another_runs_predictions_teach_in_the_numbers_own_units(data, runs, tmp_path):
    teachers = [runs / "two" / f"fold{fold}" / "oof.safetensors" for fold in range(2)]
    common = ["--data", data, "--run-dir", tmp_path / "taught"]
    words = ["--train.teacher", *teachers, "--train.watch", "loss"]
    run("prepare", runs / "recipe.json", *common, *words)
    run("train", *common, "--fold", 0)
    run("validate", *common, "--fold", 0)
    assert scores_of(tmp_path / "taught")["oof"] > 0


@pytest.mark.parametrize(
    ("train", "whole"),
    [
        (TrainConfig(loss="scaled_bce"), False),
        (TrainConfig(loss="l1", target_scale="log"), True),
        (TrainConfig(loss="mse"), False),
    ],
)
def test_other_losses_and_scales_learn_the_same_numbers(data, train, whole, tmp_path):
    table = TableFormat(task="regression", label_column="weight", group_column="group", sample_csv="one.csv")
    frame = pd.read_csv(data / "sample_submission.csv")[["id", "weight"]]
    frame.to_csv(data / "one.csv", index=False)
    path = tmp_path / "recipe.json"
    path.write_text(
        to_json(
            recipe_of(
                table=table, train=train, score=ScoreConfig(metric="mape"), rule=RuleConfig(kind="value", whole=whole)
            )
        )
    )
    common = ["--data", data, "--run-dir", tmp_path / "run"]
    run("prepare", path, *common)
    run("train", *common, "--fold", 0)
    run("validate", *common, "--fold", 0)
    run("infer", *common, "--fold", 0)
    scores = scores_of(tmp_path / "run")
    assert scores["oof"] < 0.8 * scores["constant"] and scores["lower_is_better"]
    cells = pd.read_csv(tmp_path / "run" / "submission.csv", dtype=str)["weight"]
    assert cells.str.fullmatch(r"\d+").all() == whole


def test_cells_that_are_no_numbers_are_named(data, tmp_path, capsys):
    frame = pd.read_csv(data / "train.csv", dtype=str)
    frame.loc[[2, 5], "height"] = ["tall", ""]
    frame.to_csv(data / "bad.csv", index=False)
    path = tmp_path / "recipe.json"
    path.write_text(to_json(recipe_of()))
    line = refused(
        capsys, "prepare", path, "--data", data, "--run-dir", tmp_path / "run", "--table.train-csv", "bad.csv"
    )
    assert "2 rows (p2, p5) with 'tall' or nothing instead of a number in column height" in line


def test_a_test_image_that_is_a_training_image_gets_its_numbers(runs, tmp_path):
    data = make_data(tmp_path / "data", seed=3)
    (data / "test" / f"p{NUM}.png").write_bytes((data / "train" / "p7.png").read_bytes())
    common = ["--data", data, "--run-dir", tmp_path / "run"]
    run("prepare", runs / "recipe.json", *common)
    run("duplicates", *common, "--action", "answer")
    for command in ("train", "validate", "infer"):
        run(command, *common, "--fold", 0)
    known = pd.read_csv(tmp_path / "run" / "known_answers.csv", dtype=str)
    truth = pd.read_csv(data / "train.csv").iloc[7]
    assert known["id"].tolist() == [f"p{NUM}"]
    assert [float(cell) for cell in known["label"][0].split("\x1f")] == pytest.approx(
        [truth["weight"], truth["height"]]
    )
    row = pd.read_csv(tmp_path / "run" / "submission.csv").iloc[0]
    assert [row["weight"], row["height"]] == pytest.approx([truth["weight"], truth["height"]])


def test_preflight_runs_numbers_in_miniature(data, tmp_path, capsys):
    path = tmp_path / "recipe.json"
    path.write_text(to_json(recipe_of()))
    run("preflight", path, "--data", data)
    assert "fold" in capsys.readouterr().out


def test_new_deals_a_test_set_from_numbers(data, tmp_path, monkeypatch):
    """A recipe that runs, with the numbers' own columns in the tables that are made."""
    monkeypatch.chdir(tmp_path)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "train").symlink_to(data / "train")
    pd.read_csv(data / "train.csv").drop(columns="group").to_csv(bare / "train.csv", index=False)
    run("new", "plants", "--data", bare, "--hold-out", 0.25, "--metric", "r2", "--label-column", "weight")
    sample, answers = (
        pd.read_csv(tmp_path / "plants-data" / name) for name in ("sample_submission.csv", "answers.csv")
    )
    assert len(answers) == NUM // 4 and sample["weight"].nunique() == 1 and 300 < sample["weight"][0] < 700
    common = ["--data", tmp_path / "plants-data", "--run-dir", tmp_path / "run", "--folds.num-folds", 2]
    run("prepare", "plants.py", *common)
    run("train", "plants.py", *common, "--fold", 0, "--stages.0.num-epochs", 3)
    run("validate", "plants.py", *common, "--stages.0.num-epochs", 3)
    run(
        "infer", "plants.py", *common, "--stages.0.num-epochs", 3, "--answers", tmp_path / "plants-data" / "answers.csv"
    )
    assert scores_of(tmp_path / "run")["metric"] == "r2" and "test" in scores_of(tmp_path / "run")
