"""The decisions of a search as functions of its scores, and its file."""

from __future__ import annotations

import json
import math

import pytest

from imettk.config.overrides import apply_overrides
from imettk.errors import ConfigError, MismatchError
from imettk.experiment.candidates import (
    BASE,
    FILE,
    RUNGS,
    Candidate,
    Search,
    begin_search,
    find_rungs,
    open_search,
    rank,
    read_search,
    require_alike,
)
from imettk.experiment.grid import make_grid, parse_vary
from imettk.recipes.digits import digits
from imettk.tracking.run_dir import RunDir


def search_of(scores: dict[str, list[float]], *, higher: bool = True) -> Search:
    candidates = [Candidate(name, {}, list(values)) for name, values in scores.items()]
    return Search({}, {"stages.0.lr": ["1"]}, 0, higher, RUNGS, candidates)


def names(candidates: list[Candidate]) -> list[str]:
    return [candidate.name for candidate in candidates]


def test_the_better_half_goes_on_and_the_base_beside_it():
    scores = {BASE: [0.1], "a": [0.5], "b": [0.7], "c": [math.nan], "d": [0.7], "e": [0.2]}
    search = search_of(scores)
    assert names(search.running(0)) == list(scores) and search.waiting(0) == []
    assert names(search.running(1)) == names(search.waiting(1)) == [BASE, "a", "b", "d"]
    assert names(search_of(scores, higher=False).running(1)) == [BASE, "a", "b", "e"]
    assert [search.state(candidate) for candidate in search.candidates] == [
        *("at 25%",) * 3, "dropped at 25%", "at 25%", "dropped at 25%",
    ]  # fmt: skip


def test_a_candidate_that_fails_later_changes_no_earlier_decision():
    search = search_of({BASE: [0.5, 0.5], "a": [0.9], "b": [0.8, 0.6], "c": [0.7], "d": [0.6]})
    search.candidates[1].fault = "diverged"
    assert names(search.running(1)) == [BASE, "a", "b"]
    assert search.waiting(1) == [] and names(search.running(2)) == [BASE, "b"]
    assert search.state(search.candidates[1]) == "failed"


def test_a_candidate_that_is_tried_again_with_success_takes_its_place():
    search = search_of({BASE: [0.5] * 3, "a": [], "b": [0.8, 0.6, 0.7], "c": [0.7]})
    search.candidates[1].fault = "no such file"
    assert all(search.waiting(rung) == [] for rung in range(3))
    search.candidates[1].fault = None
    assert names(search.waiting(0)) == ["a"]
    search.candidates[1].scores += [0.9]
    assert names(search.waiting(1)) == ["a"] and names(search.running(1)) == [BASE, "a", "b"]
    search.candidates[1].scores += [0.7, 0.8]
    assert names(search.unscored()) == [BASE, "a", "b"] and search.state(search.candidates[3]) == "dropped at 25%"


def test_rungs_lie_at_validations_and_the_last_one_at_the_end():
    assert find_rungs([3, 6, 9, 11], RUNGS) == [3, 6, 11]
    assert find_rungs([4, 8, 12, 16], RUNGS) == [4, 8, 16]
    assert find_rungs([11], RUNGS) == [11, 11, 11]


def test_equal_scores_keep_their_order_and_nan_comes_last():
    assert rank([0.5, math.nan, 0.7, 0.5], higher=True) == [2, 0, 3, 1]
    assert rank([0.5, math.nan, 0.7, 0.5], higher=False) == [0, 3, 2, 1]


def test_the_file_gives_the_search_back_and_a_damaged_one_is_refused(tmp_path):
    vary = parse_vary(["stages.0.lr=1e-3,2e-3"])
    search = begin_search(digits(), vary, make_grid(digits(), vary), fold=1, halving=True)
    search.candidates[1].scores += [0.25, math.nan]
    search.save(tmp_path)
    assert repr(read_search(tmp_path / FILE)) == repr(search)
    content = json.loads((tmp_path / FILE).read_text())
    for damage, what in (
        ({"candidates": [{"named": "x"}]}, r"candidates\.0\.name: "),
        ({"vary": []}, "vary: "),
        ({"vary": {}}, "rungs .*, 0 fields"),
        ({"rungs": [0.5]}, r"rungs \(0.5,\)"),
    ):
        (tmp_path / FILE).write_text(json.dumps(content | damage))
        with pytest.raises(MismatchError, match=rf"search\.json is damaged \({what}.*delete it"):
            read_search(tmp_path / FILE)


def test_a_search_goes_on_only_while_its_scores_may_be_compared(tmp_path):
    run, vary = RunDir(tmp_path), parse_vary(["stages.0.lr=1e-3"])
    search, _ = open_search(digits(), run, vary, fold=1, halving=False)
    search.save(tmp_path)
    base = apply_overrides(digits(), ["--session.limit-seconds", "900", "--cache.quality", "80"])
    assert open_search(base, run, {}, fold=None, halving=False)[0] == search
    for words, line in (
        (["--predict.views", "plain"], "predict.views: ("),
        (["--rule.beta", "1"], "rule.beta: 2.0 -> 1.0"),
        (["--score.params", "beta", "1"], "score.params: {} -> {'beta': 1}"),
        (["--train.seed", "7"], "train.seed: 0 -> 7"),
    ):
        with pytest.raises(MismatchError) as caught:
            open_search(apply_overrides(digits(), words), run, {}, fold=None, halving=False)
        assert line in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(MismatchError, match=r"other options \(--vary; --fold; --halving\)"):
        open_search(digits(), run, parse_vary(["train.seed=1"]), fold=0, halving=True)


def test_candidates_are_judged_at_like_shares_of_their_schedules():
    search = search_of({BASE: [], "a": [], "b": []})
    require_alike({BASE: [4, 8, 16], "a": [1, 2, 3], "b": [40, 80, 160]}, search_of({BASE: [], "b": []}))
    for unlike, shares in (([1, 1, 1], "100%/100%/100%"), ([2, 4, 5], "40%/80%/100%")):
        with pytest.raises(ConfigError, match=r"--train\.validate-epochs lower") as caught:
            require_alike({BASE: [4, 8, 16], "a": [4, 8, 16], "b": unlike}, search)
        assert f"b () would be judged at {shares}, the base at 25%/50%/100%" in str(caught.value)
