"""`try` as typed: a search that sessions cut short, and ends the same."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import time
from pathlib import Path

import pytest
from forked import PATIENCE
from safetensors.numpy import load_file
from tiny import TINY, refused, run

from imettk.commands.search import Request, search
from imettk.config import Recipe
from imettk.evaluation.standings import training_command
from imettk.tracking.journal import read_journal
from imettk.tracking.run_dir import RunDir
from imettk.training.session import NO_TIME_TO_VALIDATE

pytestmark = [
    pytest.mark.usefixtures("no_charts_here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),  # MLflow's, about SQLAlchemy
]

SHORT = [*TINY, "--stages.0.num-epochs", "2", "--train.validate-epochs", "0.5", "--predict.views", "plain"]
VARY = ["--vary", "stages.0.lr=1e-3", "--vary", "stages.0.mixup=0,0.4"]
NAMES = ("base", "candidate1", "candidate2")


OWN = """from imettk.recipes.digits import digits
def fails(outputs, targets):
    loss = outputs.square().mean(1)
    if len(outputs) == 16:
        raise RuntimeError("sixteen")
    return loss
def recipe():
    return digits()
"""


@pytest.fixture
def unlogged(monkeypatch) -> list[tuple[list[Path], Path]]:
    """Keep what would go into the log, whose import takes seconds."""
    taken: list[tuple[list[Path], Path]] = []
    monkeypatch.setattr("imettk.cli.log.take_into_log", lambda folders, store: taken.append((folders, store)))
    return taken


@pytest.fixture(scope="module")
def prepared(digits_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("search") / "prepared"
    run("prepare", "digits", "--data", digits_data / "data", "--run-dir", folder, *SHORT)
    return folder


@pytest.fixture(scope="module")
def whole(prepared, digits_data, tmp_path_factory) -> Path:
    """A search by halving that nothing has stopped."""
    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("whole") / "run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("imettk.cli.log.take_into_log", lambda *_: None)
        run("try", "--data", digits_data / "data", "--run-dir", folder, *VARY, "--halving")
    return folder


def content(folder: Path) -> dict:
    return json.loads((folder / "search.json").read_text())


def table(text: str) -> list[str]:
    """The last table in a text, without the seconds, and the lines below it."""
    lines = text[text.rindex("\ncandidate  ") :].splitlines()
    return [re.sub(r" +\d+$", "", line) for line in lines if "took the least time" not in line]


def tensors(path: Path) -> dict:
    return {name: value.tobytes() for name, value in load_file(path).items()}


def test_the_better_half_goes_on_from_where_it_stopped(whole, digits_data, tmp_path):
    found = {candidate["name"]: candidate for candidate in content(whole)["candidates"]}
    assert tuple(found) == NAMES
    assert sorted(len(candidate["scores"]) for candidate in found.values()) == [1, 3, 3]
    assert len(found["base"]["scores"]) == 3
    for name, candidate in found.items():
        events = read_journal(whole / name / "fold0" / "journal.jsonl")
        by_step = {event["step"]: event["score"] for event in events if event["event"] == "validate"}
        assert candidate["scores"] == [by_step[step] for step in (2, 4, 6) if step in by_step]
        scores = whole / name / "scores.json"
        assert candidate["score"] == (json.loads(scores.read_text())["oof"] if scores.exists() else None)
        assert (candidate["score"] is None) == (len(candidate["scores"]) < 3)
    run("train", "--data", digits_data / "data", "--inputs", whole, "--run-dir", tmp_path, "--fold", 0)
    assert tensors(tmp_path / "fold0/model.safetensors") == tensors(whole / "base/fold0/model.safetensors")


def test_a_dropped_candidate_is_a_run_that_train_continues(whole, digits_data, tmp_path):
    (name, *_) = [one["name"] for one in content(whole)["candidates"] if len(one["scores"]) == 1]
    run("train", "--data", digits_data / "data", "--inputs", whole / name, whole, "--run-dir", tmp_path, "--fold", 0,
        whole / name / "recipe.json")  # fmt: skip
    assert json.loads((tmp_path / "fold0/status.json").read_text())["state"] == "done"


def test_a_search_that_is_done_prints_its_table_again_and_is_in_the_log(whole, digits_data, unlogged, capsys):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*.safetensors")}
    run("try", "--data", digits_data / "data", "--run-dir", whole, "--budget", "100h")
    text = capsys.readouterr().out
    assert "note: --budget is 100.0 h, and the session ends after 9.0 h: --session.limit-seconds sets that" in text
    head, base, *_, best, following = table(text)[1:]
    assert head.split()[:4] == ["candidate", "stages.0.lr", "stages.0.mixup", "F2"]
    assert base.split()[:3] == ["base", "0.006", "0.0"]
    assert best.startswith("best: ") and following.startswith("next: ")
    assert before == {path: path.stat().st_mtime_ns for path in whole.rglob("*.safetensors")}
    assert unlogged == [([], whole.parent / "log")]


def test_candidates_of_an_input_are_compared_and_their_commands_lead_to_them(
    whole, digits_data, tmp_path, unlogged, capsys
):
    data, new = digits_data / "data", tmp_path / "new"
    run("try", "--data", data, "--run-dir", whole)
    before = table(capsys.readouterr().out)
    run("try", "--data", data, "--run-dir", new, "--inputs", whole)
    after = table(capsys.readouterr().out)
    assert [line for line in after if not line.startswith("next")] == [
        line for line in before if not line.startswith("next")
    ]
    name = next(candidate["name"] for candidate in content(whole)["candidates"][1:] if candidate["score"])
    directory = RunDir(new / name, [whole / name, new, whole])
    command = shlex.split(training_command(directory, data))
    run(*command[1:], "--fold", 0)
    assert "fold 0 is done already" in capsys.readouterr().out


def test_killed_and_continued_from_an_input_it_ends_with_the_same_table(
    whole, prepared, digits_data, forks, tmp_path, unlogged, capsys
):
    first = Path(shutil.copytree(prepared, tmp_path / "first"))
    data = ["--data", digits_data / "data"]
    words = ["try", *data, "--run-dir", first, *VARY, "--halving", "--session.checkpoint-seconds", 0]
    process = forks.start(words)
    while not list((first / "candidate2/fold0/checkpoints").glob("step-*.safetensors")):
        time.sleep(0.002)
        assert process.poll() is None, process.stderr
    process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert [len(candidate["scores"]) for candidate in content(first)["candidates"]][:2] == [1, 1]
    again = ["try", *data, "--run-dir", tmp_path / "second", "--inputs", first]
    run(*again, "--session.limit-steps", 1)  # and a session that ends within a rung
    assert f"the search is paused; `{shlex.join(map(str, ['imettk', *again]))}` continues" in capsys.readouterr().out
    run(*again, "--session.limit-steps", "none")
    ended = table(capsys.readouterr().out)
    assert content(tmp_path / "second") == content(whole)
    run("try", *data, "--run-dir", whole)
    assert [line for line in table(capsys.readouterr().out) if not line.startswith("next")] == [
        line for line in ended if not line.startswith("next")
    ]
    for name in NAMES:
        newest = [
            sorted((folder / name / "fold0/checkpoints").iterdir())[-1] for folder in (whole, tmp_path / "second")
        ]
        assert newest[0].name == newest[1].name and tensors(newest[0]) == tensors(newest[1])


def test_a_candidate_that_fails_is_noted_and_ends_nothing_else(prepared, digits_data, tmp_path, unlogged, capsys):
    folder = Path(shutil.copytree(prepared, tmp_path / "run"))
    words = ["try", "--data", digits_data / "data", "--run-dir", folder]
    run(*words, "--vary", "model.backbone=timm:no_such_net,timm:test_resnet2", "--stages.0.num-epochs", 1)
    text = capsys.readouterr().out
    failed = [candidate["fault"] for candidate in content(folder)["candidates"]]
    assert failed[0] is None and "no_such_net" in failed[1]
    assert f"candidate1 failed: {failed[1]}" in text[text.rindex("\ncandidate  ") :]
    assert [folders for folders, _ in unlogged] == [[folder / "base"]]
    note = json.loads((folder / "base" / "ledger.jsonl").read_text())
    assert note["text"] == "base (model.backbone timm:test_resnet)"
    run(*words)  # the network may be there now
    text = capsys.readouterr().out
    assert f"candidate1 failed in an earlier session and is tried again: {failed[1]}" in text
    assert content(folder)["candidates"][1]["fault"] == failed[1]
    assert text.rstrip().endswith("no conclusion: nothing could be compared with the base")


def test_an_error_in_a_loss_of_the_users_own_fails_its_candidate(prepared, digits_data, tmp_path, unlogged, capsys):
    folder = Path(shutil.copytree(prepared, tmp_path / "run"))
    path = tmp_path / "own.py"
    path.write_text(OWN)
    words = ["try", path, "--data", digits_data / "data", "--run-dir", folder, *SHORT, "--stages.0.num-epochs", 1]
    run(*words, "--vary", "train.loss=recipe:fails")
    base, candidate = content(folder)["candidates"]
    assert base["score"] is not None
    assert candidate["fault"] == f"{path}, line 5: RuntimeError: sixteen"
    assert f"candidate1 failed: {path}, line 5" in capsys.readouterr().out
    other = ["--run-dir", shutil.copytree(prepared, tmp_path / "other"), "--vary", "train.loss=bce,recipe:fails"]
    line = refused(capsys, *words, *other, "--train.loss", "recipe:fails")
    assert line == f"imettk: {candidate['fault']}"  # the base must not fail


def test_a_rung_is_reached_with_its_validation(prepared, digits_data, tmp_path, monkeypatch, capsys):
    def stop_before_it(recipe: Recipe, data_dir: Path, run: RunDir, *, fold: int, until_step: int, **_: object) -> None:
        status = {"state": "paused", "step": until_step, "reason": NO_TIME_TO_VALIDATE}
        (run.fold(fold) / "status.json").write_text(json.dumps(status))

    monkeypatch.setattr("imettk.commands.search.train", stop_before_it)
    folder = Path(shutil.copytree(prepared, tmp_path / "run"))
    run("try", "--data", digits_data / "data", "--run-dir", folder, *VARY, "--halving")
    assert "the search is paused" in capsys.readouterr().out
    base = content(folder)["candidates"][0]
    assert base["scores"] == [] and base["fault"] is None


def test_no_time_trains_nothing_and_says_what_is_left(prepared, digits_data, tmp_path, capsys):
    folder = Path(shutil.copytree(prepared, tmp_path / "run"))
    directory = RunDir(folder)
    request = Request(("stages.0.lr=1e-3",), budget=400.0)
    recipe = directory.recipe()
    assert search(recipe, digits_data / "data", directory, request, started=time.monotonic() - 101) == []
    text = capsys.readouterr().out
    assert "  waits            base (stages.0.lr 0.006)\n  waits            candidate1 (stages.0.lr 1e-3)" in text
    assert f"`imettk try --data {digits_data / 'data'} --run-dir {folder}` continues" in text
    assert not (folder / "base").exists() and content(folder)["candidates"][1]["scores"] == []


def test_what_cannot_be_searched_is_one_line_before_anything_is_trained(whole, prepared, digits_data, tmp_path, capsys):
    words = ["try", "--data", digits_data / "data", "--run-dir"]
    assert "holds no search: begin one with --vary" in refused(capsys, *words, prepared)
    line = refused(capsys, *words, prepared, "--vary", "train.lr=1")
    assert "`train.lr` is not a field of the recipe; did you mean `stages.0.lr`?" in line
    line = refused(capsys, *words, prepared, *VARY, "--budget", "5m")
    assert "--budget must be more than the 300 s" in line
    line = refused(capsys, *words, prepared, *VARY, "--halving", "--train.validate-epochs", 2)
    assert "set --train.validate-epochs lower" in line
    assert "--fold must be in [0, 3), got 3" in refused(capsys, *words, prepared, *VARY, "--fold", 3)
    assert "run `imettk prepare` first" in refused(capsys, "try", "digits", *words[1:], tmp_path, *VARY)
    line = refused(capsys, *words, tmp_path / "new", "--inputs", whole / "base", whole, *VARY)
    assert f"{whole / 'base'} holds a training, and a search needs a folder that is only prepared" in line
    line = refused(capsys, *words, whole, "--vary", "stages.0.lr=1e-3", "--fold", 1, "--train.seed", 7)
    assert "is of a search with another recipe or other options (--vary; --fold; train.seed: 0 -> 7)" in line
    assert "predict.views: ('plain',) -> ('plain', 'hflip')" in refused(
        capsys, *words, whole, "--predict.views", "plain", "hflip"
    )
    line = refused(capsys, *words, prepared, "--vary", "stages.0.num-epochs=1,8", "--halving")
    assert "candidate1 (stages.0.num_epochs 1) would be judged at" in line and "validate-epochs lower" in line
    assert not (prepared / "search.json").exists()
