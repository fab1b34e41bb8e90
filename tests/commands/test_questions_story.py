"""Several questions an image from the table to a submission: a head each, folds, rule, ensembles, pseudo labels."""

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, log_loss, recall_score
from tiny import refused, run, scores_of, two_runs

from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    PredictConfig,
    Recipe,
    ScoreConfig,
    SessionConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
    to_json,
)
from imettk.config.answers import RuleConfig
from imettk.inference.predictor import load_predictions

NUM, NUM_TEST = 48, 12
CLASSES = {"colour": ["blue", "green", "red"], "stripe": ["2", "10"]}  # numbers in the order of their size
QUESTIONS = tuple(CLASSES)


def make_data(folder, seed=0):
    """The channel that is bright is a picture's colour, how wide it is so its stripe, which a few rows have wrong; the
    sample turns the columns around."""
    rng = np.random.default_rng(seed)
    rows = [(row % 3, row // 3 % 2) for row in range(NUM + NUM_TEST)]
    frames = []
    for part, places in (("train", range(NUM)), ("test", range(NUM, NUM + NUM_TEST))):
        (folder / part).mkdir(parents=True)
        for row in places:
            picture = rng.normal(90, 12, (32, 32, 3))
            picture[:, : (6, 28)[rows[row][1]], rows[row][0]] += 120
            cv2.imwrite(str(folder / part / f"p{row}.png"), picture.clip(0, 255).astype(np.uint8))
        wrong = [(0, row % 11 == 0) for row in places]
        columns = {
            name: [CLASSES[name][rows[row][at] ^ off[at]] for row, off in zip(places, wrong, strict=True)]
            for at, name in enumerate(QUESTIONS)
        }
        frames.append(pd.DataFrame({"id": [f"p{row}" for row in places], **columns}))
    frames[0].assign(group=np.arange(NUM) // 2).to_csv(folder / "train.csv", index=False)
    frames[1].to_csv(folder / "answers.csv", index=False)
    pd.DataFrame({"id": frames[1]["id"], "stripe": 2, "colour": "red"}).to_csv(
        folder / "sample_submission.csv", index=False
    )
    return folder


def recipe_of(**changes):
    parts = {
        "table": TableFormat(
            task="questions", label_columns=QUESTIONS, answer_columns=QUESTIONS[::-1], group_column="group"
        ),
        "folds": FoldConfig(num_folds=2),
        "images": ImageFormat(image_size=(32, 32)),
        "model": ModelConfig(backbone="timm:test_resnet"),
        "train": TrainConfig(loss="question_cross_entropy", loss_params={"weights": "2 1"}),
        "stages": (StageConfig(num_epochs=8, batch_size=8, lr=(3e-3,), sampler="balanced", mixup=0.2),),
        "predict": PredictConfig(views=("plain", "vflip")),
        "score": ScoreConfig(metric="macro_recall", params={"weights": "3 1"}),
        "rule": RuleConfig(kind="argmax_each"),
        "session": SessionConfig(num_workers=0, tensorboard=False),
    }
    return Recipe(**(parts | changes))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("questions") / "data")


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Two runs with all commands, and their common folder."""
    return two_runs(tmp_path_factory.mktemp("runs"), recipe_of(), data)


def oof_of(folder):
    """Probabilities, targets, and the classes of each question that they say."""
    parts = [load_predictions(folder / f"fold{fold}" / "oof.safetensors") for fold in range(2)]
    probs, targets = (np.concatenate(each) for each in ([one.merged for one in parts], [one.targets for one in parts]))
    return probs, targets, parts[0].values["labels"]


def split(array):
    return np.split(array, [3], axis=1)


def test_labels_are_a_class_of_a_column_each_and_probabilities_sum_to_1_in_each(runs):
    probs, targets, labels = oof_of(runs / "one")
    assert labels == ["colour=blue", "colour=green", "colour=red", "stripe=2", "stripe=10"]
    assert targets.dtype == np.uint8 and all((part.sum(1) == 1).all() for part in split(targets))
    assert all(part.sum(1) == pytest.approx(1, abs=1e-5) for part in split(probs))


def test_folds_hold_all_classes_of_all_questions_and_whole_groups(data, runs):
    folds = pd.read_csv(runs / "one" / "folds.csv")["fold"]
    table = pd.read_csv(data / "train.csv")
    assert (folds.groupby(table["group"]).nunique() == 1).all()
    for question in QUESTIONS:
        counts = pd.crosstab(folds, table[question])
        assert (counts.max() - counts.min()).max() <= 4


def test_scores_are_scikit_learns(runs):
    probs, targets, _ = oof_of(runs / "one")
    scores = scores_of(runs / "one")
    pairs = [(part.argmax(1), given.argmax(1)) for part, given in zip(split(targets), split(probs), strict=True)]
    recalls = [recall_score(*pair, average="macro") for pair in pairs]
    assert scores["metric"] == "macro_recall" and scores["oof"] == pytest.approx(0.75 * recalls[0] + 0.25 * recalls[1])
    assert scores["accuracy"] == pytest.approx(np.mean([accuracy_score(*pair) for pair in pairs]))
    assert scores["constant"] == pytest.approx(0.75 / 3 + 0.25 / 2) and scores["oof"] > 0.8
    assert scores["interval"][0] <= scores["oof"] <= scores["interval"][1]


def test_each_question_has_its_line_in_print_and_report(data, runs, capsys):
    capsys.readouterr()
    run("validate", "--data", data, "--run-dir", runs / "two")
    probs, targets, _ = oof_of(runs / "two")
    right = np.mean(split(probs)[1].argmax(1) == split(targets)[1].argmax(1))
    assert f"stripe: accuracy {right:.4f}, macro recall" in capsys.readouterr().out
    assert scores_of(runs / "two")["parts"]["stripe"]["accuracy"] == pytest.approx(right)
    page = (runs / "two" / "report.html").read_text()
    assert "By question" in page and f">{right:.4f}<" in page and "Missing or damaged" not in page
    rows = pd.read_csv(runs / "two" / "label_scores.csv")
    assert rows["group"].tolist() == ["colour"] * 3 + ["stripe"] * 2
    assert rows["true"].tolist() == targets.sum(0).tolist()


def test_a_submission_has_a_column_a_question_as_the_sample(data, runs):
    answers = pd.read_csv(runs / "one" / "submission.csv", dtype=str)
    mean = np.mean([load_predictions(runs / "one" / f"fold{fold}" / "test.safetensors").merged for fold in range(2)], 0)
    assert list(answers) == ["id", "stripe", "colour"]
    for name, part in zip(QUESTIONS, split(mean), strict=True):
        assert answers[name].tolist() == [CLASSES[name][place] for place in part.argmax(1)]
    truth = pd.read_csv(data / "answers.csv", dtype=str)
    recalls = [recall_score(truth[name], answers[name], average="macro", zero_division=0) for name in QUESTIONS]
    assert scores_of(runs / "one")["test"] == pytest.approx(0.75 * recalls[0] + 0.25 * recalls[1])


def test_pictures_are_answered_without_a_table(data, runs, capsys):
    capsys.readouterr()
    run("infer", "--data", data, "--run-dir", runs / "one", "--images", data / "test" / f"p{NUM}.png")
    line = capsys.readouterr().out.splitlines()[-1]
    mean = np.mean([load_predictions(runs / "one" / f"fold{fold}" / "test.safetensors").merged for fold in range(2)], 0)
    for name, part in zip(QUESTIONS, split(mean[:1]), strict=True):
        assert f"{name}={CLASSES[name][part.argmax()]} ({part.max():.2f})" in line


def test_members_are_blended_and_teach_and_give_pseudo_labels(data, runs, tmp_path):
    common = ["--data", data, "--members", runs / "one", runs / "two"]
    run("ensemble", runs / "recipe.json", *common, "--run-dir", tmp_path / "both", "--method", "weighted")
    alone = [scores_of(runs / name)["oof"] for name in ("one", "two")]
    assert scores_of(tmp_path / "both")["oof"] >= min(alone) and (tmp_path / "both" / "submission.csv").is_file()
    run("pseudo", "--run-dir", runs / "one", "--confidence", 0.5)
    made = pd.read_csv(runs / "one" / "pseudo.csv", dtype=str)
    answers = pd.read_csv(runs / "one" / "submission.csv", dtype=str).set_index("id")
    assert list(made) == ["id", *QUESTIONS] and len(made) > NUM_TEST / 2
    assert (made.set_index("id") == answers.loc[made["id"], list(QUESTIONS)]).to_numpy().mean() > 0.9
    teachers = [runs / "two" / f"fold{fold}" / "oof.safetensors" for fold in range(2)]
    common = ["--data", data, "--run-dir", tmp_path / "taught"]
    run("prepare", runs / "recipe.json", *common, "--pseudo", runs / "one", "--train.teacher", *teachers)
    run("train", *common, "--fold", 0)
    run("validate", *common, "--fold", 0)
    assert scores_of(tmp_path / "taught")["oof"] > 0.7


def test_log_loss_judges_probabilities(data, runs, tmp_path):
    words = ["--score.metric", "log_loss", "--score.params"]
    run("validate", "--data", data, "--run-dir", runs / "two", *words)
    probs, targets, _ = oof_of(runs / "two")
    losses = [
        log_loss(true.argmax(1), part / part.sum(1, keepdims=True), labels=range(part.shape[1]))
        for part, true in zip(split(probs.astype(np.float64)), split(targets), strict=True)
    ]
    assert scores_of(runs / "two")["oof"] == pytest.approx(np.mean(losses), abs=1e-5)


def test_a_test_image_that_is_a_training_image_gets_its_classes(runs, tmp_path):
    data = make_data(tmp_path / "data", seed=3)
    (data / "test" / f"p{NUM}.png").write_bytes((data / "train" / "p7.png").read_bytes())
    common = ["--data", data, "--run-dir", tmp_path / "run"]
    run("prepare", runs / "recipe.json", *common)
    run("duplicates", *common, "--action", "answer")
    for command in ("train", "validate", "infer"):
        run(command, *common, "--fold", 0)
    truth = pd.read_csv(data / "train.csv", dtype=str).iloc[7]
    row = pd.read_csv(tmp_path / "run" / "submission.csv", dtype=str).iloc[0]
    assert [row[name] for name in QUESTIONS] == [truth[name] for name in QUESTIONS]


def test_preflight_runs_questions_in_miniature(data, tmp_path, capsys):
    path = tmp_path / "recipe.json"
    path.write_text(to_json(recipe_of()))
    run("preflight", path, "--data", data)
    assert "fold" in capsys.readouterr().out


def test_what_does_not_fit_is_one_line(data, tmp_path, capsys):
    path = tmp_path / "recipe.json"
    path.write_text(to_json(recipe_of()))
    common = ["prepare", path, "--data", data, "--run-dir", tmp_path / "run"]
    frame = pd.read_csv(data / "train.csv", dtype=str)
    frame.loc[[2, 5], "stripe"] = ""
    frame.to_csv(data / "bad.csv", index=False)
    for words, what in (
        (["--table.train-csv", "bad.csv"], "2 rows (p2, p5) without a class in stripe"),
        (["--train.loss-params", "weights", "1 2 3"], "weights must be 2 numbers"),
        (["--score.params", "weights", "1 2 3"], "weights must be 2 numbers"),
        (["--stages.0.label-smoothing", 0.1], "`stages.0.label_smoothing` must be 0 for a questions table"),
        (["--table.answer-columns", "stripe", "size"], "must be the questions colour, stripe"),
        (["--table.label-columns"], "`label_columns` of TableFormat must be given: a column a question"),
    ):
        assert what in refused(capsys, *common, *words), words


def test_new_deals_a_test_set_from_questions(data, tmp_path, monkeypatch):
    """A recipe that runs, with the questions' own columns in the tables that are made."""
    monkeypatch.chdir(tmp_path)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "train").symlink_to(data / "train")
    pd.read_csv(data / "train.csv").drop(columns="group").to_csv(bare / "train.csv", index=False)
    run("new", "letters", "--data", bare, "--hold-out", 0.25, "--task", "questions")
    sample, answers = (
        pd.read_csv(tmp_path / "letters-data" / name) for name in ("sample_submission.csv", "answers.csv")
    )
    assert list(sample) == list(answers) == ["id", *QUESTIONS] and len(answers) == NUM // 4
    assert sample["colour"].nunique() == 1 and sample["colour"][0] in CLASSES["colour"]
    common = ["--data", tmp_path / "letters-data", "--run-dir", tmp_path / "run", "--folds.num-folds", 2]
    common += ["--stages.0.num-epochs", 3]
    run("prepare", "letters.py", *common)
    run("train", "letters.py", *common, "--fold", 0)
    run("validate", "letters.py", *common)
    run("infer", "letters.py", *common, "--answers", tmp_path / "letters-data" / "answers.csv")
    assert scores_of(tmp_path / "run")["metric"] == "macro_recall" and "test" in scores_of(tmp_path / "run")


def test_rows_of_questions_from_new_to_a_submission(data, tmp_path, monkeypatch):
    """A sample with a row for each image and question, as in Bengali.AI 2019."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "rows"
    folder.mkdir()
    for part in ("train", "test"):
        (folder / part).symlink_to(data / part)
    pd.read_csv(data / "train.csv").drop(columns="group").to_csv(folder / "train.csv", index=False)
    answers = pd.read_csv(data / "answers.csv", dtype=str)
    rows = [f"{name}_{question}" for name in answers["id"] for question in sorted(QUESTIONS)]
    dummies = ["red" if row.endswith("colour") else 2 for row in rows]
    pd.DataFrame({"row_id": rows, "target": dummies}).to_csv(folder / "sample_submission.csv", index=False)
    run("new", "letters", "--data", folder, "--metric", "macro_recall")
    common = ["--data", folder, "--run-dir", tmp_path / "run", "--stages.0.num-epochs", 8, "--folds.num-folds", 2]
    for command in ("prepare", "train", "validate", "infer"):
        run(command, "letters.py", *common)
    submission = pd.read_csv(tmp_path / "run" / "submission.csv", dtype=str)
    assert submission["row_id"].tolist() == rows and list(submission) == ["row_id", "target"]
    truth = answers[sorted(QUESTIONS)].to_numpy().ravel()
    assert (submission["target"] == truth).mean() > 0.7
