"""The promise: a run that stops anywhere and goes on in another process ends with the same bits."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imettk.overrides import apply_overrides
from imettk.recipes import load_recipe
from imettk.stages.train import train as train_stage
from imettk.tracking.journal import read_journal
from imettk.tracking.run_dir import RunDir

# Two stages, the first with a frozen group; dropout, random augmentation, shuffle, EMA, accumulation, warmup, clipping,
# MixUp and CutMix, hard examples that come again, an image size and a loss for one stage, the best weights kept.
RECIPE = """
from dataclasses import replace
from imettk.config import ImageFormat, ModelPlan, StagePlan, TrainPlan, SessionPlan
from imettk.recipes.digits import digits

def recipe():
    common = dict(batch_size=8, accumulate=2, augmentation="affine", clip_norm=1.0)
    return replace(
        digits(),
        images=ImageFormat(image_size=(32, 32), channels=1, mean=(0.2,), std=(0.3,)),
        model=ModelPlan(backbone="timm:test_resnet", dropout=0.3, layer_groups=2),
        train=TrainPlan(ema_decay=0.9, seed=5, precision="float32", validate_epochs=0.5, keep="best"),
        stages=(
            StagePlan(num_epochs=0.7, lr=(1e-3,), optimizer="sgd", frozen_groups=1, mixup=0.4, mix_mode="elem",
                      label_smoothing=0.1, image_size=(24, 24), loss="focal", **common),
            StagePlan(num_epochs=1.4, lr=(1e-4, 1e-3, 1e-2), warmup_epochs=0.5, mixup=0.2, cutmix=1.0,
                      hard_examples=0.25, schedule="plateau", plateau_validations=1, **common),
        ),
        session=SessionPlan(num_workers=0),
    )
"""

STEPS = 14  # 4 in the first stage; 10 in the second, where 48 rows and 12 hard ones make an epoch of 7


@pytest.fixture(scope="module")
def prepared(digits_data, imettk, tmp_path_factory) -> tuple[Path, Path, Path]:
    """Recipe file, data folder and a folder that `prepare` wrote."""
    folder = tmp_path_factory.mktemp("exact")
    recipe = folder / "mine.py"
    recipe.write_text(RECIPE)
    imettk("prepare", recipe, "--data", digits_data / "data", "--run-dir", folder / "prepared")
    return recipe, digits_data / "data", folder / "prepared"


def train(prepared: tuple[Path, Path, Path], run_dir: Path, *extra: object) -> list[str]:
    recipe, data, inputs = prepared
    common = ["--data", data, "--run-dir", run_dir, "--inputs", inputs, "--fold", 0]
    return [sys.executable, "-m", "imettk", "train", *map(str, [recipe, *common, *extra])]


def model_hash(run_dir: Path) -> str:
    return hashlib.sha256((run_dir / "fold0" / "model.safetensors").read_bytes()).hexdigest()


def status(run_dir: Path) -> dict:
    return json.loads((run_dir / "fold0" / "status.json").read_text())


@pytest.fixture(scope="module")
def in_one_go(prepared, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("one")
    subprocess.run(train(prepared, run_dir), check=True, capture_output=True)
    assert status(run_dir) == {"state": "done", "fold": 0, "step": STEPS, "num_steps": STEPS, "sessions": 1}
    return run_dir


def test_three_processes_end_with_the_bits_of_one(prepared, in_one_go, tmp_path):
    # 4 steps are the first stage; the sessions stop within it, within the second, and use other numbers of workers.
    for workers, steps in ((0, 3), (2, 4), (3, 100)):
        extra = ["--session.limit-steps", steps, "--session.num-workers", workers]
        subprocess.run(train(prepared, tmp_path, *extra), check=True, capture_output=True)
    assert status(tmp_path)["sessions"] == 3
    assert model_hash(tmp_path) == model_hash(in_one_go)
    newest = sorted((tmp_path / "fold0/checkpoints").glob("*.safetensors"))[-1]
    assert newest.name == f"step-{STEPS:08d}.safetensors"
    # Weights, averaged weights and optimizer, not only what inference uses.
    assert _tensors(newest) == _tensors(in_one_go / "fold0/checkpoints" / newest.name)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_stop_at_every_step_changes_nothing(prepared, tmp_path, precision):
    """In this process, for speed: fourteen sessions of one step each; float16 brings the loss scale."""
    path, data, inputs = prepared
    recipe = apply_overrides(load_recipe(str(path)), ["--train.precision", precision])
    single = apply_overrides(recipe, ["--session.limit-steps", "1"])
    train_stage(recipe, data, RunDir(tmp_path / "one", [inputs]), fold=0, started=time.monotonic())
    for session in range(1, STEPS + 1):
        train_stage(single, data, RunDir(tmp_path / "many", [inputs]), fold=0, started=time.monotonic())
        assert status(tmp_path / "many")["step"] == session
    assert status(tmp_path / "many")["state"] == "done"
    assert model_hash(tmp_path / "one") == model_hash(tmp_path / "many")


def test_another_seed_gives_other_bits(prepared, in_one_go, tmp_path):
    """Else the equalities above would prove nothing."""
    subprocess.run(train(prepared, tmp_path, "--train.seed", 6), check=True, capture_output=True)
    assert model_hash(tmp_path) != model_hash(in_one_go)


def test_sigkill_and_the_same_command_again_end_with_the_same_bits(prepared, in_one_go, tmp_path):
    every_step = ["--session.checkpoint-seconds", 0]
    command = train(prepared, tmp_path, *every_step)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = tmp_path / "fold0" / "checkpoints"
    while len(list(checkpoints.glob("step-*.safetensors"))) < 2:
        time.sleep(0.005)
        assert process.poll() is None, "ended before it could be killed"
    process.kill()
    process.wait()
    assert status(tmp_path)["state"] == "running"  # nothing could say goodbye
    assert not (tmp_path / "fold0" / "model.safetensors").exists()
    subprocess.run(command, check=True, capture_output=True)
    assert model_hash(tmp_path) == model_hash(in_one_go)
    events = read_journal(tmp_path / "fold0" / "journal.jsonl")
    for kind, steps in (("train", [4, 10, 14]), ("validate", [3, 4, 8, 12, 14])):  # none twice, none left out
        assert [event["step"] for event in events if event["event"] == kind] == steps


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_pauses_with_code_0(prepared, in_one_go, tmp_path, number):
    command = train(prepared, tmp_path, "--session.num-workers", 2)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        journal = tmp_path / "fold0" / "journal.jsonl"
        while not journal.exists() or b'"session"' not in journal.read_bytes():
            time.sleep(0.005)
        time.sleep(0.3)
        os.killpg(process.pid, number)
        output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    if status(tmp_path)["state"] == "paused":
        assert status(tmp_path)["reason"] == f"received {signal.Signals(number).name}"
    subprocess.run(train(prepared, tmp_path), check=True, capture_output=True)
    assert model_hash(tmp_path) == model_hash(in_one_go)


def test_the_time_limit_pauses_before_it_is_reached(prepared, tmp_path):
    started = time.time()
    extra = ["--session.limit-seconds", 0.001, "--session.margin-seconds", 0]
    subprocess.run(train(prepared, tmp_path, *extra), check=True, capture_output=True)
    assert status(tmp_path)["state"] == "paused"
    assert status(tmp_path)["reason"] == "time limit of the session"
    assert time.time() - started < 60


def test_a_session_in_another_run_dir_continues_from_its_inputs(prepared, in_one_go, tmp_path):
    """As on Kaggle: the first kernel's output is read-only input of the second."""
    recipe, data, inputs = prepared
    first, second = tmp_path / "first", tmp_path / "second"
    subprocess.run(train(prepared, first, "--session.limit-steps", 5), check=True, capture_output=True)
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    command = [sys.executable, "-m", "imettk", "train", str(recipe), "--data", str(data), "--run-dir", str(second)]
    subprocess.run([*command, "--inputs", str(inputs), str(first), "--fold", "0"], check=True, capture_output=True)
    assert model_hash(second) == model_hash(in_one_go)
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before
    sessions = [event["step"] for event in read_journal(second / "fold0/journal.jsonl") if event["event"] == "session"]
    assert sessions == [0, 5]


def test_another_recipe_is_refused_with_the_fields_that_differ(prepared, tmp_path):
    subprocess.run(train(prepared, tmp_path, "--session.limit-steps", 1), check=True, capture_output=True)
    done = subprocess.run(
        train(prepared, tmp_path, "--train.ema-decay", 0.5), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "train.ema_decay: 0.9 -> 0.5" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def _tensors(path: Path) -> bytes:
    """The tensor bytes of a safetensors file, without its header (which tells the limits of the session)."""
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]
