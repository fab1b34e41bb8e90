"""The table of a search, from candidates whose answers are made by hand."""

from __future__ import annotations

import errno
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imettk.evaluation.paired import compare_runs, keep_judged
from imettk.evaluation.standings import (
    compare_candidates,
    conclude,
    keep_judged_for_search,
    table_of,
    verdict_of,
)
from imettk.experiment.candidates import BASE, Candidate, Search
from imettk.metrics.paired import PairedScores
from imettk.recipes.digits import digits
from imettk.tracking.run_dir import JUDGED, JUDGED_BY_TRY, RunDir

ROWS, LABELS = 400, ("a", "b", "c")


@pytest.mark.parametrize(
    ("low", "high", "higher", "verdict"),
    [
        (0.1, 0.3, True, "better"),
        (0.1, 0.3, False, "worse"),
        (-0.3, -0.1, False, "better"),
        (-0.1, 0.3, True, "equal"),
        (math.nan, math.nan, True, "unknown"),
    ],
)
def test_a_difference_counts_where_its_interval_excludes_0(low, high, higher, verdict):
    difference = 0.0 if math.isnan(low) else (low + high) / 2
    assert verdict_of(PairedScores("F2", higher, 0.5, 0.5 + difference, low, high, 9, 1000)) == verdict


@pytest.fixture
def made(tmp_path) -> tuple[Search, dict[str, RunDir]]:
    """Candidates whose answers are wrong in a fifth, a fifth (others), and a twentieth of the cells; two are out."""
    rng = np.random.default_rng(0)
    targets = rng.random((ROWS, 3)) < 0.4
    candidates = [Candidate(BASE, {"stages.0.lr": "0.006"}, [0.3, 0.7])]
    candidates += [Candidate(name, {"stages.0.lr": name}, [0.4, 0.7]) for name in ("alike", "good")]
    candidates += [Candidate("dropped", {"stages.0.lr": "9"}, [0.2])]
    candidates += [Candidate("broken", {"stages.0.lr": "8"}, fault="no such network")]
    runs = {}
    for candidate, share in zip(candidates[:3], (0.2, 0.2, 0.05), strict=True):
        run = runs[candidate.name] = RunDir(tmp_path / candidate.name, [tmp_path])
        answers = targets ^ (rng.random(targets.shape) < share)
        run.save_recipe(digits())
        keep_judged(run, np.arange(ROWS).astype(str), answers, targets, groups=None, labels=LABELS)
        keep_judged_for_search(run)
        candidate.score = digits().scorer.score(answers, targets)
    return Search({}, {"stages.0.lr": ["1"]}, 0, True, (0.5, 1.0), candidates), runs


def test_the_table_has_what_log_compare_prints_and_a_verdict_on_all(made):
    search, runs = made
    standings = compare_candidates(search, digits().scorer, runs)
    assert standings.best == "good" and standings.equals == [] and not standings.faults
    seconds = dict.fromkeys([*runs, "dropped", "broken"], 3.0)
    head, base, alike, good, dropped, broken = table_of(search, standings, "F2", seconds).splitlines()
    assert head.split("  ")[:3] == ["candidate", "stages.0.lr", "F2"]
    assert base.split()[3:] == ["-", "-", "-", "3"]
    for name, row, verdict in (("alike", alike, "equal"), ("good", good, "better")):
        paired = compare_runs(runs[BASE].path, runs[name].path)
        interval = [f"{paired.low:+.4f}", "to", f"{paired.high:+.4f}"]
        assert row.split()[2:] == [f"{paired.second:.4f}", f"{paired.difference:+.4f}", *interval, verdict, "3"]
    assert dropped.split()[2:] == ["0.2000", "-0.1000", "-", "dropped", "at", "50%", "3"]
    assert broken.split()[2:] == ["-", "-", "-", "failed", "3"]


def test_the_conclusion_names_the_best_its_equals_and_a_command(made, tmp_path):
    search, runs = made
    standings = compare_candidates(search, digits().scorer, runs)
    best, following = conclude(standings, runs["good"], Path("my data"), dict.fromkeys(runs, 3.0))
    assert best == "best: good"
    words = f"--data 'my data' --run-dir {tmp_path}/good --inputs {tmp_path}"
    assert f"`imettk train {tmp_path}/good/recipe.json {words}` trains its other folds" in following
    (good,) = [candidate for candidate in search.candidates if candidate.name == "good"]
    good.score = None
    standings = compare_candidates(search, digits().scorer, runs)
    assert {standings.best, *standings.equals} == {BASE, "alike"}
    seconds = {BASE: 4.0, "alike": 3.0}
    best, following = conclude(standings, runs["alike"], Path("data"), seconds)
    assert best.endswith(f"not to be told from it on these rows: {standings.equals[0]} (alike took the least time)")
    assert "next: keep the base" in following
    following = conclude(replace(standings, best=BASE), runs[BASE], Path("data"), seconds)[1]
    assert following == "next: keep the base, and vary something else"


def test_a_candidate_without_its_answers_is_named(made):
    search, runs = made
    (runs["good"].path / JUDGED_BY_TRY).unlink()
    standings = compare_candidates(search, digits().scorer, runs)
    assert standings.best == "good" and set(standings.with_base) == {"alike"} and standings.with_best == {}
    assert standings.faults == [f"good is not compared: {runs['good'].path} has no {JUDGED_BY_TRY}"]


def test_nothing_is_concluded_from_nothing(made):
    search, runs = made
    search.candidates[2].score, search.candidates[0].score = math.nan, 0.9

    def conclusion() -> list[str]:
        standings = compare_candidates(search, digits().scorer, runs)
        return conclude(standings, runs[standings.best], Path("data"), dict.fromkeys(runs, 3.0))

    assert conclusion()[0].startswith("best: base")
    (runs[BASE].path / JUDGED_BY_TRY).unlink()
    assert conclusion() == ["no conclusion: nothing could be compared with the base"]
    search.candidates[1].score = 0.95
    assert conclusion() == ["no conclusion: alike has the best score, but could not be compared with the base"]


def test_an_interval_that_is_no_number_concludes_nothing(made):
    search, runs = made
    standings = compare_candidates(search, digits().scorer, runs)
    unknown = {name: replace(paired, low=math.nan, high=math.nan) for name, paired in standings.with_base.items()}
    for best, line in ((BASE, "nothing could be compared"), ("good", "good has the best score")):
        blind = replace(standings, best=best, with_base=unknown)
        assert line in conclude(blind, runs[best], Path("data"), dict.fromkeys(runs, 3.0))[0]


def test_what_the_search_judged_outlives_later_validations_and_is_found_in_inputs(made, tmp_path):
    search, runs = made
    before = compare_candidates(search, digits().scorer, runs)
    for run in runs.values():
        (run.path / JUDGED).write_bytes(b"of other folds")
    moved = {name: RunDir(tmp_path / "new" / name, [run.path, tmp_path]) for name, run in runs.items()}
    assert compare_candidates(search, digits().scorer, runs) == before
    assert compare_candidates(search, digits().scorer, moved) == before
    command = conclude(before, moved["good"], Path("data"), dict.fromkeys(runs, 3.0))[1]
    assert f"train {tmp_path}/good/recipe.json " in command
    assert f"--run-dir {tmp_path}/new/good --inputs {tmp_path}/good {tmp_path}`" in command


def test_a_copy_of_what_is_judged_no_more_is_removed_and_a_full_disk_is_a_note(made, monkeypatch, capsys):
    _, runs = made
    run = runs["good"]

    def write(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("imettk.evaluation.standings.write_atomically", write)
    keep_judged_for_search(run)
    assert not (run.path / JUDGED_BY_TRY).exists()
    assert "warning: no judged_by_try.safetensors, which the comparison" in capsys.readouterr().out
    (run.path / JUDGED_BY_TRY).write_bytes(b"of an earlier search")
    (run.path / JUDGED).unlink()
    keep_judged_for_search(run)
    assert not (run.path / JUDGED_BY_TRY).exists()
