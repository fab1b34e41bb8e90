"""Several images of one breast give one answer, from the table to submissions, ensembles and a hidden test set."""

import json
import re
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from tiny import refused, run, two_runs

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

pytestmark = pytest.mark.usefixtures("no_charts")  # but in `runs`, whose report is looked at
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


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("breasts") / "data")


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Two runs with all commands, and their common folder."""
    return two_runs(tmp_path_factory.mktemp("runs"), recipe_of(), data)


def read(folder, name="scores.json"):
    return json.loads((folder / name).read_text())


POOLS = {
    "mean": lambda own: own.mean(),
    "max": lambda own: own.max(),
    "top_k": lambda own: np.sort(own)[::-1][:2].mean(),
    "noisy_or": lambda own: 1 - np.prod(1 - own),
}


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


LAYOUTS = {"columns": "unit_columns", "folders": "unit_folders=True", "views": "image_columns"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_new_recipe_goes_the_whole_way(tmp_path, monkeypatch, capsys, layout):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    lay_out(data, layout)
    run("new", "mine", "--data", data, *(["--metric", "roc_auc"] if layout == "columns" else []))
    assert "one answer per" in capsys.readouterr().out or layout == "columns"
    assert LAYOUTS[layout] in (tmp_path / "mine.py").read_text()
    common = [
        "mine.py",
        "--data",
        data,
        "--run-dir",
        tmp_path / "run",
        "--folds.num-folds",
        2,
        "--session.num-workers",
        0,
    ]
    common += ["--stages.0.num-epochs", 2, "--images.image-size", 32, 32, "--session.tensorboard", "false"]
    run("prepare", *common)
    assert "which give one answer each" in capsys.readouterr().out
    for fold in range(2):
        run("train", *common, "--fold", fold)
    run("validate", *common)
    run("infer", *common, "--answers", tmp_path / "answers.csv")
    answers, sample = (
        pd.read_csv(path) for path in (tmp_path / "run" / "submission.csv", data / "sample_submission.csv")
    )
    assert list(answers) == list(sample) and answers.iloc[:, 0].tolist() == sample.iloc[:, 0].tolist()
    train = pd.read_csv(data / "train.csv")
    units = train["patient_id"].nunique() * 2 if layout == "columns" else len(train)
    assert read(tmp_path / "run")["rows"] == units and 0 <= read(tmp_path / "run")["test"] <= 1


@pytest.mark.parametrize("layout", ["folders", "views"])
def test_new_deals_whole_units_to_a_test_set(tmp_path, monkeypatch, layout):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    lay_out(data, layout)
    for name in ("test.csv", "sample_submission.csv"):
        (data / name).unlink(missing_ok=True)
    shutil.rmtree(data / "test")
    run("new", "mine", "--data", data, "--hold-out", 0.25)
    made = tmp_path / "mine-data"
    common = [
        "mine.py",
        "--data",
        made,
        "--run-dir",
        tmp_path / "run",
        "--folds.num-folds",
        2,
        "--session.num-workers",
        0,
    ]
    common += ["--stages.0.num-epochs", 1, "--images.image-size", 32, 32, "--session.tensorboard", "false"]
    run("prepare", *common)
    run("train", *common, "--fold", 0)
    run("validate", *common, "--fold", 0)
    run("infer", *common, "--fold", 0, "--answers", made / "answers.csv")
    answers, held = pd.read_csv(tmp_path / "run" / "submission.csv"), pd.read_csv(made / "answers.csv")
    assert answers["study_id"].tolist() == held["study_id"].tolist() and 3 <= len(held) <= 6
    assert not set(held["study_id"]) & set(pd.read_csv(made / "train.csv")["study_id"])
    assert "test" in read(tmp_path / "run")


def test_studies_whose_sample_has_a_row_for_each_label_go_the_whole_way(tmp_path, monkeypatch):
    """RSNA's tables of the cervical spine (2022): a folder a study, a row a study and vertebra."""
    monkeypatch.chdir(tmp_path)
    data, labels, rng, frames = tmp_path / "data", ["C1", "C2"], np.random.default_rng(0), []
    for part, first, count in (("train", 0, 16), ("test", 100, 5)):
        frames.append(pd.DataFrame([(f"1.2.{first + row}", row % 2, row // 2 % 2) for row in range(count)],
                                   columns=["StudyInstanceUID", *labels]))  # fmt: skip
        for study, *broken in frames[-1].itertuples(index=False):
            for number in range(3):
                path = data / f"{part}_images" / study / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture(rng, sum(broken)))
    frames[0].to_csv(data / "train.csv", index=False)
    frames[1].to_csv(tmp_path / "answers.csv", index=False)
    asked = [f"{study}_{label}" for study in frames[1]["StudyInstanceUID"] for label in labels]
    pd.DataFrame({"row_id": asked, "fractured": 0.5}).to_csv(data / "sample_submission.csv", index=False)
    run("new", "mine", "--data", data)
    common = ["mine.py", "--data", data, "--run-dir", tmp_path / "run", "--folds.num-folds", 2]
    common += ["--stages.0.num-epochs", 1, "--session.num-workers", 0, "--session.tensorboard", "false"]
    run("prepare", *common)
    run("train", *common, "--fold", 0)
    run("validate", *common, "--fold", 0)
    run("infer", *common, "--fold", 0, "--answers", tmp_path / "answers.csv")
    answers = pd.read_csv(tmp_path / "run" / "submission.csv")
    assert answers["row_id"].tolist() == asked and answers["fractured"].between(0, 1).all()
    pool = POOLS[read(tmp_path / "run")["pool"]]
    test = load_predictions(tmp_path / "run" / "fold0" / "test.safetensors")
    made = pd.DataFrame(test.merged).groupby([name.split("/")[0] for name in test.ids])
    expected = made.agg(lambda own: pool(own.to_numpy())).loc[frames[1]["StudyInstanceUID"]]
    assert answers["fractured"].to_numpy() == pytest.approx(expected.to_numpy().ravel(), rel=1e-4)
