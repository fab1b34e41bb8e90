"""The promise: a run that stops anywhere and goes on in another process ends with the same bits."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from forked import COMMAND, PATIENCE

from imettk.commands.train import train as train_stage
from imettk.config.overrides import apply_overrides
from imettk.recipes import load_recipe
from imettk.tracking.journal import read_journal
from imettk.tracking.run_dir import RunDir

# Two stages, the first with a frozen group; dropout, random augmentation, transforms as text, shuffle, EMA,
# accumulation, warmup, clipping, MixUp, CutMix and mosaics, hard examples that come again, an image size and a loss for
# one stage, the best weights kept.
RECIPE = """
from dataclasses import replace
from imettk.config import ImageFormat, ModelConfig, StageConfig, TrainConfig, SessionConfig
from imettk.recipes.digits import digits

def recipe():
    texts = "OneOf([MotionBlur(5), GaussNoise()], p=0.5)", "RandAugment(1, 5)"
    common = dict(batch_size=8, accumulate=2, augmentation="affine", transforms=texts, mosaic=0.3, clip_norm=1.0)
    return replace(
        digits(),
        images=ImageFormat(image_size=(32, 32), channels=1, mean=(0.2,), std=(0.3,)),
        model=ModelConfig(backbone="timm:test_resnet", dropout=0.3, layer_groups=2),
        train=TrainConfig(ema_decay=0.9, seed=5, precision="float32", validate_epochs=0.5, keep="best"),
        stages=(
            StageConfig(num_epochs=0.7, lr=(1e-3,), optimizer="sgd", frozen_groups=1, mixup=0.4, mix_mode="elem",
                      label_smoothing=0.1, image_size=(24, 24), loss="focal", **common),
            StageConfig(num_epochs=1.4, lr=(1e-4, 1e-3, 1e-2), warmup_epochs=0.5, mixup=0.2, cutmix=1.0,
                      hard_examples=0.25, schedule="plateau", plateau_validations=1, **common),
        ),
        session=SessionConfig(num_workers=0),
    )
"""

SIGNALLED = 6  # the step in which signals come
STEPS = 14  # 4 in the first stage; 10 in the second, where 48 rows and 12 hard ones make an epoch of 7


@pytest.fixture(scope="module")
def prepared(digits_data, imettk, tmp_path_factory) -> tuple[Path, Path, Path]:
    """Recipe file, data folder and a folder that `prepare` wrote."""
    folder = tmp_path_factory.mktemp("exact")
    recipe = folder / "mine.py"
    recipe.write_text(RECIPE)
    imettk("prepare", recipe, "--data", digits_data / "data", "--run-dir", folder / "prepared")
    return recipe, digits_data / "data", folder / "prepared"


@pytest.fixture(scope="module")
def train(prepared, imettk) -> Callable[..., CompletedProcess[str]]:
    """Train fold 0 into a folder, in a process of its own."""

    def run(run_dir: Path, *extra: object, code: int = 0, real: bool = False) -> CompletedProcess[str]:
        return imettk(*words(prepared, run_dir, *extra), code=code, real=real)

    return run


def words(prepared: tuple[Path, Path, Path], run_dir: Path, *extra: object) -> list[object]:
    recipe, data, inputs = prepared
    return ["train", recipe, "--data", data, "--run-dir", run_dir, "--inputs", inputs, "--fold", 0, *extra]


def model_hash(run_dir: Path) -> str:
    return hashlib.sha256((run_dir / "fold0" / "model.safetensors").read_bytes()).hexdigest()


def status(run_dir: Path) -> dict:
    return json.loads((run_dir / "fold0" / "status.json").read_text())


@pytest.fixture(scope="module")
def in_one_go(train, tmp_path_factory) -> Path:
    """A training by a process that was really started; most others here are forked, and must have its bits."""
    run_dir = tmp_path_factory.mktemp("one")
    train(run_dir, real=True)
    assert status(run_dir) == {"state": "done", "fold": 0, "step": STEPS, "num_steps": STEPS, "sessions": 1}
    return run_dir


@pytest.mark.slow
def test_three_processes_end_with_the_bits_of_one(train, in_one_go, tmp_path):
    # 4 steps are the first stage; the sessions stop within it, within the second, and use other numbers of workers.
    for workers, steps in ((0, 3), (2, 4), (3, 100)):
        train(tmp_path, "--session.limit-steps", steps, "--session.num-workers", workers)
    assert status(tmp_path)["sessions"] == 3
    assert model_hash(tmp_path) == model_hash(in_one_go)
    newest = sorted((tmp_path / "fold0/checkpoints").glob("*.safetensors"))[-1]
    assert newest.name == f"step-{STEPS:08d}.safetensors"
    # Weights, averaged weights and optimizer, not only what inference uses.
    assert _tensors(newest) == _tensors(in_one_go / "fold0/checkpoints" / newest.name)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_with_two_threads_it_is_the_same(prepared, forks, tmp_path, precision):
    """They add in another order than one thread, but in the same order each time."""
    code = f"import torch; torch.set_num_threads(2); {COMMAND}"
    for name, steps in (("one", 100), ("two", 6), ("two", 100)):
        extra = ["--session.limit-steps", steps, "--train.precision", precision]
        process = forks.start(words(prepared, tmp_path / name, *extra), code=code)
        assert process.wait(PATIENCE) == 0, process.stderr
    events = read_journal(tmp_path / "two" / "fold0" / "journal.jsonl")
    assert [event["environment"]["threads"] for event in events if event["event"] == "session"] == ["2", "2"]
    assert model_hash(tmp_path / "one") == model_hash(tmp_path / "two")


@pytest.mark.slow
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


def test_another_seed_gives_other_bits(train, in_one_go, tmp_path):
    """Else the equalities above would prove nothing."""
    train(tmp_path, "--train.seed", 6)
    assert model_hash(tmp_path) != model_hash(in_one_go)


def test_sigkill_and_the_same_command_again_end_with_the_same_bits(prepared, forks, in_one_go, tmp_path):
    command = words(prepared, tmp_path, "--session.checkpoint-seconds", 0)
    process = forks.start(command)
    checkpoints = tmp_path / "fold0" / "checkpoints"
    while len(list(checkpoints.glob("step-*.safetensors"))) < 2:
        time.sleep(0.005)
        assert process.poll() is None, "ended before it could be killed"
    process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert status(tmp_path)["state"] == "running"  # nothing could say goodbye
    assert not (tmp_path / "fold0" / "model.safetensors").exists()
    assert forks.start(command).wait(PATIENCE) == 0
    assert model_hash(tmp_path) == model_hash(in_one_go)
    events = read_journal(tmp_path / "fold0" / "journal.jsonl")
    for kind, steps in (("train", [4, 10, 14]), ("validate", [3, 4, 8, 12, 14])):  # none twice, none left out
        assert [event["step"] for event in events if event["event"] == kind] == steps


# By stage; written as options below.
TECHNIQUES: tuple[dict[str, object], ...] = (
    {"optimizer": "timm:muon", "frozen-groups": 0, "lookahead": 2, "class-weights": "sqrt", "smoothing-by": "counts"},
    {"optimizer": "timm:adopt", "schedule": "cosine", "num-cycles": 2, "lookahead": 3, "class-weights": "effective"},
)


def test_sigkill_with_techniques_of_winners_ends_with_the_same_bits(prepared, train, forks, in_one_go, tmp_path):
    """Muon, ADOPT, Lookahead, warm restarts and class weights: killed within each stage, at whatever step it is."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = [
        word
        for stage, fields in enumerate(TECHNIQUES)
        for field, value in fields.items()
        for word in (f"--stages.{stage}.{field}", value)
    ]
    train(whole, *options)
    command = words(prepared, killed, "--session.checkpoint-seconds", 0, *options)
    for step in (3, 8):  # between two synchronisations of Lookahead
        process = forks.start(command)
        while max((int(path.stem[5:]) for path in killed.rglob("step-*.safetensors")), default=0) < step:
            time.sleep(0.002)
            assert process.poll() is None, "ended before it could be killed"
        process.kill()
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert forks.start(command).wait(PATIENCE) == 0
    last = Path("fold0") / "checkpoints" / f"step-{STEPS:08d}.safetensors"
    assert _tensors(killed / last) == _tensors(whole / last) != _tensors(in_one_go / last)
    assert model_hash(killed) == model_hash(whole)


# Says when a step has begun, and stays in it until a signal has come.
STAYS = f"""
import sys, time
from imettk.training.session import Session
from imettk.training.step import StepRunner

listen, run, sessions = Session.listen, StepRunner.run, []

def stays(self, setup, step, share, batches):
    if step == {SIGNALLED}:
        print("in the step", flush=True)
        while sessions[0].stop_reason() is None:
            time.sleep(0.01)
    return run(self, setup, step, share, batches)

Session.listen = lambda self: sessions.append(self) or listen(self)
StepRunner.run = stays
{COMMAND}
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_pauses_with_code_0(prepared, train, forks, in_one_go, tmp_path, number):
    process = forks.start(words(prepared, tmp_path, "--session.num-workers", 2), code=STAYS, session=True)
    while "in the step" not in process.stdout:
        time.sleep(0.005)
        assert process.poll() is None, process.stderr
    os.killpg(process.pid, number)
    assert process.wait(PATIENCE) == 0, process.stderr
    expected = {"state": "paused", "step": SIGNALLED + 1, "reason": f"received {signal.Signals(number).name}"}
    assert status(tmp_path).items() >= expected.items()
    train(tmp_path)
    assert model_hash(tmp_path) == model_hash(in_one_go)


def test_the_time_limit_pauses_before_it_is_reached(train, tmp_path):
    train(tmp_path, "--session.limit-seconds", 0.001, "--session.margin-seconds", 0)
    assert status(tmp_path)["state"] == "paused" and status(tmp_path)["step"] == 0
    assert status(tmp_path)["reason"] == "time limit of the session"


def test_a_session_in_another_run_dir_continues_from_its_inputs(prepared, train, imettk, in_one_go, tmp_path):
    """As on Kaggle: the first kernel's output is read-only input of the second."""
    recipe, data, inputs = prepared
    first, second = tmp_path / "first", tmp_path / "second"
    train(first, "--session.limit-steps", 5)
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    imettk("train", recipe, "--data", data, "--run-dir", second, "--inputs", inputs, first, "--fold", 0)
    assert model_hash(second) == model_hash(in_one_go)
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before
    sessions = [event["step"] for event in read_journal(second / "fold0/journal.jsonl") if event["event"] == "session"]
    assert sessions == [0, 5]


def test_another_recipe_is_refused_with_the_fields_that_differ(train, tmp_path):
    train(tmp_path, "--session.limit-steps", 1)
    done = train(tmp_path, "--train.ema-decay", 0.5, code=2)
    assert "train.ema_decay: 0.9 -> 0.5" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def _tensors(path: Path) -> bytes:
    """The tensor bytes of a safetensors file, without its header (which tells the limits of the session)."""
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]
