"""Benchmarks run with `--quick`, and those that do not depend on timing meet their bars."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from forked import PATIENCE
from places import PROJECT, SHARED

from imettk.config import to_json

BENCH = PROJECT / "tools" / "bench"
DATA = SHARED / "data"


@pytest.fixture(scope="module")
def run(forks) -> Callable[..., str]:
    """Run a benchmark's `main` in a forked process: some set threads, fork, or measure memory."""

    def run_main(name: str, *options: str) -> str:
        code = f"import sys; sys.path.insert(0, {str(BENCH)!r}); from {name} import main; main()"
        process = forks.start(options, code=code)
        assert process.wait(PATIENCE) == 0, f"{process.stdout}\n{process.stderr}"
        return process.stdout

    return run_main


def test_each_is_a_script_that_runs_its_main():
    """Skip modules without a `main`: benchmarks share them."""
    scripts = [path.read_text() for path in BENCH.glob("*.py") if "def main(" in path.read_text()]
    assert len(scripts) > 9
    for text in scripts:
        assert 'if __name__ == "__main__":' in text and text.endswith("\n    main()\n")


@pytest.mark.slow
def test_killed_trainings_end_with_the_same_bits(run):
    table = run("resume", "--quick", "--check")
    (row,) = [line.split() for line in table.splitlines() if line.startswith("imettk, 2 loader processes")]
    kills, trainings, same = map(int, row[-3:])
    assert kills == 4 and same == trainings >= 1


def test_crashes_at_some_file_events_leave_a_run_that_goes_on(run):
    """Crash at a seeded sample of events; the full table takes all of them."""
    pytest.importorskip("ckpt_chaos", reason="needs pip install -e .[bench]")
    assert "4 crashes, 0 failures" in run("crash_points", "--quick", "--check")


def test_what_strong_networks_take_is_as_told(run):
    assert "convnext_small, 384 px: MB" in run("activations", "--quick", "--check")


@pytest.mark.slow
def test_activations_computed_again_are_not_kept(run):
    assert "peak, MB" in run("checkpointing", "--quick", "--check")


@pytest.mark.parametrize(("beside", "held"), [(0.3, True), (0.6, False)])
def test_idle_threads_are_judged_alone_and_beside_others(beside, held, monkeypatch, capsys):
    """Use made-up seconds; only the full table trains."""
    monkeypatch.syspath_prepend(str(BENCH))
    import threads

    monkeypatch.setattr(threads, "BUSY", "import time; time.sleep(600)")
    seconds = iter([1.0, 1.0, 1.0, beside])  # by default and passive, alone; then beside two others
    monkeypatch.setattr(threads, "step_seconds", lambda network, policy: next(seconds))
    with pytest.raises(SystemExit) as ending:
        threads.main(["--quick", "--check"])
    assert (ending.value.code == 0) == held and "beside two busy ones" in capsys.readouterr().out


def test_small_members_of_some_families_pass_in_all_that_is_asked_of_backbones(run):
    """Try one size and one head; the full table takes all families."""
    assert "3 families, 0 failures" in run("backbones", "--quick", "--check")


def test_no_simulated_session_overruns(run):
    assert "MISSED" not in run("sessions", "--quick", "--check")


def test_the_trainers_table_has_its_rows(run):
    """Check the rows, not their timings: the machine is shared."""
    assert "tiny MLP: imettk, us a step" in run("trainer", "--quick")


@pytest.mark.parametrize(
    "values, bar, at_least, holds", [([1.2, 1.0, 0.9], 1.0, False, True), ([0.5], 0.9, True, False)]
)
def test_a_row_is_judged_by_its_median(values, bar, at_least, holds, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCH))
    from table import Row, print_table

    rows = [Row("one", values, bar=bar, at_least=at_least)]
    assert print_table(rows) == (not holds)
    assert ("MISSED" in capsys.readouterr().out) != holds
    ratio = Row("two", [2.0, 8.0, 3.0], baseline=[1.0, 2.0, 3.0], bar=1.5)
    assert ratio.judged == 2.0 and not ratio.holds


@pytest.mark.parametrize("part", ["decode", "geometry", "start"])
def test_the_input_table_has_its_rows(run, part):
    rows = {"decode": "1 to 3 MP to 256: imettk", "geometry": "one warp: geometry alone", "start": "first batch of"}
    assert rows[part] in run("input", "--quick", "--rows", part)


def test_the_table_of_formats_has_its_rows(run):
    pytest.importorskip("pydicom")
    pytest.importorskip("tifffile")
    table = run("formats", "--quick")
    assert "DICOM, JPEG 2000: files" in table and ".npy, 5 channels of float32: pixel cache" in table


def test_duplicates_are_found_and_look_alikes_are_not(run):
    table = run("duplicates", "--quick", "--check")
    assert "pairs of 3,000 images after hashing" in table


def test_nested_images_are_listed_in_little_time(run):
    assert "pathlib.rglob and a dict" in run("listing", "--quick", "--check")


def test_the_retrieval_table_has_its_rows(run):
    assert "scikit-learn" in run("retrieval", "--quick")


def test_folds_and_decisions_hold_their_bars_on_small_tables(run):
    """Check evenness and scores, which do not depend on the machine; seconds have no bar here."""
    if not DATA.is_dir():
        pytest.skip("shared/data is not here")
    run("folds", "--quick", "--check")
    assert "chexnet: one a label, shrunk to shares" in run("decisions", "--quick")


def test_the_thresholds_table_has_its_rows(run):
    if not DATA.is_dir():
        pytest.skip("shared/data is not here")
    assert "samples, 1 to 10 labels: seconds" in run("thresholds", "--quick", "--check")


def test_intervals_of_metrics_are_those_of_scikit_learns_samples(run):
    """Check seconds and differences on a small table."""
    assert "roc_auc, 2% true, s" in run("metrics", "--quick", "--check")


def test_cut_points_are_the_best_of_all_on_small_inputs(run):
    assert "quadratic_kappa: Nelder-Mead, times ours" in run("cutpoints", "--quick", "--check")


def test_the_same_bits_are_found_to_be_the_same(run, tmp_path):
    assert "submission.csv" in run("same_bits", "imet2019-freezing", "--save", str(tmp_path / "bits.json"))
    text = run("same_bits", "imet2019-freezing", "--against", str(tmp_path / "bits.json"), "--check")
    assert text.count("same\n") == 6 and "DIFFERS" not in text


def test_every_technique_changes_one_plain_recipe(monkeypatch):
    """Make the recipes, which checks their fields; only the full table trains."""
    monkeypatch.syspath_prepend(str(BENCH))
    from techniques import PLAIN, TECHNIQUES, plain

    recipes = {name: change(plain(SHARED / "weights")) for name, change in TECHNIQUES.items()}
    assert len({to_json(recipe) for recipe in recipes.values()}) == len(recipes) > 10
    assert recipes[PLAIN] == plain(SHARED / "weights")


def test_the_paired_interval_is_that_of_a_plain_bootstrap_over_groups(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    from paired import paired_interval

    generator = np.random.default_rng(1)
    groups, ids = generator.integers(0, 40, 300), np.arange(300)
    first, second = (pd.Series(generator.random(300), ids) for _ in range(2))
    mean, low, high = paired_interval(first, second, pd.Series(groups, ids))
    differences = (second - first).to_numpy()
    members = [differences[groups == number] for number in np.unique(groups)]
    samples = (generator.integers(0, len(members), len(members)) for _ in range(1000))
    draws = [np.concatenate([members[number] for number in sample]).mean() for sample in samples]
    assert mean == pytest.approx(float((second - first).mean()))
    assert (low, high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.01)
