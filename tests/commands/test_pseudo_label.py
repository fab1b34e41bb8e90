"""`pseudo`: sure test rows as one more table, each fold with what its own models say."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny import refused, run

from imettk.config import to_json
from imettk.experiment.prepared import read_prepared
from imettk.experiment.teacher import with_teacher
from imettk.inference.predictor import Predictions, load_predictions, save_predictions
from imettk.recipes.digits import digits
from imettk.tracking.run_dir import RunDir

pytestmark = pytest.mark.usefixtures("no_charts_here")

TINY = ["--stages.0.num-epochs", "1", "--stages.0.batch-size", "16", "--stages.0.warmup-epochs", "0.5"]
TINY += ["--images.image-size", "32", "32", "--session.tensorboard", "false"]
LABELS = ("a", "b", "c")
THRESHOLDS = (0.3, 0.5, 0.6)
IDS = [f"t{row:02d}" for row in range(40)]


def logit(values: np.ndarray) -> np.ndarray:
    return np.log(values / (1 - np.asarray(values, np.float64)))


def make_probs(rng: np.random.Generator, num_labels: int, *, classes: bool = False) -> np.ndarray:
    """Probabilities of 40 rows in two views, some of them beyond doubt."""
    logits = 3 * rng.normal(size=(len(IDS), num_labels)) + 0.3 * rng.normal(size=(2, len(IDS), num_labels))
    if not classes:
        return (1 / (1 + np.exp(-logits))).astype(np.float32)
    return (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).astype(np.float32)


def write_run(
    folder: Path, probs: dict[int, np.ndarray], rule: dict, *, ids: list[str], labels: tuple[str, ...] = LABELS
) -> None:
    """Write what `pseudo` reads of a run: test predictions of each fold, beside a model, and the rule."""
    values = {"labels": list(labels), "label_groups": ["x"] * len(labels), "merge": "mean"}
    for fold, each in probs.items():
        path = folder / f"fold{fold}"
        path.mkdir(parents=True)
        (path / "model.safetensors").touch()
        save_predictions(path / "test.safetensors", Predictions(np.array(ids), each, values))
    (folder / "rule.json").write_text(json.dumps(rule))


def rule_of(thresholds: tuple[float, ...] = THRESHOLDS, **changes: object) -> dict:
    return {"kind": "threshold", "thresholds": list(thresholds), "min_labels": 1, **changes}


@pytest.fixture
def made(tmp_path) -> tuple[Path, dict[int, np.ndarray]]:
    """A run with test predictions of the folds 0 and 2, and their means over views."""
    folder, rng = tmp_path / "run", np.random.default_rng(0)
    probs = {fold: make_probs(rng, len(LABELS)) for fold in (0, 2)}
    probs[2][:, :10] = probs[0][:, :10]  # rows in which both agree
    write_run(folder, probs, rule_of(), ids=IDS)
    (folder / "recipe.json").write_text(to_json(digits()))
    return folder, {fold: each.mean(0) for fold, each in probs.items()}


def answers(probs: np.ndarray) -> np.ndarray:
    """With the thresholds; a row below all of them gets its most likely label."""
    chosen = probs >= THRESHOLDS
    for row in np.flatnonzero(~chosen.any(1)):
        chosen[row, probs[row].argmax()] = True
    return chosen


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
def test_each_fold_has_its_own_targets_and_its_own_sure_rows(made, capsys, confidence, hard):
    folder, probs = made
    run("pseudo", "--run-dir", folder, "--confidence", confidence, *(["--hard"] if hard else []))
    sure = {
        fold: np.array([min(abs(logit(row) - logit(THRESHOLDS))) >= logit(confidence) for row in each])
        for fold, each in probs.items()
    }
    rows = [row for row in range(len(IDS)) if sure[0][row] or sure[2][row]]
    assert len(rows) == 40 if confidence == 0.5 else 0 < len(rows) < 40
    file = load_predictions(folder / "pseudo.safetensors")
    assert file.ids.tolist() == [IDS[row] for row in rows] and file.values["folds"] == [0, 2]
    assert file.values["labels"] == list(LABELS) and file.values["kind"] == "pseudo"
    assert file.values["sure"] == [sure[fold][rows].tolist() for fold in (0, 2)]
    for ours, fold in zip(file.probs, (0, 2), strict=True):
        np.testing.assert_allclose(ours, answers(probs[fold])[rows] if hard else probs[fold][rows], rtol=1e-6)
    frame = pd.read_csv(folder / "pseudo.csv", dtype=str)
    assert list(frame.columns) == ["id", "attribute_ids"] and frame["id"].tolist() == file.ids.tolist()
    for row, cell in zip(rows, frame["attribute_ids"], strict=True):
        mean = np.mean([probs[fold][row] for fold in (0, 2) if sure[fold][row]], axis=0)
        assert cell == " ".join(np.array(LABELS)[answers(mean[None])[0]]), "of the folds that are sure of it"
    text = capsys.readouterr().out
    counts = f"(fold 0: {sure[0].sum()}, fold 2: {sure[2].sum()})"
    assert f"pseudo.csv: {len(rows)} of 40 test rows are sure {counts}" in text
    assert text.endswith(f"next: imettk prepare {folder}/recipe.json --run-dir {folder}-pseudo --pseudo {folder}\n")


def test_a_share_of_each_label_and_a_power(made):
    folder, probs = made
    run("pseudo", "--run-dir", folder, "--share", 0.25, "--power", 2)
    file = load_predictions(folder / "pseudo.safetensors")
    places = [IDS.index(name) for name in file.ids]
    for number, each in enumerate(probs.values()):
        levels = np.array([min(abs(logit(row) - logit(THRESHOLDS))) for row in each])
        taken = []
        for label in range(3):
            rows = np.flatnonzero(each.argmax(1) == label)
            taken += sorted(rows, key=lambda row: -levels[row])[: -(-len(rows) // 4)]
        assert [place for place, sure in zip(places, file.values["sure"][number], strict=True) if sure] == sorted(taken)
        double = 1 / (1 + np.exp(-2 * logit(each[places])))
        np.testing.assert_allclose(file.probs[number], double, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--confidence", 1], "--confidence must be in [0.5, 1), got 1"),
        (["--share", 0], "--share must be in (0, 1], got 0"),
        (["--power", 0], "--power must be above 0, got 0"),
        (["--share", 0.5, "--confidence", 0.8], "--confidence and --share both say which rows are taken"),
        (["--hard", "--power", 2], "--power is of probabilities, and --hard learns answers"),
    ],
)
def test_options_that_make_no_sense_are_one_line(made, capsys, options, line):
    assert line in refused(capsys, "pseudo", "--run-dir", made[0], *options)


@pytest.mark.parametrize("hard", [False, True])
def test_classes_are_sure_by_their_probability(tmp_path, hard):
    base = digits()
    table = replace(base.table, task="multiclass", label_column="label", labels_csv=None)
    recipe = replace(
        base, table=table, train=replace(base.train, loss="cross_entropy"), rule=replace(base.rule, kind="argmax")
    )
    rng = np.random.default_rng(0)
    probs = {fold: make_probs(rng, 3, classes=True) for fold in (0, 1)}
    write_run(tmp_path, probs, {"kind": "argmax"}, ids=IDS)
    (tmp_path / "recipe.json").write_text(to_json(recipe))
    run("pseudo", "--run-dir", tmp_path, "--confidence", 0.9, *(["--hard"] if hard else []))
    means = np.stack([probs[fold].mean(0) for fold in (0, 1)])
    sure = means.max(2) >= 0.9
    rows = np.flatnonzero(sure.any(0))
    assert 0 < len(rows) < 40
    file = load_predictions(tmp_path / "pseudo.safetensors")
    assert file.values["sure"] == sure[:, rows].tolist()
    np.testing.assert_allclose(file.probs, np.eye(3)[means.argmax(2)][:, rows] if hard else means[:, rows], rtol=1e-6)
    frame = pd.read_csv(tmp_path / "pseudo.csv")
    expected = [LABELS[np.mean(means[sure[:, row], row], axis=0).argmax()] for row in rows]
    assert frame["label"].tolist() == expected


def test_labels_that_are_chosen_by_their_place_alone(made, capsys):
    """As `validate` fits it where every row has one label and the likeliest is always right: thresholds of 2."""
    folder, probs = made
    (folder / "rule.json").write_text(json.dumps(rule_of((2.0, 2.0, 2.0))))
    run("pseudo", "--run-dir", folder, "--confidence", 0.8)
    falling = {fold: np.sort(logit(each), axis=1)[:, ::-1] for fold, each in probs.items()}
    sure = {fold: (each[:, 0] - each[:, 1]) / 2 >= logit(0.8) for fold, each in falling.items()}
    rows = np.flatnonzero(sure[0] | sure[2])
    frame = pd.read_csv(folder / "pseudo.csv", dtype=str)
    assert 0 < len(rows) < 40 and frame["id"].tolist() == [IDS[row] for row in rows]
    for row, cell in zip(rows, frame["attribute_ids"], strict=True):
        mean = np.mean([probs[fold][row] for fold in (0, 2) if sure[fold][row]], axis=0)
        assert cell == LABELS[mean.argmax()]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--confidence", 0.9999999], "no test row is as sure as 1 in any fold: lower --confidence"),
        (["--confidence", 0.9999999], r"a tenth of the rows is as sure as 0\.9\d+, half of them as 0\.\d+$"),
        (["--confidence", 1], r"--confidence must be in \[0.5, 1\), got 1"),
        (["--confidence", 0.4], r"--confidence must be in \[0.5, 1\), got 0.4"),
        (["--confidence", "nan"], r"--confidence must be in \[0.5, 1\), got nan"),
    ],
)
def test_a_confidence_that_cannot_be_is_one_line(made, capsys, words, message):
    folder, _ = made
    assert re.search(message, refused(capsys, "pseudo", "--run-dir", folder, *words))
    assert not list(folder.glob("pseudo.*"))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("relative", "pseudo labels need a rule with thresholds on probabilities"),
        ("nothing", "run: the rule gives no row a label, so there is nothing to be confident of"),
        ("labels of the rule", "the rule is for 2 labels, the predictions have 3"),
        ("no rule", "rule.json is not in .*: run `imettk validate` first"),
        ("no test", r"holds no fold\*/test.safetensors: run `imettk infer` first"),
        ("other rows", "fold2/test.safetensors has other rows or labels than fold0's: `infer` again"),
        ("broken", "fold2/test.safetensors is not a prediction file of imettk"),
    ],
)
def test_a_run_that_cannot_give_pseudo_labels_says_why(made, capsys, fault, message):
    folder, _ = made
    path = folder / "fold2" / "test.safetensors"
    if fault == "relative":
        (folder / "rule.json").write_text(json.dumps(rule_of(relative=True)))
    elif fault == "nothing":
        (folder / "rule.json").write_text(json.dumps(rule_of((2.0, 2.0, 2.0), min_labels=0)))
    elif fault == "labels of the rule":
        (folder / "rule.json").write_text(json.dumps(rule_of(THRESHOLDS[:2])))
    elif fault == "no rule":
        (folder / "rule.json").unlink()
    elif fault == "no test":
        for file in folder.glob("fold*/test.safetensors"):
            file.unlink()
    elif fault == "other rows":
        save_predictions(path, replace(load_predictions(path), ids=np.array(["other", *IDS[1:]])))
    else:
        path.write_bytes(b"broken")
    assert re.search(message, refused(capsys, "pseudo", "--run-dir", folder))
    assert not list(folder.glob("pseudo.*"))


def test_a_test_set_without_rows_is_one_line(tmp_path, capsys):
    folder = tmp_path / "run"
    write_run(folder, {0: np.zeros((2, 0, len(LABELS)), np.float32)}, rule_of(), ids=[])
    (folder / "recipe.json").write_text(to_json(digits()))
    assert "run has predicted is empty" in refused(capsys, "pseudo", "--run-dir", folder, "--confidence", 0.9)


@pytest.fixture
def students(own_data, tmp_path, capsys):
    """A run with pseudo labels of the tiny competition, and the words of a training on them; each row is sure in one
    fold alone, or in all."""
    labels = tuple(pd.read_csv(own_data / "labels.csv", dtype=str)["attribute_id"])
    ids = pd.read_csv(own_data / "sample_submission.csv", dtype=str)["id"].tolist()
    rng = np.random.default_rng(1)
    probs = {}
    for fold in range(3):
        certain = rng.random((len(ids), len(labels))) < 0.2
        certain[:, 0] = True  # so no row is without labels
        probs[fold] = np.where(certain, 0.97 - 0.01 * fold, 0.03)[None].astype(np.float32)
        probs[fold][0, fold::4, 1] = 0.5  # a doubt
    folder = tmp_path / "teacher"
    write_run(folder, probs, rule_of((0.5,) * len(labels)), ids=ids, labels=labels)
    (folder / "recipe.json").write_text(to_json(digits()))
    run("pseudo", "--run-dir", folder)
    common = ["--data", own_data, "--run-dir", tmp_path / "student"]
    return folder, common, {fold: each[0] for fold, each in probs.items()}, ids


def test_pseudo_rows_train_with_their_folds_targets_and_never_validate(students, tmp_path, capsys):
    folder, common, probs, ids = students
    run("prepare", "digits", *common, *TINY, "--pseudo", folder, "--pseudo-weight", 0.5)
    assert "24 rows of extra tables only train" in capsys.readouterr().out
    directory = RunDir(tmp_path / "student")
    recipe = directory.recipe()
    prepared = read_prepared(recipe, common[1], directory)
    assert prepared.table.ids.tolist()[72:] == ids and prepared.table.sources.tolist() == [0] * 72 + [1] * 24
    for fold in range(3):
        taught, digest = with_teacher(recipe, prepared, fold)
        assert not set(taught.rows(fold, valid=True)) & set(range(72, 96))
        assert taught.rows(fold, valid=True).tolist() == prepared.rows(fold, valid=True).tolist()
        unsure = np.arange(fold, 24, 4)
        trains = taught.rows(fold, valid=False)
        assert sorted(set(range(72, 96)) - set(trains.tolist())) == (72 + unsure).tolist()
        assert trains[trains < 72].tolist() == np.flatnonzero(prepared.folds[:72] != fold).tolist()
        sure = np.setdiff1d(np.arange(24), unsure)
        targets = taught.table.targets
        assert targets.dtype == np.float32 and digest != "none"
        np.testing.assert_array_equal(targets[72 + sure], probs[fold][sure])
        np.testing.assert_array_equal(targets[:72], prepared.table.targets[:72])
    assert len({with_teacher(recipe, prepared, fold)[1] for fold in range(3)}) == 3
    again = ["train", "digits", *common, *TINY, "--fold", 1]  # as one does whose recipe.py has a network of its own
    assert "was prepared for another recipe: table.extra" in refused(capsys, *again)
    run(*again, "--pseudo", folder, "--pseudo-weight", 0.5)
    status = json.loads((tmp_path / "student" / "fold1" / "status.json").read_text())
    assert status["num_steps"] == (48 + 18 // 2) // 16
    run("validate", *common)
    made = load_predictions(tmp_path / "student" / "fold1" / "oof.safetensors")
    assert set(made.ids) == set(prepared.table.ids[prepared.rows(1, valid=True)])
    assert json.loads((tmp_path / "student" / "scores.json").read_text())["rows"] == 24


def test_missing_or_foreign_pseudo_files_are_one_line(students, tmp_path, capsys):
    folder, common, _, ids = students
    line = refused(capsys, "prepare", "digits", *common, *TINY, "--pseudo", tmp_path / "nowhere")
    assert "nowhere/pseudo.csv is missing: run `imettk pseudo` first, which writes it" in line
    line = refused(capsys, "prepare", "digits", *common, *TINY, "--pseudo", folder, "--pseudo-weight", 0)
    assert "`weight` of ExtraTable must be above 0, got 0" in line
    run("prepare", "digits", *common, *TINY, "--pseudo", folder)
    (path,) = (tmp_path / "student").glob("learned-*.safetensors")  # those of the teacher's folder do not matter now
    shutil.rmtree(folder)
    whole = load_predictions(path)
    train = ["train", *common, "--fold", 1]
    save_predictions(path, Predictions(whole.ids[1:], whole.probs[:, 1:], whole.values))
    assert f"{path} lacks 1 row ({ids[0]})" in refused(capsys, *train)
    save_predictions(path, replace(whole, values=whole.values | {"folds": [0, 5, 2]}))
    assert "lacks fold 1, and has folds [0, 5, 2]" in refused(capsys, *train)
    save_predictions(path, replace(whole, values=whole.values | {"labels": whole.values["labels"][::-1]}))
    assert "was not written by `imettk pseudo`, or has other labels than the table" in refused(capsys, *train)
    save_predictions(path, replace(whole, probs=1 - whole.probs))
    assert "are other labels than those that this recipe learns" in refused(capsys, *train)
    save_predictions(path, replace(whole, values={"labels": whole.values["labels"]}))
    assert "was not written by `imettk pseudo`" in refused(capsys, *train)
    path.unlink()
    assert "`table.extra.0.predictions`" in (line := refused(capsys, *train)) and "is missing" in line
