"""Pseudo labels by rules of every kind, from test predictions written by hand; see also tests of the command."""

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from imettk.config import RankConfig, Recipe, RuleConfig, TableFormat, TrainConfig
from imettk.config.own import register_source
from imettk.errors import ConfigError, MismatchError, MissingFileError
from imettk.evaluation.judge import judge_of
from imettk.evaluation.pseudo import check_neighbours, check_selection, pseudo_by_rule, pseudo_classes
from imettk.inference.predictor import Predictions, load_predictions, save_predictions
from imettk.postprocess.pseudo import Selection
from imettk.postprocess.rule import Rule
from imettk.tracking.run_dir import RunDir

LABELS, ROWS, FILE = ("a", "b", "c"), 40, "d" * 64
IDS = np.array([f"t{row:02d}" for row in range(ROWS)])


@dataclass(frozen=True)
class Plain(Rule):
    """A user's own without a confidence."""

    kind: ClassVar[str] = "plain"

    def apply(self, probs):
        return probs > 0.5


@dataclass(frozen=True)
class Sure(Plain):
    """A user's own that is as sure as its least likely label."""

    kind: ClassVar[str] = "sure"

    def confidence(self, probs):
        return probs.min(1)


register_source(FILE, {"plain": Plain, "sure": Sure})


def recipe_of(kind, task="multilabel", **more):
    return Recipe(
        table=TableFormat(task=task, label_column="label", labels_csv=None),
        train=TrainConfig(loss="bce" if task == "multilabel" else "cross_entropy"),
        rule=RuleConfig(kind=kind),
        source_sha256=FILE,
        **more,
    )


def run_of(folder, probs, rule=None, ids=None, labels=LABELS):
    """A run with test predictions of each fold, and a rule."""
    for fold, part in enumerate(probs):
        path = folder / f"fold{fold}"
        path.mkdir(parents=True)
        (path / "model.safetensors").touch()
        name = IDS if ids is None else ids[fold]
        save_predictions(path / "test.safetensors", Predictions(name, part[None], {"labels": list(labels)}))
    if rule is not None:
        (folder / "rule.json").write_text(json.dumps(rule))
    return RunDir(folder)


def made(run):
    """The ids, cells, targets of each fold, and which folds are sure."""
    frame = pd.read_csv(run.path / "pseudo.csv", dtype=str, keep_default_na=False)
    file = load_predictions(run.path / "pseudo.safetensors")
    assert frame["id"].tolist() == file.ids.tolist()
    return file.ids.tolist(), frame.iloc[:, 1].tolist(), file.probs, np.array(file.values["sure"])


def label_probs(seed=0):
    return list(np.random.default_rng(seed).random((2, ROWS, 3)).astype(np.float32))


def class_probs(seed=0):
    return list(np.random.default_rng(seed).dirichlet([0.3] * 3, (2, ROWS)).astype(np.float32))


@pytest.mark.parametrize("hard", [False, True])
def test_a_users_own_rule_with_a_confidence_says_which_rows_are_sure(tmp_path, hard):
    probs = label_probs()
    run = run_of(tmp_path, probs, {"kind": "sure"})
    pseudo_by_rule(recipe_of("recipe:sure"), run, Selection(confidence=0.4, hard=hard))
    ids, cells, targets, sure = made(run)
    expected = np.array([part.min(1) >= 0.4 for part in probs])
    rows = np.flatnonzero(expected.any(0))
    assert 0 < len(rows) < ROWS and ids == IDS[rows].tolist() and sure.tolist() == expected[:, rows].tolist()
    for mine, part in zip(targets, probs, strict=True):
        assert mine.tolist() == (part[rows] > 0.5 if hard else part[rows]).tolist()
    for row, cell in zip(rows, cells, strict=True):
        mean = np.mean([part[row] for part, knows in zip(probs, expected[:, row], strict=True) if knows], axis=0)
        assert cell == " ".join(label for label, value in zip(LABELS, mean, strict=True) if value > 0.5)


def test_a_rule_without_a_confidence_is_one_line_with_the_run(tmp_path):
    run = run_of(tmp_path, label_probs(), {"kind": "plain"})
    with pytest.raises(ConfigError) as caught:
        pseudo_by_rule(recipe_of("recipe:plain"), run, Selection(confidence=0.9, hard=False))
    line = "pseudo labels need confidences of answers, and the rule plain has no confidence()"
    assert str(caught.value) == f"{tmp_path}: {line}"


@pytest.mark.parametrize("hard", [False, True])
def test_a_classifier_whose_answers_are_ranked_is_as_sure_as_its_likeliest_class(tmp_path, hard):
    probs = class_probs()
    run, recipe = run_of(tmp_path, probs), recipe_of("rank", "multiclass", ranking=RankConfig(by="probs"))
    pseudo_classes(recipe, run, Selection(confidence=0.9, hard=hard))
    ids, cells, targets, sure = made(run)
    expected = np.array([part.max(1) >= 0.9 for part in probs])
    rows = np.flatnonzero(expected.any(0))
    assert 0 < len(rows) < ROWS and ids == IDS[rows].tolist() and sure.tolist() == expected[:, rows].tolist()
    for mine, part in zip(targets, probs, strict=True):
        assert mine.tolist() == (np.eye(3)[part[rows].argmax(1)] if hard else part[rows]).tolist()
    for row, cell in zip(rows, cells, strict=True):
        mean = sum(part[row] for part, knows in zip(probs, expected[:, row], strict=True) if knows)
        assert cell == LABELS[int(np.argmax(mean))]


def test_shares_are_of_all_test_rows_and_not_of_the_sure_ones_alone(tmp_path):
    probs = label_probs(3)[0]
    shares = (0.5, 0.25, 0.75)
    run = run_of(tmp_path, [probs], {"kind": "share", "shares": shares, "min_labels": 0})
    pseudo_by_rule(recipe_of("share"), run, Selection(confidence=0.7, hard=True))
    ids, cells, targets, _ = made(run)
    chosen = np.zeros((ROWS, 3), bool)
    for label, share in enumerate(shares):
        chosen[np.argsort(-probs[:, label])[: int(share * ROWS)], label] = True
    rows = [IDS.tolist().index(one) for one in ids]
    assert 0 < len(rows) < ROWS and targets[0].tolist() == chosen[rows].tolist()
    assert cells == [" ".join(np.array(LABELS)[row]) for row in chosen[rows]], "what the fold itself answers"


def test_a_confidence_that_no_row_reaches_is_one_line_with_one_that_some_do(tmp_path):
    probs = class_probs()
    run = run_of(tmp_path, probs, {"kind": "argmax"})
    with pytest.raises(ConfigError) as caught:
        pseudo_by_rule(recipe_of("argmax", "multiclass"), run, Selection(confidence=1.5, hard=False))
    tenth, half = np.quantile(np.max([part.max(1) for part in probs], axis=0), [0.9, 0.5])
    assert str(caught.value) == (
        "no test row is as sure as 1.5 in any fold: lower --confidence; a tenth of the rows is as sure "
        f"as {tenth:.3g}, half of them as {half:.3g}"
    )
    assert not (tmp_path / "pseudo.csv").exists()


def test_folds_of_other_rows_are_refused_and_so_is_a_run_without_predictions(tmp_path):
    recipe = recipe_of("argmax", "multiclass")
    run = run_of(tmp_path / "other", class_probs(), {"kind": "argmax"}, ids=[IDS, IDS[::-1].copy()])
    with pytest.raises(MismatchError, match=r"fold1/test\.safetensors has other rows or labels than fold0's"):
        pseudo_by_rule(recipe, run, Selection(confidence=0.5, hard=False))
    with pytest.raises(MissingFileError, match=r"holds no fold\*/test\.safetensors: run `imettk infer` first"):
        pseudo_classes(recipe, RunDir(tmp_path / "none"), Selection(confidence=0.5, hard=False))


NUMBERS = Recipe(
    table=TableFormat(task="regression", label_columns=("a",), labels_csv=None),
    train=TrainConfig(loss="mse"),
    rule=RuleConfig(kind="value"),
)
RANKED = recipe_of("rank", "multiclass", ranking=RankConfig(by="probs"))
UNITS = replace(NUMBERS, table=replace(NUMBERS.table, unit_columns=("patient",)))


@pytest.mark.parametrize(
    ("recipe", "selection", "folds", "says"),
    [
        (RANKED, Selection(None, power=None), [0], "only fold 0 is trained: train another, or give --confidence"),
        (NUMBERS, Selection(0.8), [1], "and only fold 1 is trained: train another"),
        (NUMBERS, Selection(0.8, power=2.0), [0, 1], "--power is of probabilities, and this recipe predicts numbers"),
        (UNITS, Selection(0.8), [0, 1], "pseudo labels are of images, and this recipe answers units of several"),
    ],
)
def test_what_can_never_be_labelled_is_known_before_any_prediction(recipe, selection, folds, says):
    with pytest.raises(ConfigError) as caught:
        judge_of(recipe).check_pseudo(selection, folds)
    assert says in str(caught.value)
    check_selection(RANKED, Selection(0.8), [0])


@pytest.mark.parametrize("selection", [Selection(None, 0.5), Selection(0.8, power=2.0)])
def test_neighbours_know_no_share_and_no_power(selection):
    with pytest.raises(ConfigError, match="here neighbours answer: give --confidence"):
        check_neighbours(RANKED, selection, [0])
