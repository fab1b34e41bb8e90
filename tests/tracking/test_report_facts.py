"""Facts of a run: scores first, durations in units that fit, unknown values left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from imettk.tracking.report_facts import noted_facts, score_facts, training_facts
from imettk.tracking.summary import FoldSummary


def fold_of(hours: float, *, step: int = 400) -> FoldSummary:
    codes = ("aaaa0000", "bbbb1111")
    return FoldSummary(0, Path("journal.jsonl"), 0.0, 9, 2, hours, step, 400, codes, {})


def test_scores_stand_with_their_interval_and_meaning():
    scores = {"metric": "map_at_5", "oof": 0.5, "interval": [0.4, 0.6], "constant": 0.1}
    score, constant = score_facts(scores, "MAP@5")
    assert (score.name, score.value) == ("OOF MAP@5", "0.5000 (95%: 0.4000 to 0.6000)")
    assert score.meaning.startswith("Mean of 1 / rank") and constant.value == "0.1000"
    (alone,) = score_facts({"metric": "recipe:mine", "oof": 0.5, "constant": None}, "mine")
    assert (alone.value, alone.meaning) == ("0.5000", "")
    assert score_facts({}, "score") == []


@pytest.mark.parametrize(("hours", "text"), [(0.01, "36 s"), (0.5, "30 min"), (1.6, "1.6 h"), (23.0, "23.0 h")])
def test_time_is_told_in_a_unit_that_fits(hours, text):
    facts = {fact.name: fact.value for fact in training_facts(None, [fold_of(hours)])}
    assert facts["time in sessions"] == text
    assert facts["folds trained"] == "1" and facts["sessions"] == "2" and facts["code"] == "aaaa0000, bbbb1111"


def test_what_is_not_known_is_left_out():
    assert training_facts(None, []) == [] == noted_facts({})
    facts = {"lb": {"public": 0.61, "private": None}, "note": {"text": "first"}}
    assert [(fact.name, fact.value) for fact in noted_facts(facts)] == [("LB public", "0.61"), ("note", "first")]
