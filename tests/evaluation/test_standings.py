"""The table of a search, from candidates whose answers are made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imettk.evaluation.paired import compare_runs, keep_judged
from imettk.evaluation.standings import compare_candidates, conclude, table_of, verdict_of
from imettk.experiment.candidates import BASE, Candidate, Search
from imettk.metrics.paired import PairedScores
from imettk.recipes.digits import digits
from imettk.tracking.run_dir import RunDir

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
def made(tmp_path) -> tuple[Search, dict[str, Path]]:
    """Candidates whose answers are wrong in a fifth, a fifth (others), and a twentieth of the cells; two are out."""
    rng = np.random.default_rng(0)
    targets = rng.random((ROWS, 3)) < 0.4
    candidates = [Candidate(BASE, {"stages.0.lr": "0.006"}, [0.3, 0.7])]
    candidates += [Candidate(name, {"stages.0.lr": name}, [0.4, 0.7]) for name in ("alike", "good")]
    candidates += [Candidate("dropped", {"stages.0.lr": "9"}, [0.2])]
    candidates += [Candidate("broken", {"stages.0.lr": "8"}, fault="no such network")]
    folders = {}
    for candidate, share in zip(candidates[:3], (0.2, 0.2, 0.05), strict=True):
        folders[candidate.name] = tmp_path / candidate.name
        answers = targets ^ (rng.random(targets.shape) < share)
        run = RunDir(folders[candidate.name])
        run.save_recipe(digits())
        keep_judged(run, np.arange(ROWS).astype(str), answers, targets, groups=None, labels=LABELS)
        candidate.score = digits().scorer.score(answers, targets)
    return Search("0" * 16, {"stages.0.lr": ["1"]}, 0, True, (0.5, 1.0), candidates), folders


def test_the_table_has_what_log_compare_prints_and_a_verdict_on_all(made):
    search, folders = made
    standings = compare_candidates(search, digits().scorer, folders)
    assert standings.best == "good" and standings.equals == [] and not standings.faults
    seconds = dict.fromkeys([*folders, "dropped", "broken"], 3.0)
    head, base, alike, good, dropped, broken = table_of(search, standings, "F2", seconds).splitlines()
    assert head.split("  ")[:3] == ["candidate", "stages.0.lr", "F2"]
    assert base.split()[3:] == ["-", "-", "-", "3"]
    for name, row, verdict in (("alike", alike, "equal"), ("good", good, "better")):
        paired = compare_runs(folders[BASE], folders[name])
        interval = [f"{paired.low:+.4f}", "to", f"{paired.high:+.4f}"]
        assert row.split()[2:] == [f"{paired.second:.4f}", f"{paired.difference:+.4f}", *interval, verdict, "3"]
    assert dropped.split()[2:] == ["0.2000", "-0.1000", "-", "dropped", "at", "50%", "3"]
    assert broken.split()[2:] == ["-", "-", "-", "failed", "3"]


def test_the_conclusion_names_the_best_its_equals_and_a_command(made):
    search, folders = made
    standings = compare_candidates(search, digits().scorer, folders)
    best, following = conclude(standings, Path("runs/x"), dict.fromkeys(folders, 3.0))
    assert best == "best: good"
    assert "`imettk train --run-dir runs/x/good --inputs runs/x` trains its other folds" in following
    (good,) = [candidate for candidate in search.candidates if candidate.name == "good"]
    good.score = None
    standings = compare_candidates(search, digits().scorer, folders)
    assert {standings.best, *standings.equals} == {BASE, "alike"}
    best, following = conclude(standings, Path("runs/x"), {BASE: 4.0, "alike": 3.0})
    assert best.endswith(f"not to be told from it on these rows: {standings.equals[0]} (alike took the least time)")
    assert "next: keep the base" in following
    following = conclude(replace(standings, best=BASE), Path("runs/x"), {BASE: 4.0, "alike": 3.0})[1]
    assert following == "next: keep the base, and vary something else"


def test_a_candidate_without_its_answers_is_named(made):
    search, folders = made
    (folders["good"] / "judged.safetensors").unlink()
    standings = compare_candidates(search, digits().scorer, folders)
    assert standings.best == "good" and set(standings.with_base) == {"alike"} and standings.with_best == {}
    assert "good is not compared: " in standings.faults[0] and "no judged.safetensors" in standings.faults[0]
