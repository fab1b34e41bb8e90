"""Trainings of numbers, grades, votes and several questions go on exactly, in any session and after any kill, with
columns that are only learned beside them, in the scale and weights of their training rows."""

import hashlib
import signal
import time

import cv2
import numpy as np
import pandas as pd
import pytest
from forked import PATIENCE

from imettk.commands.train import train as train_fold
from imettk.config.overrides import apply_overrides
from imettk.experiment.scaling import SCALE
from imettk.recipes import load_recipe
from imettk.tracking.run_dir import RunDir
from imettk.tracking.tensors import read_tensors, read_values, save_tensors

RECIPE = """
from imettk.config import *

def recipe():
    return Recipe(
        table=TableFormat(task="regression", label_columns=("a", "b"), auxiliary_columns=("beside",)),
        folds=FoldConfig(num_folds=2),
        images=ImageFormat(image_size=(32, 32)),
        model=ModelConfig(backbone="timm:test_resnet", dropout=0.3),
        train=TrainConfig(
            loss="mse", target_scale="log", precision="float32", ema_decay=0.9, keep="best", watch="score"
        ),
        stages=(
            StageConfig(num_epochs=2, batch_size=8, accumulate=2, mixup=0.4, loss="huber", hard_examples=0.25),
            StageConfig(num_epochs=1.5, batch_size=8, schedule="plateau", plateau_validations=1, sampler="balanced"),
        ),
        rule=RuleConfig(kind="value"),
        session=SessionConfig(num_workers=0, tensorboard=False),
    )
"""


GRADES = RECIPE.replace(', auxiliary_columns=("beside",)', "")
GRADES = GRADES.replace('task="regression", label_columns=("a", "b")', 'task="ordinal", label_column="grade"')
GRADES = GRADES.replace('loss="mse", target_scale="log"', 'loss="corn"').replace('loss="huber"', 'loss="cumulative"')
GRADES = GRADES.replace('kind="value"', 'kind="cutpoints"')

VOTES = RECIPE.replace(', auxiliary_columns=("beside",)', "").replace('task="regression"', 'task="votes"')
VOTES = VOTES.replace('target_scale="log"', "vote_weight=0.5").replace('loss="mse"', 'loss="kl_divergence"')
VOTES = VOTES.replace('loss="huber"', "label_smoothing=0.1")
VOTES = VOTES.replace(
    'RuleConfig(kind="value")', 'RuleConfig(kind="probability"), score=ScoreConfig(metric="kl_divergence")'
)

QUESTIONS = RECIPE.replace(
    'task="regression", label_columns=("a", "b")', 'task="questions", label_columns=("c", "grade")'
)
QUESTIONS = QUESTIONS.replace(
    'loss="mse", target_scale="log"', 'loss="question_cross_entropy", loss_params={"weights": "2 1 0.5"}'
)
QUESTIONS = QUESTIONS.replace(', loss="huber"', "").replace('kind="value"', 'kind="argmax_each"')
KINDS = {"numbers": RECIPE, "grades": GRADES, "votes": VOTES, "questions": QUESTIONS}


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def prepared(request, imettk, tmp_path_factory):
    """Recipe file, data folder and a folder that `prepare` wrote."""
    folder, rng = tmp_path_factory.mktemp("scaled"), np.random.default_rng(0)
    for part, rows in (("train", 40), ("test", 2)):
        (folder / part).mkdir()
        for row in range(rows):
            cv2.imwrite(str(folder / part / f"{row}.png"), rng.integers(0, 255, (32, 32, 3)).astype(np.uint8))
    numbers = rng.gamma(2, 50, (40, 2))
    columns = {"a": numbers[:, 0], "b": numbers[:, 1], "grade": np.arange(40) % 4, "c": np.arange(40) % 3}
    columns["beside"] = [None if row % 5 == 0 else row // 3 % 4 for row in range(40)]  # which is never answered
    pd.DataFrame({"id": range(40)} | columns).to_csv(folder / "train.csv", index=False)
    answers = {GRADES: {"grade": 0}, QUESTIONS: {"c": 0, "grade": 0}}.get(request.param, {"a": 0.5, "b": 0.5})
    pd.DataFrame({"id": range(2)} | answers).to_csv(folder / "sample_submission.csv", index=False)
    (folder / "mine.py").write_text(request.param)
    imettk("prepare", folder / "mine.py", "--data", folder, "--run-dir", folder / "prepared")
    return folder / "mine.py", folder, folder / "prepared"


def words(prepared, run_dir, *extra):
    recipe, data, inputs = prepared
    return ["train", recipe, "--data", data, "--run-dir", run_dir, "--inputs", inputs, "--fold", 0, *extra]


def model_hash(run_dir):
    return hashlib.sha256((run_dir / "fold0" / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def in_one_go(prepared, imettk, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("one")
    imettk(*words(prepared, run_dir))
    return run_dir


def test_sigkill_and_the_same_command_again_end_with_the_same_bits(prepared, forks, in_one_go, tmp_path):
    command = words(prepared, tmp_path, "--session.checkpoint-seconds", 0)
    process = forks.start(command)
    while len(list((tmp_path / "fold0" / "checkpoints").glob("step-*.safetensors"))) < 2:
        time.sleep(0.005)
        assert process.poll() is None, "ended before it could be killed"
    process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert not (tmp_path / "fold0" / "model.safetensors").exists()
    assert forks.start(command).wait(PATIENCE) == 0
    assert model_hash(tmp_path) == model_hash(in_one_go)


def test_a_stop_at_every_step_changes_nothing(prepared, in_one_go, tmp_path):
    path, data, inputs = prepared
    recipe = apply_overrides(load_recipe(str(path)), ["--session.limit-steps", "1"])
    while not (tmp_path / "fold0" / "model.safetensors").exists():
        train_fold(recipe, data, RunDir(tmp_path, [inputs]), fold=0, started=time.monotonic())
    assert model_hash(tmp_path) == model_hash(in_one_go)


def test_a_checkpoint_in_another_scale_is_refused(prepared, imettk, tmp_path):
    imettk(*words(prepared, tmp_path, "--session.limit-steps", 2))
    (path,) = (tmp_path / "fold0" / "checkpoints").glob("*.safetensors")
    file = read_tensors(path)
    if "regression" not in prepared[0].read_text():
        assert SCALE not in file.values
        return
    assert file.values[SCALE] == read_values(path)[SCALE] and file.values[SCALE]["kind"] == "log"
    other = file.values[SCALE] | {"shift": [0.0, 0.0]}
    save_tensors(path, file.tensors, file.values | {SCALE: other})
    done = imettk(*words(prepared, tmp_path), code=2)
    assert "the checkpoint of fold 0 was trained in another scale of the numbers" in done.stderr
