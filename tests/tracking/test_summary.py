"""A run folder is summarised from its files; facts that are cut short are skipped, and damaged ones reported."""

from __future__ import annotations

import pytest
from logged_runs import make_run

from imettk.errors import MismatchError
from imettk.tracking.summary import read_facts, summarise, write_fact


def test_what_a_run_folder_says(tmp_path):
    run = summarise(make_run(tmp_path / "run"))
    fold = run.folds[0]
    assert (fold.sessions, fold.step, fold.num_steps, fold.started) == (2, 40, 40, 1000.0)
    assert fold.hours == pytest.approx((20 + 36) / 3600)  # what was done again after the kill counts once
    assert fold.codes == ("aaaa0000", "bbbb1111")
    assert [step for _, step, _ in fold.curves["train/loss"]] == [10, 20, 30, 40]
    assert [step for _, step, _ in fold.curves["train/lr"]] == [10, 20, 30]


def test_facts_that_a_kill_cut_and_facts_that_are_damaged(tmp_path):
    folder = make_run(tmp_path / "run")
    write_fact(folder, "note", text="one")
    with (folder / "ledger.jsonl").open("a") as file:
        file.write('{"time": 1, "ev')
    assert read_facts(folder)["note"]["text"] == "one"
    write_fact(folder, "note", text="two")  # the cut line stays a line of its own
    with pytest.raises(MismatchError, match=r"ledger\.jsonl line 2 is damaged"):
        read_facts(folder)
