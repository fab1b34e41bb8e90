"""Votes from `new` to a submission: shares that are learned, weighted, calibrated, blended and taught."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from scipy.special import rel_entr
from tiny import refused, run, scores_of

from imettk.commands.assembly import vote_weights
from imettk.config import ExtraTable
from imettk.data.table import read_table
from imettk.inference.predictor import load_predictions
from imettk.recipes import load_recipe

NUM, NUM_TEST = 36, 9
LABELS = ("a_vote", "b_vote", "c_vote")
SMALL = ["--images.image-size", 32, 32, "--stages.0.num-epochs", 8, "--stages.0.batch-size", 6, "--folds.num-folds", 2]
SMALL += ["--session.num-workers", 0, "--session.tensorboard", False]


def make_data(folder, seed=0):
    """The colour of a picture says which label has most votes; pictures of the first label have twice as many."""
    rng = np.random.default_rng(seed)
    for part, count, first in (("train", NUM, "t"), ("test", NUM_TEST, "q")):
        (folder / part).mkdir(parents=True)
        rows = []
        for number in range(count):
            pixels = rng.integers(0, 60, (32, 32, 3))
            pixels[:, :, number % 3] += 150
            cv2.imwrite(str(folder / part / f"{first}{number}.png"), pixels.astype(np.uint8))
            votes = rng.multinomial(8 + 8 * (number % 3 == 0), 0.15 + 0.55 * np.eye(3)[number % 3])
            rows.append({"id": f"{first}{number}", **dict(zip(LABELS, votes.tolist(), strict=True))})
        pd.DataFrame(rows).to_csv(folder / ("train.csv" if part == "train" else "answers.csv"), index=False)
    sample = pd.read_csv(folder / "answers.csv")
    sample[list(LABELS)] = [0.333, 0.333, 0.334]
    sample[["id", *LABELS[::-1]]].to_csv(folder / "sample_submission.csv", index=False)
    return folder


def shares_of(csv):
    votes = pd.read_csv(csv)[list(LABELS)].to_numpy(float)
    return votes / votes.sum(1, keepdims=True)


def divergence(shares, probs):
    return rel_entr(shares, np.clip(probs, 1e-15, 1 - 1e-15)).sum(1).mean()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("votes") / "data")


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Two runs with all commands, of the recipe that `new` writes."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("new", "mine", "--data", data)
    for name, words in (("one", ["--train.vote-weight", 1.0]), ("two", ["--stages.0.mixup", 0.2])):
        common = [folder / "mine.py", "--data", data, "--run-dir", folder / name, *SMALL, *words]
        for command in ("prepare", "train", "validate"):
            run(command, *common)
        run("infer", *common, "--answers", data / "answers.csv")
    return folder


def test_new_writes_a_recipe_of_votes(runs):
    recipe = load_recipe(str(runs / "mine.py"))
    assert recipe.table.task == "votes" and recipe.table.label_columns == LABELS[::-1]  # as the sample has them
    assert recipe.train.loss == recipe.scorer.name == "kl_divergence"
    assert (recipe.rule.kind, recipe.rule.calibrate) == ("probability", "temperature")


def test_a_score_is_the_divergence_of_calibrated_probabilities(data, runs):
    scores, parts = scores_of(runs / "two"), []
    for fold in range(2):
        part = load_predictions(runs / "two" / f"fold{fold}" / "oof.safetensors")
        table = pd.read_csv(data / "train.csv").set_index("id").loc[part.ids, list(part.values["labels"])].to_numpy()
        assert part.targets == pytest.approx(table / table.sum(1, keepdims=True), abs=1e-6)
        parts.append(divergence(part.targets.astype(float), part.merged))
    assert scores["metric"] == "kl_divergence" and scores["lower_is_better"]
    assert scores["oof"] < 0.6 * scores["constant"]
    mean = shares_of(data / "train.csv").mean(0)
    assert scores["constant"] == pytest.approx(divergence(shares_of(data / "train.csv"), mean), rel=1e-4)
    assert scores["oof"] == pytest.approx(np.mean(parts), abs=0.05)
    assert scores["interval"][0] <= scores["oof"] <= scores["interval"][1]


def test_a_submission_has_rows_of_probabilities_and_is_scored_against_votes(data, runs):
    answers = pd.read_csv(runs / "one" / "submission.csv")
    assert list(answers) == ["id", *LABELS[::-1]] and answers["id"].tolist() == [f"q{row}" for row in range(NUM_TEST)]
    probs = answers[list(LABELS)].to_numpy()
    assert probs.sum(1) == pytest.approx(np.ones(NUM_TEST), abs=1e-7) and (probs > 0).all()
    truth = shares_of(data / "answers.csv")
    assert scores_of(runs / "one")["test"] == pytest.approx(divergence(truth, probs), rel=1e-5)


def test_rows_of_more_votes_count_as_much_more(data, runs):
    recipe = load_recipe(str(runs / "mine.py"))
    table = read_table(recipe.table, data)
    votes = pd.read_csv(data / "train.csv")[list(LABELS)].sum(axis=1).to_numpy()
    assert table.votes.tolist() == votes.tolist()
    rows = np.arange(0, NUM, 2)
    linear, root = (replace(recipe, train=replace(recipe.train, vote_weight=power)) for power in (1.0, 0.5))
    weights = vote_weights(linear, table, rows)
    assert weights == pytest.approx(votes / votes[rows].mean()) and weights[rows].mean() == pytest.approx(1)
    assert vote_weights(root, table, rows) ** 2 == pytest.approx(votes / np.sqrt(votes[rows]).mean() ** 2, rel=1e-5)
    pseudo = ExtraTable(csv="pseudo.csv", images="test", predictions="pseudo.safetensors")
    taught = replace(linear, table=replace(linear.table, extra=(pseudo,)))
    guessed = np.arange(NUM) % 4 == 2  # rows for which nobody has voted count as the mean of the others
    weights = vote_weights(taught, replace(table, sources=guessed.astype(np.int16)), rows)
    known = rows[~guessed[rows]]
    assert weights[guessed] == pytest.approx(weights[known].mean()) and weights[rows].mean() == pytest.approx(1)
    assert weights[known] / weights[known[0]] == pytest.approx(votes[known] / votes[known[0]])


def test_where_all_rows_have_as_many_votes_a_weight_changes_nothing(data, runs, tmp_path):
    frame, models = pd.read_csv(data / "train.csv"), []
    shares = dict(zip(LABELS, shares_of(data / "train.csv").T, strict=True))
    frame.assign(**shares).to_csv(data / "shares.csv", index=False)
    for csv, power in (("shares.csv", 0), ("shares.csv", 1), ("train.csv", 0), ("train.csv", 1)):
        common = [runs / "mine.py", "--data", data, "--run-dir", tmp_path / f"{csv}-{power}", *SMALL]
        common += ["--table.train-csv", csv, "--train.vote-weight", power, "--stages.0.num-epochs", 2]
        run("prepare", *common)
        run("train", *common, "--fold", 0)
        tensors = load_file(tmp_path / f"{csv}-{power}" / "fold0" / "model.safetensors")
        models.append(np.concatenate([tensors[name].ravel() for name in sorted(tensors)]))
    assert models[1] == pytest.approx(models[0], abs=1e-5) and models[2] == pytest.approx(models[0], abs=1e-5)
    assert np.abs(models[3] - models[0]).max() > 1e-4


def test_the_report_shows_which_labels_are_taken_for_which_and_how_far_shares_can_be_trusted(runs):
    page, curves = (runs / "one" / "report.html").read_text(), json.loads((runs / "one" / "curves.json").read_text())
    assert np.sum(curves["confusion"]["counts"]) == NUM and "Missing or damaged" not in page
    assert 0.4 < np.average(curves["calibration"]["shares"], weights=curves["calibration"]["counts"]) < 0.9


def test_pictures_are_answered_without_a_table(data, runs, capsys):
    capsys.readouterr()
    run("infer", "--data", data, "--run-dir", runs / "one", "--images", data / "test" / "q1.png")
    assert "q1.png: b_vote (0." in capsys.readouterr().out


def test_members_are_blended_and_blends_sum_to_1(data, runs, tmp_path):
    common = ["--data", data, "--members", runs / "one", runs / "two"]
    for method in ("mean", "weighted", "geometric", "rank"):
        folder = tmp_path / method
        run("ensemble", runs / "mine.py", *common, "--run-dir", folder, "--method", method, *SMALL)
        answers = pd.read_csv(folder / "submission.csv")[list(LABELS)].to_numpy()
        assert answers.sum(1) == pytest.approx(np.ones(NUM_TEST), abs=1e-6)
    alone = [scores_of(runs / name)["oof"] for name in ("one", "two")]
    assert scores_of(tmp_path / "weighted")["oof"] <= max(alone) + 0.01


@pytest.mark.parametrize("hard", [False, True])
def test_sure_test_rows_teach_their_shares(data, runs, tmp_path, hard):
    words = ["--hard"] if hard else []
    run("pseudo", runs / "mine.py", "--data", data, "--run-dir", runs / "one", "--confidence", 0.5, *SMALL, *words)
    frame = pd.read_csv(runs / "one" / "pseudo.csv")
    assert set(frame) == {"id", *LABELS} and (frame[list(LABELS)].sum(axis=1) == 1).all()
    probs = load_predictions(runs / "one" / "pseudo.safetensors").probs
    assert (np.sort(probs, axis=2)[..., :2].max() == 0) == hard
    common = [runs / "mine.py", "--data", data, "--run-dir", tmp_path / "run", *SMALL, "--pseudo", runs / "one"]
    for command in ("prepare", "train", "validate"):
        run(command, *common, *([] if command == "prepare" else ["--fold", 0]))
    assert scores_of(tmp_path / "run")["oof"] > 0


def test_another_runs_predictions_teach(data, runs, tmp_path):
    teachers = [runs / "two" / f"fold{fold}" / "oof.safetensors" for fold in range(2)]
    common = [runs / "mine.py", "--data", data, "--run-dir", tmp_path / "run", *SMALL, "--train.teacher", *teachers]
    for command in ("prepare", "train", "validate"):
        run(command, *common, *([] if command == "prepare" else ["--fold", 0]))
    assert scores_of(tmp_path / "run")["oof"] < scores_of(tmp_path / "run")["constant"]


def test_a_test_image_that_is_a_training_image_gets_its_shares(runs, tmp_path):
    data = make_data(tmp_path / "data", seed=3)
    (data / "test" / "q4.png").write_bytes((data / "train" / "t7.png").read_bytes())
    common = [runs / "mine.py", "--data", data, "--run-dir", tmp_path / "run", *SMALL]
    run("prepare", *common)
    run("duplicates", *common, "--action", "answer")
    for command in ("train", "validate", "infer"):
        run(command, *common, "--fold", 0)
    row = pd.read_csv(tmp_path / "run" / "submission.csv").set_index("id").loc["q4", list(LABELS)].to_numpy(float)
    clip = json.loads((tmp_path / "run" / "rule.json").read_text())["clip"]
    expected = np.clip(shares_of(data / "train.csv")[7], clip, 1 - clip)
    assert row == pytest.approx(expected / expected.sum(), abs=1e-6)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["0", "0", "0"], "2 rows (t2, t5) with votes below 0, or without any"),
        (["3", "-1", "0"], "2 rows (t2, t5) with votes below 0, or without any"),
        (["3", "many", ""], "2 rows (t2, t5) with nothing instead of a number in column c_vote"),
    ],
)
def test_rows_without_votes_are_named(data, runs, tmp_path, capsys, cells, message):
    frame = pd.read_csv(data / "train.csv", dtype=str)
    frame.loc[[2, 5], list(LABELS)] = cells
    frame.to_csv(data / "bad.csv", index=False)
    words = [runs / "mine.py", "--data", data, "--run-dir", tmp_path / "run", "--table.train-csv", "bad.csv"]
    assert message in refused(capsys, "prepare", *words)


def test_other_votes_are_other_data(data, runs, tmp_path, capsys):
    """Also where all shares are the same."""
    other = tmp_path / "data"
    other.mkdir()
    for part in ("train", "test", "sample_submission.csv"):
        (other / part).symlink_to(data / part)
    frame = pd.read_csv(data / "train.csv")
    frame[list(LABELS)] *= 2
    frame.to_csv(other / "train.csv", index=False)
    line = refused(capsys, "validate", "--data", other, "--run-dir", runs / "one")
    assert "rows have other labels" in line


def test_what_does_not_fit_votes_is_one_line(data, runs, tmp_path, capsys):
    for words, message in (
        (["--train.loss", "cross_entropy"], "`train.loss` cross_entropy does not take them (use kl_divergence)"),
        (
            ["--rule.kind", "argmax", "--rule.calibrate", None],
            "`rule.kind` argmax does not take them (use probability)",
        ),
        (["--table.label-columns", "a_vote"], "`label_columns` of TableFormat must be two or more"),
        (["--table.answer-columns", "a_vote", "b_vote"], "must be the columns of votes, each once"),
        (["--stages.0.sampler", "identities"], "sampler` identities needs a multiclass table"),
        (["--folds.scheme", "hold_out"], "need one identity per row: set `table.task` to multiclass"),
    ):
        line = refused(capsys, "prepare", runs / "mine.py", "--data", data, "--run-dir", tmp_path / "run", *words)
        assert message in line, line
    line = refused(capsys, "prepare", "digits", "--run-dir", tmp_path / "run", "--train.vote-weight", 1.0)
    assert "`train.vote_weight` must be 0 for rows without votes" in line


def test_new_deals_a_test_set_from_votes(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "train").symlink_to(data / "train")
    (bare / "train.csv").symlink_to(data / "train.csv")
    run("new", "mine", "--data", bare, "--hold-out", 0.25)
    sample = pd.read_csv("mine-data/sample_submission.csv")
    answers = pd.read_csv("mine-data/answers.csv")
    assert len(answers) == len(sample) == NUM // 4
    assert sample[list(LABELS)].sum(axis=1).to_numpy() == pytest.approx(np.ones(NUM // 4), abs=1e-5)
    assert (answers[list(LABELS)].sum(axis=1) >= 8).all()
    run("prepare", "mine.py", "--data", "mine-data", "--run-dir", "run", *SMALL)
