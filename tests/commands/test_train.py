"""`train` as a user meets it: plans, weights of others, teachers, locks, pictures, and what the status says."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from forked import COMMAND, LAUNCH, PATIENCE
from safetensors.torch import load_file

from imettk.cli.main import main
from imettk.commands.dry_run import with_starts
from imettk.config import SessionConfig
from imettk.data.table import read_table
from imettk.errors import ConfigError
from imettk.inference.predictor import Predictions, load_predictions, save_predictions
from imettk.recipes.digits import digits
from imettk.tracking.journal import read_journal
from imettk.training import compiled

RECIPE = """
from dataclasses import replace
from imettk.config import ImageFormat, ModelConfig, SessionConfig, StageConfig, TrainConfig
from imettk.recipes.digits import digits

def recipe():
    return replace(
        digits(),
        images=ImageFormat(image_size=(32, 32), channels=1, mean=(0.2,), std=(0.3,)),
        model=ModelConfig(backbone="timm:test_vit", layer_groups=2),
        train=TrainConfig(seed=5, precision="float32", validate_epochs=0.5),
        stages=(
            StageConfig(num_epochs=0.5, batch_size=8, lr=(1e-3,), frozen_groups=2),
            StageConfig(num_epochs=2, batch_size=8, layer_decay=0.5, schedule="triangular", warmup_epochs=0.5),
        ),
        session=SessionConfig(num_workers=0),
    )
"""


@pytest.fixture(scope="module")
def prepared(digits_data, tmp_path_factory) -> list[str]:
    """The recipe, the data and a prepared input, as command-line words."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "mine.py").write_text(RECIPE)
    words = [str(folder / "mine.py"), "--data", str(digits_data / "data")]
    main(["prepare", *words, "--run-dir", str(folder / "prepared")])
    return [*words, "--inputs", str(folder / "prepared"), "--fold", "0"]


def train(prepared: list[str], run_dir: Path, *extra: object) -> None:
    main(["train", *prepared, "--run-dir", str(run_dir), *map(str, extra)])


def status(run_dir: Path) -> dict:
    return json.loads((run_dir / "fold0" / "status.json").read_text())


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("trained")
    train(prepared, run_dir)
    return run_dir


def refused(capsys, *arguments: object) -> str:
    """The one line of an input that is wrong."""
    with pytest.raises(SystemExit) as caught:
        main([*map(str, arguments)])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("imettk:")]
    assert caught.value.code == 2 and len(lines) == 1
    return lines[0]


def test_a_dry_run_tells_the_plan_draws_it_and_leaves_nothing_else(prepared, tmp_path, capsys):
    train(prepared, tmp_path, "--dry-run")
    text = capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["plan.png"]
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
    rows = [line.split() for line in text.splitlines() if line[:1].isdigit()]
    assert [row[:-1] for row in rows] == [
        ["0", "0.5", "3", "8", "32x32", "2", "adamw", "cosine", "0.001"],
        ["1", "2", "12", "8", "32x32", "0", "adamw", "triangular", "0.00025", "0.0005", "0.001"],
    ]
    assert text.count("gradient noise scale: ") == 1
    assert "a fold: 15 steps and 5 validations" in text and "1 sessions of 9.0 h; 1 of 1 folds to train" in text


def test_compilation_counts_in_the_plan_and_a_change_is_told(prepared, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(compiled, "_settings", lambda: {"dynamic": False, "backend": "aot_eager"})
    compiles = ("--session.compile", "true")
    for extra in ((), compiles, ()):
        train(prepared, tmp_path, "--session.limit-steps", 1, *extra)
    told = [line for line in capsys.readouterr().out.splitlines() if "since the last session" in line]
    assert [re.search(r"compiled \w+ -> \w+", line)[0] for line in told] == ["compiled no -> yes", "compiled yes -> no"]
    recipe = replace(digits(), session=SessionConfig(limit_seconds=1000.0, margin_seconds=100.0))
    assert with_starts(recipe, 1600.0, 0.0) == (1600.0, 2)
    starts = len(recipe.stages) - 1 + 3  # sessions of 600 s of steps each, and one compilation a stage beyond the first
    assert with_starts(recipe, 1600.0, 300.0) == (1600.0 + 300.0 * starts, 3)
    with pytest.raises(ConfigError, match="longer than a session has"):
        with_starts(recipe, 1600.0, 900.0)


def test_tensorboard_and_journal_have_no_gaps_and_no_doubles_over_killed_sessions(prepared, trained, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def scalars(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
        board = EventAccumulator(str(run_dir / "fold0" / "tensorboard"))
        board.Reload()
        names = [name for name in board.Tags()["scalars"] if not name.endswith("seconds")]
        return {name: [(one.step, one.value) for one in board.Scalars(name)] for name in names}

    train(prepared, tmp_path, "--session.limit-steps", 6)
    # A session that was killed had gone on to step 11 with its last checkpoint at 6.
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "fold0" / "checkpoints", copy)
    train(prepared, tmp_path, "--session.limit-steps", 5)
    shutil.rmtree(tmp_path / "fold0" / "checkpoints")
    copy.rename(tmp_path / "fold0" / "checkpoints")
    train(prepared, tmp_path)
    assert scalars(tmp_path) == scalars(trained)
    assert set(scalars(trained)) == {"train/loss", "train/lr", "validate/loss", "validate/score"}
    for kind in ("train", "validate"):
        steps = [
            [one["step"] for one in read_journal(run / "fold0" / "journal.jsonl") if one["event"] == kind]
            for run in (tmp_path, trained)
        ]
        assert steps[0] == steps[1]
    assert status(tmp_path)["sessions"] == 3


def test_weights_of_another_training_with_other_classes_are_a_start(
    prepared, trained, digits_data, tmp_path, capsys, monkeypatch
):
    data = tmp_path / "data"
    shutil.copytree(digits_data / "data", data)
    labels = pd.read_csv(data / "labels.csv")
    extra = pd.DataFrame({"attribute_id": ["x"], "attribute_name": ["tag::x"]})
    pd.concat([labels, extra]).to_csv(data / "labels.csv", index=False)
    run = tmp_path / "run"
    words = [prepared[0], "--data", str(data), "--run-dir", str(run)]
    other = [*words, "--fold", "0", "--inputs", str(trained), "--stages.0.num-epochs", "1"]
    main(["prepare", *words])
    assert "--resume weights" in refused(capsys, "train", *other)
    main(["train", *other, "--resume", "weights", "--session.limit-steps", "1"])
    text = capsys.readouterr().out
    theirs = load_file(trained / "fold0" / "model.safetensors")
    assert f"{len(theirs) - 2} of {len(theirs)} tensors taken (backbone.body)" in text
    assert "not taken: head.linear.weight, (15, 64) there, (16, 64) here" in text
    assert text.count("not taken") == 2
    # The first stage learns the head alone: the rest are still the weights of the other training.
    (path,) = (run / "fold0" / "checkpoints").glob("*.safetensors")
    ours = load_file(path)
    same = [name for name, value in theirs.items() if torch.equal(value, ours[f"model.{name}"])]
    assert len(same) >= len(theirs) - 3
    # The same command goes on with its own checkpoint.
    main(["train", *other, "--resume", "weights"])
    assert "continues at step 1 of 18" in capsys.readouterr().out
    assert status(run)["state"] == "done"


def test_weights_of_another_network_are_refused(prepared, trained, tmp_path, capsys):
    words = [*prepared[:3], "--inputs", prepared[4], str(trained), "--fold", "0", "--run-dir", str(tmp_path)]
    line = refused(capsys, "train", *words, "--resume", "weights", "--model.backbone", "timm:test_resnet")
    assert "none of its layers fits this backbone" in line
    line = refused(capsys, "train", *prepared, "--run-dir", tmp_path, "--resume", "weights", "--train.seed", 1)
    assert "no --inputs folder holds a trained fold" in line


def test_a_second_process_is_refused_and_a_killed_one_leaves_nothing(prepared, tmp_path, capsys):
    (tmp_path / "fold0").mkdir()
    code = (
        "import sys; from pathlib import Path; from imettk.tracking.lock import hold_folder\n"
        "with hold_folder(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "fold0")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        line = refused(capsys, "train", *prepared, "--run-dir", tmp_path)
        assert f"fold0 is in use by process {holder.pid}" in line
        assert not (tmp_path / "fold0" / "checkpoints").exists()
        holder.kill()
    train(prepared, tmp_path, "--session.limit-steps", 1)
    assert status(tmp_path)["state"] == "paused"


def test_what_fails_says_so_in_its_status(prepared, tmp_path, monkeypatch):
    from imettk.training.trainer import Trainer

    def fail(self):
        raise RuntimeError("something\nbroke")

    monkeypatch.setattr(Trainer, "fit", fail)
    with pytest.raises(RuntimeError):
        train(prepared, tmp_path)
    assert (status(tmp_path)["state"], status(tmp_path)["reason"]) == ("failed", "something broke")
    assert read_journal(tmp_path / "fold0" / "journal.jsonl")[-1]["event"] == "failed"


@pytest.mark.parametrize("how", ["fails", "has no time"])
def test_what_a_session_leaves_is_enough_for_the_next_one_however_it_ends(prepared, tmp_path, monkeypatch, capsys, how):
    """Also where it made no step: a chain gives the next session this output, and not the one before."""
    from imettk.training.trainer import Trainer

    def after(number: int) -> list[str]:
        return [*prepared[:3], "--inputs", prepared[4], str(tmp_path / str(number)), "--fold", "0"]

    train(prepared, tmp_path / "1", "--session.limit-steps", 4)
    if how == "fails":
        with monkeypatch.context() as patch, pytest.raises(KeyError):
            patch.setattr(Trainer, "fit", lambda self: {}["broke"])
            train(after(1), tmp_path / "2")
    else:
        train(after(1), tmp_path / "2", "--session.limit-seconds", 0.01, "--session.margin-seconds", 0)
    capsys.readouterr()
    train(after(2), tmp_path / "3", "--session.limit-steps", 1)
    assert "fold 0: continues at step 4" in capsys.readouterr().out
    assert status(tmp_path / "3")["step"] == 5


# A step that hangs once the checkpoint before it is in its place; from then on hours pass at once.
HANGS = f"""
import os, threading, time
from imettk.training.session import Session, Watchdog
from imettk.training.step import StepRunner

hung, run, ahead = threading.Event(), StepRunner.run, 0.0

def hangs(self, setup, step, share, batches):
    if step < 4:
        return run(self, setup, step, share, batches)
    path = os.environ["IMETTK_TEST_CHECKPOINT"]
    while not os.path.exists(path + ".safetensors"):
        time.sleep(0.01)
    hung.set()
    threading.Event().wait()

def wait(stopped, seconds):
    global ahead
    hung.wait()
    ahead += seconds
    return stopped.is_set()

StepRunner.run = hangs
Session.__init__.__kwdefaults__["clock"] = lambda: time.monotonic() + ahead
Watchdog.__init__.__kwdefaults__["wait"] = wait
{COMMAND}
"""


def test_a_hanging_step_ends_the_session_with_code_0_and_the_checkpoint_in_place(prepared, forks, tmp_path):
    words = ["train", *prepared, "--run-dir", tmp_path, "--session.checkpoint-seconds", 0]
    checkpoint = tmp_path / "fold0" / "checkpoints" / "step-00000004"
    process = forks.start(words, code=HANGS, environment={"IMETTK_TEST_CHECKPOINT": str(checkpoint)})
    assert process.wait(PATIENCE) == 0, process.stderr
    assert status(tmp_path)["state"] == "paused" and "hung" in status(tmp_path)["reason"]
    assert checkpoint.with_suffix(".safetensors").is_file()
    train(prepared, tmp_path)
    assert status(tmp_path)["state"] == "done"


@pytest.mark.slow
def test_two_processes_pause_on_sigterm_with_code_0_and_one_goes_on(prepared, forks, tmp_path):
    words = ["train", *prepared, "--run-dir", tmp_path, "--processes", 2, "--stages.1.num-epochs", 4000]
    process = forks.start(words)
    journal = tmp_path / "fold0" / "journal.jsonl"
    while not journal.exists() or b'"train"' not in journal.read_bytes():
        time.sleep(0.05)
        assert process.poll() is None, process.stderr
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(PATIENCE) == 0, process.stdout + process.stderr
    assert status(tmp_path)["reason"] == "received SIGTERM"
    (following,) = [line for line in process.stdout.splitlines() if line.startswith("next: ")]
    assert shlex.split(following)[1:] == ["imettk", *map(str, words)]  # not that of each process
    step = status(tmp_path)["step"]
    train(prepared, tmp_path, "--stages.1.num-epochs", 4000, "--session.limit-steps", 5)
    assert status(tmp_path)["step"] == step + 5


SMALL_MEMORY = """
import os, sys
import torch
from imettk.cli.main import main
from imettk.commands.dry_run import with_starts
from imettk.config import SessionConfig
from imettk.models.network import Network

forward = Network.forward

def small(self, images):
    if self.training and os.environ["RANK"] == "1" and len(images) > 2:
        raise torch.OutOfMemoryError("injected")
    return forward(self, images)

Network.forward = small
main(sys.argv[1:])
"""


def test_several_processes_start_again_with_smaller_micro_batches_when_one_has_no_memory(
    prepared, trained, forks, tmp_path
):
    words = ["train", *prepared, "--run-dir", tmp_path, "--session.tensorboard", "false"]
    process = forks.start([2, SMALL_MEMORY, *words], code=LAUNCH)
    assert process.wait(PATIENCE) == 0, process.stderr
    assert "start again with micro-batches in 2 pieces" in process.stdout
    assert status(tmp_path)["state"] == "done"
    expected, found = (load_file(run / "fold0" / "model.safetensors") for run in (trained, tmp_path))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-2, atol=1e-3)


def test_a_number_of_processes_that_cannot_be_is_refused(prepared, tmp_path, capsys):
    assert "`num_processes` of SessionConfig must be at least 1" in refused(
        capsys, "train", *prepared, "--run-dir", tmp_path, "--processes", 0
    )


def test_a_student_trains_from_the_out_of_fold_predictions_of_its_teachers(prepared, digits_data, tmp_path):
    table, everything = read_table(digits().table, digits_data / "data"), tmp_path / "t"
    open_labels = np.full((1, 72, 15), 0.5, np.float32)
    save_predictions(everything, Predictions(table.ids, open_labels, {"labels": list(table.labels)}))
    train(prepared, tmp_path / "run", "--train.teacher", everything, "--train.teacher-weight", 1.0)
    events = read_journal(tmp_path / "run" / "fold0" / "journal.jsonl")
    losses = [one["loss"] for one in events if one["event"] == "train"]
    assert losses[-1] == pytest.approx(np.log(2), abs=0.02)  # all it can learn is that every label is open
    assert load_predictions(everything).probs.shape == (1, 72, 15)
