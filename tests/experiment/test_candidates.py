"""The decisions of a search as functions of its scores, and its file."""

from __future__ import annotations

import json
import math

import pytest

from imettk.errors import MismatchError
from imettk.experiment.candidates import (
    BASE,
    FILE,
    RUNGS,
    Candidate,
    Search,
    begin_search,
    find_rungs,
    rank,
    read_search,
)
from imettk.experiment.grid import make_grid, parse_vary
from imettk.recipes.digits import digits


def search_of(scores: dict[str, list[float]], *, higher: bool = True) -> Search:
    candidates = [Candidate(name, {}, list(values)) for name, values in scores.items()]
    return Search("0" * 16, {}, 0, higher, RUNGS, candidates)


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
    (tmp_path / FILE).write_text(json.dumps(content | {"candidates": [{"named": "x"}]}))
    with pytest.raises(MismatchError, match=r"search\.json is damaged"):
        read_search(tmp_path / FILE)
