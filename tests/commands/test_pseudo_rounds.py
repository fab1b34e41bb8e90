"""`pseudo --rounds` as typed: a chain of runs that kills cut short, and that ends the same."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from forked import PATIENCE
from safetensors.numpy import load_file
from tiny import SMALL, TINY, refused, run

from imettk.commands import pseudo_rounds as module
from imettk.commands.pseudo_rounds import Request, pseudo_rounds
from imettk.evaluation.paired import compare_runs
from imettk.inference.predictor import load_predictions
from imettk.metrics.paired import PairedScores
from imettk.postprocess.pseudo import Selection
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
    folder.rename(earlier)  # as the output of a kernel becomes the input of the next, whose folder has another path
    folder = tmp_path / "next"
    words = ["pseudo", "--data", digits_data / "data", "--run-dir", folder, *ASKED]
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
    assert "rounds.json is of rounds with other settings (--share: 0.5 -> 0.25): give the same ones" in line


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
    run(*words, 1, "--session.limit-steps", 1)
    path = folder / "round1" / "folds.csv"
    frame = pd.read_csv(path, dtype={"id": str})
    frame.loc[0, "fold"] = 1 - frame.loc[0, "fold"]
    frame.to_csv(path, index=False)
    line = refused(capsys, *words, 1)
    assert f"1 row ({frame.loc[0, 'id']}) in another fold than in {folder}" in line
    # The other settings and folds of a later session are noticed in the same folder.
    line = refused(capsys, *words, 1, "--predict.views", "plain", "hflip")
    assert "predict.views: ('plain',) -> ('plain', 'hflip')" in line


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--rounds", 0], "--rounds must be at least 1, got 0"),
        (["--weight", -1], "--weight must be above 0, and at most 1000, got -1"),
        (["--weight", "nan"], "--weight must be above 0, and at most 1000, got nan"),
        (["--share", 0.5], "only fold 0 is trained: train another, or give --confidence and --power"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_predicted(teacher, digits_data, tmp_path, capsys, options, says):
    folder = Path(shutil.copytree(teacher, tmp_path / "run", ignore=shutil.ignore_patterns("fold1")))
    line = refused(capsys, "pseudo", "--data", digits_data / "data", "--run-dir", folder, "--rounds", 1, *options)
    assert says in line
    assert not (folder / "rounds.json").exists() and not list(folder.rglob("oof.safetensors"))


def test_rounds_go_on_with_the_folds_and_scores_of_their_beginning(teacher, digits_data, tmp_path, always, capsys):
    """A fold that round 0 trained later has no labels, and scores of other views are none of the chain's."""
    folder = Path(shutil.copytree(teacher, tmp_path / "run"))
    (folder / "fold1").rename(tmp_path / "fold1")
    data = digits_data / "data"
    run("validate", "--data", data, "--run-dir", folder, "--predict.views", "plain", "hflip")
    words = ["pseudo", "--data", data, "--run-dir", folder, *ASKED[2:], "--rounds", 1, *VIEWS]
    run(*words)
    scores = json.loads((folder / "scores.json").read_text())
    assert load_predictions(folder / "fold0/oof.safetensors").values["views"] == ["plain"]
    (tmp_path / "fold1").rename(folder / "fold1")
    capsys.readouterr()
    run(*words)
    text = capsys.readouterr().out
    assert "the rounds began with folds 0 and go on with them, not 0, 1" in text
    assert f"the best is round 1: {folder / 'round1'}" in text and not (folder / "round1/fold1").exists()
    assert json.loads((folder / "scores.json").read_text()) == scores and list(scores["folds"]) == ["0"]
    run("pseudo", "--data", data, "--run-dir", folder.rename(tmp_path / "moved"), *words[5:])
    assert f"the best is round 1: {tmp_path / 'moved/round1'}" in capsys.readouterr().out
    run("validate", "--data", data, "--run-dir", tmp_path / "moved/round1")
