"""Rounds go on with the settings and folds with which they began, and scores of other settings are none of theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from imettk.config import Recipe, RuleConfig
from imettk.errors import MismatchError
from imettk.experiment.rounds import FILE, Beginning, begin, is_scored, note_scored
from imettk.recipes.digits import digits
from imettk.tracking.files import read_json, write_json
from imettk.tracking.run_dir import RunDir

BASE = digits()
OPTIONS = {"share": 0.5, "weight": None}


def changed(section: str, **fields: object) -> Recipe:
    return replace(BASE, **{section: replace(getattr(BASE, section), **fields)})


OTHERS = [
    (changed("predict", views=("plain", "hflip")), "predict.views"),
    (changed("train", seed=5), "train.seed: 0 -> 5"),
    (changed("score", metric="f1_macro"), "score.metric"),
    (replace(BASE, rule=RuleConfig(beta=1.0)), "rule.beta"),
]


@pytest.mark.parametrize(("recipe", "says"), OTHERS)
def test_what_decides_about_scores_stays_once_the_rounds_have_begun(tmp_path, recipe, says):
    run, asked = RunDir(tmp_path), Beginning(OPTIONS, BASE, [0, 1])
    write_json(tmp_path / FILE, begin(run, asked, is_begun=False))
    assert begin(run, replace(asked, recipe=recipe), is_begun=False)["recipe"] != asked.to_json()["recipe"]
    with pytest.raises(MismatchError) as caught:
        begin(run, replace(asked, recipe=recipe), is_begun=True)
    assert says in str(caught.value)


def test_a_later_session_may_be_of_another_length_and_finds_the_beginning_in_its_inputs(tmp_path, capsys):
    first, asked = tmp_path / "first", Beginning(OPTIONS, BASE, [0, 1])
    write_json(first / FILE, begin(RunDir(first), asked, is_begun=False))
    session = replace(changed("session", limit_seconds=600.0), predict=replace(BASE.predict, batch_size=1))
    second = RunDir(tmp_path / "second", [first])
    assert begin(second, replace(asked, recipe=session), is_begun=True) == read_json(first / FILE)
    assert begin(second, replace(asked, folds=[0, 1, 2]), is_begun=True)["folds"] == [0, 1]
    assert "the rounds began with folds 0, 1 and go on with them, not 0, 1, 2" in capsys.readouterr().out
    with pytest.raises(MismatchError, match=r"--share: 0.5 -> 0.25"):
        begin(second, replace(asked, options={**OPTIONS, "share": 0.25}), is_begun=True)
    write_json(first / FILE, OPTIONS)  # of an earlier version
    assert begin(second, asked, is_begun=True) == asked.to_json()


def test_scores_count_only_for_the_settings_and_folds_that_gave_them(tmp_path: Path):
    assert not is_scored(tmp_path, BASE, [0])
    note_scored(tmp_path, BASE, [0])  # nothing was judged
    (tmp_path / "judged.safetensors").write_text("answers")
    assert not is_scored(tmp_path, BASE, [0])
    note_scored(tmp_path, BASE, [0])
    assert is_scored(tmp_path, changed("session", num_workers=0), [0]) and not is_scored(tmp_path, BASE, [0, 1])
    assert not any(is_scored(tmp_path, recipe, [0]) for recipe, _ in OTHERS)
    (tmp_path / "judged.safetensors").write_text("answers of a `validate` with other options")
    assert not is_scored(tmp_path, BASE, [0])
