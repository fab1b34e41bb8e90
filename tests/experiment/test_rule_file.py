"""A rule is read back as it was kept, and refused where it was fitted for something else."""

import json
from dataclasses import replace

import pytest

from imettk.config import ScoreConfig
from imettk.errors import MismatchError, MissingFileError
from imettk.experiment.rule_file import RULE, keep_rule, read_rule
from imettk.recipes.digits import digits
from imettk.tracking.run_dir import RunDir

CONTENT = {"kind": "threshold", "thresholds": [0.25, 0.5]}
LABELS = ("a", "b")


@pytest.fixture
def run(tmp_path):
    """A run folder with a rule that was fitted on folds 0 and 2."""
    run = RunDir(tmp_path)
    keep_rule(run, CONTENT, digits(), LABELS, [2, 0])
    return run


def test_a_rule_is_read_back_without_what_it_was_fitted_for(run, capsys):
    assert read_rule(run, digits(), LABELS, [0, 2]) == CONTENT
    assert capsys.readouterr().out == ""


def test_folds_that_differ_are_told(run, capsys):
    assert read_rule(run, digits(), LABELS, [0, 1]) == CONTENT
    assert "was fitted on folds 0, 2, and 0, 1 predict (1, 2 only in one of them)" in capsys.readouterr().out


def test_a_rule_for_another_plan_names_the_fields_that_differ(run):
    other = replace(digits(), rule=replace(digits().rule, beta=1.0))
    with pytest.raises(MismatchError, match=r"was fitted for another rule \(rule\.beta: 2\.0 -> 1\.0\): run `imettk v"):
        read_rule(run, other, LABELS)


def test_a_rule_for_another_metrics_f_beta_is_another_rule(run):
    other = replace(digits(), score=ScoreConfig(metric="f1_macro"))
    with pytest.raises(MismatchError, match=r"rule\.beta: 2\.0 -> 1\.0; rule\.average: 'samples' -> 'macro'"):
        read_rule(run, other, LABELS)
    keep_rule(run, CONTENT, other, LABELS, [0])
    assert read_rule(run, other, LABELS) == CONTENT


def test_only_a_rule_of_units_says_how_they_are_pooled(tmp_path):
    recipe = replace(digits(), table=replace(digits().table, unit_columns=("study",)))
    for name, made, says in (("plain", digits(), False), ("units", recipe, True)):
        run = RunDir(tmp_path / name)
        run.path.mkdir()
        keep_rule(run, CONTENT, made, LABELS, [0])
        plan = json.loads((run.path / RULE).read_text())["fitted"]["plan"]["rule"]
        assert ("pool" in plan) == ("pool_size" in plan) == says
    other = replace(recipe, rule=replace(recipe.rule, pool="max"))
    with pytest.raises(MismatchError, match=r"rule\.pool: 'auto' -> 'max'"):
        read_rule(RunDir(tmp_path / "units"), other, LABELS)


@pytest.mark.parametrize("labels", [("b", "a"), ("a",), ("a", "b", "c")])
def test_a_rule_for_other_labels_is_refused(run, labels):
    with pytest.raises(MismatchError, match="was fitted for other labels: run `imettk validate` again"):
        read_rule(run, digits(), labels)


def test_a_rule_of_version_0_1_0_did_not_say_what_it_was_fitted_for(run):
    (run.path / RULE).write_text(json.dumps(CONTENT))
    assert read_rule(run, digits(), ("anything",)) == CONTENT


@pytest.mark.parametrize("fitted", [7, {}, {"plan": {"rule": 3}, "folds": [], "labels": ""},
                                    {"plan": {}, "folds": ["0"], "labels": ""}])  # fmt: skip
def test_damage_is_one_line(run, fitted):
    (run.path / RULE).write_text(json.dumps(CONTENT | {"fitted": fitted}))
    with pytest.raises(MismatchError, match="is damaged, it does not say what it was fitted for"):
        read_rule(run, digits(), LABELS)


def test_a_rule_that_is_not_there_names_the_command_that_writes_it(tmp_path):
    with pytest.raises(MissingFileError, match="validate"):
        read_rule(RunDir(tmp_path), digits(), LABELS)
