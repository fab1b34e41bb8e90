"""Confidence and power, chosen on out-of-fold rows that are drawn from known probabilities."""

from __future__ import annotations

import json

import numpy as np
import pytest

from imettk.config import Recipe, RuleConfig, TableFormat, TrainConfig
from imettk.errors import ConfigError
from imettk.evaluation import pseudo
from imettk.evaluation.pseudo import pseudo_by_rule
from imettk.evaluation.pseudo_choice import CONFIDENCES, POWERS, choose_selections, rules_of_others
from imettk.evaluation.rules import fitter_of
from imettk.inference.predictor import Predictions, load_predictions, save_predictions
from imettk.postprocess.pseudo import Selection, worth
from imettk.postprocess.rule import Likeliest, Thresholds
from imettk.tracking.run_dir import RunDir

LABELS, ROWS = ("a", "b", "c"), 600
OPEN = Selection(None, power=None)
VALUES = {"labels": list(LABELS), "label_groups": ["x"] * 3}
RECIPE = Recipe(
    table=TableFormat(task="multiclass", label_column="label", labels_csv=None),
    train=TrainConfig(loss="cross_entropy"),
    rule=RuleConfig(kind="argmax"),
)


def softmax(logits: np.ndarray) -> np.ndarray:
    return (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)


def write(folder, *, power=1.0, seed=0, folds=3, worse=1.0) -> RunDir:
    """Write predictions whose power is the truth's probability; `worse` is another power, of rows in doubt."""
    rng = np.random.default_rng(seed)
    for fold in range(folds):
        logits = 2 * rng.normal(size=(ROWS, 3))
        true = softmax(power * logits)
        true[true.max(1) < 0.7] = softmax(worse * np.log(true[true.max(1) < 0.7]))
        targets = (true.cumsum(1) > rng.random((ROWS, 1))).argmax(1)
        path = folder / f"fold{fold}"
        path.mkdir(parents=True, exist_ok=True)
        ids = np.array([f"{fold}-{row}" for row in range(ROWS)])
        save_predictions(path / "oof.safetensors", Predictions(ids, softmax(logits)[None], VALUES, targets))
        (path / "model.safetensors").touch()
    return RunDir(folder)


def chosen(run: RunDir, selection: Selection = OPEN) -> list[Selection]:
    folds = run.trained_folds()
    return [picked for picked, _ in choose_selections(RECIPE, run, Likeliest(), folds, selection)]


def test_predictions_that_are_honest_are_left_as_they_are_and_all_are_worth_learning(tmp_path):
    assert chosen(write(tmp_path)) == [Selection(0.5, power=1.0)] * 3


@pytest.mark.parametrize("power", [0.7, 2.0])
def test_the_power_is_the_one_that_mends_the_predictions(tmp_path, power):
    assert {picked.power for picked in chosen(write(tmp_path, power=power))} == {power}


def test_rows_that_mislead_are_left_out(tmp_path):
    assert {picked.confidence for picked in chosen(write(tmp_path, worse=-3.0))} == {0.7}


def test_what_is_given_is_not_chosen(tmp_path):
    run = write(tmp_path, power=2.0)
    assert chosen(run, Selection(0.6, power=None)) == [Selection(0.6, power=2.0)] * 3
    assert chosen(run, Selection(None, 0.9, None)) == [Selection(None, 0.9, 2.0)] * 3
    assert [picked.power for picked in chosen(run, Selection(None, power=1.5))] == [1.5] * 3


def test_hard_labels_are_worth_their_right_rows(tmp_path):
    run = write(tmp_path, worse=-3.0)
    for fold, picked in enumerate(chosen(run, Selection(None, power=None, hard=True))):
        others = [load_predictions(tmp_path / f"fold{other}/oof.safetensors") for other in range(3) if other != fold]
        probs, targets = np.concatenate([file.merged for file in others]), np.concatenate([f.targets for f in others])
        right = (probs.argmax(1) == targets).astype(float)
        values = {confidence: worth(probs.max(1) >= confidence, right) for confidence in CONFIDENCES}
        assert picked == Selection(max(values, key=values.get), power=1.0, hard=True) and picked.confidence > 0.5


def test_a_folds_own_rows_have_no_part_in_its_choice(tmp_path):
    before = chosen(write(tmp_path, power=2.0))
    path = tmp_path / "fold1/oof.safetensors"
    file = load_predictions(path)
    honest = file.probs**2 / (file.probs**2).sum(2, keepdims=True)
    save_predictions(path, Predictions(file.ids, honest, file.values, file.targets))
    after = chosen(RunDir(tmp_path))
    assert after[1] == before[1] and after[0] != before[0] and after[2] != before[2]


def test_thresholds_are_fitted_on_the_other_folds_too(tmp_path):
    recipe = Recipe(table=TableFormat(label_column="label", labels_csv=None), rule=RuleConfig(kind="threshold"))
    rng, files = np.random.default_rng(0), []
    for fold in range(3):
        probs = rng.random((200, 3)).astype(np.float32)
        targets = (rng.random((200, 3)) < probs).astype(np.uint8)
        files.append(Predictions(np.arange(200).astype(str), probs[None], VALUES, targets))
        (tmp_path / f"fold{fold}").mkdir()
        save_predictions(tmp_path / f"fold{fold}/oof.safetensors", files[-1])
    fitter = fitter_of(recipe, ("x",) * 3, labels=LABELS)
    given = Thresholds(thresholds=(0.9, 0.9, 0.9))
    for fold, (picked, rule) in enumerate(choose_selections(recipe, RunDir(tmp_path), given, [0, 1, 2], OPEN)):
        others = [file for other, file in enumerate(files) if other != fold]
        probs, targets = (np.concatenate(parts) for parts in ([f.merged for f in others], [f.targets for f in others]))
        assert rule == fitter.on(probs, targets)(np.arange(400)) != given and picked == Selection(0.5, power=1.0)
        assert rules_of_others(recipe, RunDir(tmp_path), given, [0, 1, 2])[fold] == rule
    assert rules_of_others(recipe, RunDir(tmp_path), given, [0]) == [given]


@pytest.mark.parametrize(
    ("selection", "folder", "is_strict"),
    [(Selection(0.6), None, False), (Selection(0.6, hard=True), None, True), (Selection(0.6), "round1", True)],
)
def test_given_a_confidence_hard_answers_and_rounds_go_by_the_rules_of_the_other_folds(
    tmp_path, monkeypatch, selection, folder, is_strict
):
    given, fitted = Thresholds(thresholds=(0.5,) * 3), [Thresholds(thresholds=(part,) * 3) for part in (0.2, 0.8)]
    seen = []

    def rules(*arguments: object) -> list[Thresholds]:
        seen.append(arguments)
        return fitted

    monkeypatch.setattr(pseudo, "rules_of_others", rules)
    probs = np.full((1, 1, 3), 0.6, np.float32)
    for fold in range(2):
        (tmp_path / f"fold{fold}").mkdir()
        (tmp_path / f"fold{fold}/model.safetensors").touch()
        save_predictions(tmp_path / f"fold{fold}/test.safetensors", Predictions(np.array(["t"]), probs, VALUES))
    (tmp_path / "rule.json").write_text(json.dumps({"kind": "threshold", **given.to_json()}))
    out = tmp_path / (folder or "")
    recipe = Recipe(table=TableFormat(task="multilabel"), rule=RuleConfig(kind="threshold"))
    pseudo.pseudo_by_rule(recipe, RunDir(tmp_path), selection, out=None if folder is None else out)
    made = load_predictions(out / "pseudo.safetensors")
    assert len(seen) == is_strict and made.values["sure"] == [[True], [True]]
    assert made.probs[:, 0, 0].tolist() == pytest.approx([1, 0] if selection.hard else [0.6, 0.6])


def test_predictions_that_tell_nothing_are_one_line(tmp_path):
    run = write(tmp_path)
    for fold in range(3):
        path = tmp_path / f"fold{fold}/oof.safetensors"
        file = load_predictions(path)
        save_predictions(path, Predictions(file.ids, file.probs, file.values, file.probs[0].argmin(1)))
    with pytest.raises(ConfigError, match="tell less about the truth than the shares of labels do: train longer"):
        chosen(run)
    with pytest.raises(ConfigError, match="more wrong than right at any confidence: leave out --hard"):
        chosen(run, Selection(None, power=None, hard=True))


def test_one_fold_has_no_others_to_choose_on(tmp_path):
    with pytest.raises(ConfigError, match="only fold 0 is trained: train another, or give --confidence and --power"):
        chosen(write(tmp_path, folds=1))


def test_each_fold_labels_with_its_own_choice(tmp_path, capsys):
    run = write(tmp_path, power=2.0)
    (tmp_path / "rule.json").write_text(json.dumps({"kind": "argmax"}))
    tests = {fold: softmax(2 * np.random.default_rng(fold).normal(size=(40, 3))) for fold in range(3)}
    for fold, probs in tests.items():
        ids = np.array([f"t{row}" for row in range(40)])
        save_predictions(tmp_path / f"fold{fold}/test.safetensors", Predictions(ids, probs[None], VALUES))
    pseudo_by_rule(RECIPE, run, OPEN, out=tmp_path / "round1")
    made = load_predictions(tmp_path / "round1/pseudo.safetensors")
    rows = [int(name[1:]) for name in made.ids]
    for fold, (probs, picked) in enumerate(zip(tests.values(), chosen(run), strict=True)):
        assert picked.power == 2.0 and picked.power in POWERS
        squared = probs[rows].astype(np.float64) ** 2
        np.testing.assert_allclose(made.probs[fold], squared / squared.sum(1, keepdims=True), rtol=1e-5)
        assert made.values["sure"][fold] == (probs[rows].max(1) >= picked.confidence).tolist()
    assert "train on them" not in capsys.readouterr().out and not (tmp_path / "pseudo.csv").exists()
