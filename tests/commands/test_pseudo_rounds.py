"""`pseudo --rounds` as typed: a chain of runs that kills cut short, and that ends the same."""

from __future__ import annotations

import json
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from forked import PATIENCE
from safetensors.numpy import load_file
from tiny import SMALL, TINY, refused, run

from imettk.commands import pseudo_rounds as module
from imettk.commands.pseudo_rounds import Request, make_student, pseudo_rounds
from imettk.evaluation.paired import compare_runs
from imettk.inference.predictor import Predictions, save_predictions
from imettk.metrics.paired import PairedScores
from imettk.postprocess.pseudo import Selection
from imettk.recipes.digits import digits
from imettk.tracking.run_dir import RunDir

pytestmark = pytest.mark.usefixtures("no_charts_here")

ASKED = ["--rounds", 2, "--share", 0.5, "--power", 1, "--weight", 2]
VIEWS = ["--predict.views", "plain"]


@pytest.fixture(autouse=True)
def logged(monkeypatch) -> list[Path]:
    """Keep what would go into the log, whose import takes seconds."""
    taken: list[Path] = []
    monkeypatch.setattr("imettk.cli.log.take_into_log", lambda folders, store: taken.extend(folders))
    return taken


@pytest.fixture
def always(monkeypatch) -> None:
    """Count every round as a gain, whatever this tiny network learns."""
    monkeypatch.setattr(module, "compare_runs", lambda *_: PairedScores("F2", True, 0.5, 0.6, -0.1, 0.3, 72, 1000))


@pytest.fixture(scope="module")
def teacher(digits_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rounds") / "run"
    common = ["--data", digits_data / "data", "--run-dir", folder]
    run("prepare", "digits", *common, *SMALL, *TINY, *VIEWS)
    run("train", *common)
    return folder


def weights(folder: Path) -> dict[str, dict[str, bytes]]:
    paths = sorted(folder.glob("round*/fold*/model.safetensors"))
    return {str(p.relative_to(folder)): {k: v.tobytes() for k, v in load_file(p).items()} for p in paths}


def test_rounds_end_the_same_after_a_kill_and_each_learns_what_the_one_before_labelled(
    teacher, digits_data, forks, tmp_path, always, logged, capsys
):
    folder, kept, earlier = (tmp_path / name for name in ("run", "kept", "earlier"))
    words = ["pseudo", "--data", digits_data / "data", "--run-dir", folder, *ASKED]
    shutil.copytree(teacher, folder)
    run(*words)
    text = capsys.readouterr().out
    assert "round 2: F2 0.6000, +0.1000 to round 1, 95% interval -0.1000 to +0.3000 (equal)" in text
    assert f"the best is round 2: {folder / 'round2'}" in text
    (note,) = (folder / "round2" / "ledger.jsonl").read_text().splitlines()
    assert json.loads(note)["text"].startswith("pseudo round 2: F2 0.6000, +0.1000 to round 1")
    assert logged == [folder, folder / "round1", folder / "round2"]
    folds = [pd.read_csv(part / "folds.csv", dtype={"id": str}).set_index("id") for part in (folder, folder / "round2")]
    assert folds[0]["fold"].to_dict().items() <= folds[1]["fold"].to_dict().items()
    recipe = RunDir(folder / "round2").recipe()
    assert [extra.csv for extra in recipe.table.extra] == [str(folder / "round2/pseudo.csv")]
    steps = [json.loads((part / "fold0/status.json").read_text())["num_steps"] for part in (folder, folder / "round2")]
    assert abs(steps[0] - steps[1]) <= 1
    assert recipe.table.extra[0].weight == 2.0 and not (folder / "round2" / "cache").exists()
    labels = [load_file(folder / name / "pseudo.safetensors")["probs"].tobytes() for name in ("round1", "round2")]
    assert labels[0] != labels[1]
    kept.mkdir()
    for name in ("round1", "round2"):
        (folder / name).rename(kept / name)
    process = forks.start([*words, "--session.checkpoint-seconds", 0])
    while not list((folder / "round1/fold1/checkpoints").glob("step-*.safetensors")):
        time.sleep(0.002)
        assert process.poll() is None, process.stderr
    process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL
    folder.rename(earlier)  # as the output of a kernel becomes the input of the next, whose folder has the same path
    run(*words, "--session.limit-steps", 1, "--inputs", earlier)
    assert "are paused; run the same command again to continue" in capsys.readouterr().out
    run(*words, "--session.limit-steps", "none", "--inputs", earlier)
    assert weights(earlier) | weights(folder) == weights(kept) and len(weights(kept)) == 4
    for name in ("round1/pseudo.csv", "round2/pseudo.csv", "round2/submission.csv", "round2/scores.json"):
        assert (folder / name).read_bytes() == (kept / name).read_bytes()


def test_a_round_that_does_not_gain_is_the_last_and_the_one_before_counts(
    teacher, digits_data, tmp_path, monkeypatch, capsys
):
    folder = Path(shutil.copytree(teacher, tmp_path / "run"))
    seen = []

    def compare(first: Path, second: Path) -> PairedScores:
        seen.append(compare_runs(first, second))
        return PairedScores("log loss", False, 0.5, 0.5, -0.1, 0.1, 72, 1000)

    monkeypatch.setattr(module, "compare_runs", compare)
    run("pseudo", "--data", digits_data / "data", "--run-dir", folder, *ASKED[:-2])
    text = capsys.readouterr().out
    assert "round 1: a labelled row comes 1 times in an epoch, and steps are as many" in text
    assert "round 1 does not gain: the rounds end here, and round 0 counts" in text
    assert f"the best is round 0: {folder}" in text and not (folder / "round2").exists()
    scores = [json.loads((part / "scores.json").read_text())["oof"] for part in (folder, folder / "round1")]
    assert [seen[0].first, seen[0].second] == pytest.approx(scores) and seen[0].rows == 72
    words = ["pseudo", "--data", digits_data / "data", "--run-dir", folder]
    line = refused(capsys, *words, "--rounds", 2, "--share", 0.25, "--power", 1)
    assert "rounds.json is of rounds with --share: 0.5 -> 0.25: give the same options" in line


def test_labelled_rows_outnumber_the_others_in_no_epoch_and_add_no_steps(tmp_path):
    (tmp_path / "pseudo.csv").touch()
    values = {"folds": [0, 1], "sure": [[True] * 90 + [False] * 10, [True] * 70 + [False] * 30]}
    save_predictions(
        tmp_path / "pseudo.safetensors", Predictions(np.arange(100).astype(str), np.zeros((2, 100, 1)), values)
    )
    folds = [0] * 20 + [1] * 30 + [-1] * 5 + [-2] * 40 + [-3] * 40  # 35 rows train in fold 0, 25 in fold 1
    pd.DataFrame({"id": range(len(folds)), "fold": folds}).to_csv(tmp_path / "folds.csv", index=False)
    stage = replace(digits().stages[0], schedule="steps", step_epochs=(4.0, 8.0), step_lrs=(0.5, 0.1))
    base = replace(digits(), stages=(stage,))
    student = make_student(base, tmp_path, tmp_path / "folds.csv", None)
    assert student.table.extra[0].weight == 0.375
    assert student.stages[0] == replace(stage, num_epochs=5.5, warmup_epochs=0.5, step_epochs=(2.0, 4.0))
    assert student.train == replace(base.train, validate_epochs=1.5)
    student = make_student(base, tmp_path, tmp_path / "folds.csv", 3.0)
    assert student.table.extra[0].weight == 3.0 and student.stages[0].num_epochs == 1.222
    pd.DataFrame({"id": range(400), "fold": [0, 1] * 200}).to_csv(tmp_path / "folds.csv", index=False)
    student = make_student(base, tmp_path, tmp_path / "folds.csv", None)
    assert student.table.extra[0].weight == 1 and student.stages[0].num_epochs == 7.857


def test_without_time_nothing_is_begun(teacher, digits_data, tmp_path, capsys):
    folder = Path(shutil.copytree(teacher, tmp_path / "run"))
    directory = RunDir(folder)
    request = Request(1, Selection(None, 0.5))
    started = time.monotonic() - directory.recipe().session.limit_seconds
    assert pseudo_rounds(directory.recipe(), digits_data / "data", directory, request, started=started) == []
    assert "are paused" in capsys.readouterr().out
    assert not (folder / "scores.json").exists() and not (folder / "round1").exists()


def test_folds_that_were_dealt_anew_are_refused(teacher, digits_data, tmp_path, always, capsys):
    """Else a model would label rows for a fold whose validation rows it has seen."""
    folder = Path(shutil.copytree(teacher, tmp_path / "run"))
    words = ["pseudo", "--data", digits_data / "data", "--run-dir", folder, "--share", 0.5, "--power", 1, "--rounds"]
    assert "--rounds must be at least 1, got 0" in refused(capsys, *words, 0)
    run(*words, 1, "--session.limit-steps", 1)
    path = folder / "round1" / "folds.csv"
    frame = pd.read_csv(path, dtype={"id": str})
    frame.loc[0, "fold"] = 1 - frame.loc[0, "fold"]
    frame.to_csv(path, index=False)
    line = refused(capsys, *words, 1)
    assert f"1 row ({frame.loc[0, 'id']}) in another fold than in {folder}" in line
