"""Training computes in what this CPU gets right and does faster, and goes on as it began."""

import dataclasses
import json

import pytest
import torch
from pictures import make_pictures
from safetensors import safe_open
from tiny import TINY, run

from imettk.experiment import precision
from imettk.experiment.precision import TrainingPrecision, has_depthwise, time_precisions
from imettk.models.network import Network
from imettk.recipes import load_recipe
from imettk.training.process_group import Compute

HALF = Compute(torch.device("cpu"), torch.bfloat16)
SINGLE, DOUBTFUL = "timm:test_resnet", "timm:test_efficientnet"


def settled(monkeypatch, recorded=None, *, times=(1.0, 1.0), fails=False, wanted="auto", size=64, backbone=SINGLE):
    """The dtype of a training, and how often both were timed."""
    recipe, calls = load_recipe("digits"), []
    recipe = dataclasses.replace(
        recipe,
        images=dataclasses.replace(recipe.images, image_size=(size, size)),
        model=dataclasses.replace(recipe.model, backbone=backbone),
        train=dataclasses.replace(recipe.train, precision=wanted),
    )
    monkeypatch.setattr(precision, "bfloat16_convolutions_fail", lambda: fails)
    monkeypatch.setattr(precision, "time_precisions", lambda *given: calls.append(given) or times)
    choice = TrainingPrecision(recipe, HALF, 15)
    dtypes = {choice.settle(recorded).dtype for _ in range(3)}
    assert len(dtypes) == 1
    return dtypes.pop(), len(calls)


@pytest.mark.parametrize(
    ("size", "fails", "dtype"), [(16, True, torch.float32), (16, False, torch.bfloat16), (64, True, torch.bfloat16)]
)
def test_a_run_goes_to_float32_where_a_wrong_gradient_would_meet_it(monkeypatch, capsys, size, fails, dtype):
    for recorded in (None, "torch.bfloat16"):
        assert settled(monkeypatch, recorded, fails=fails, wanted="bfloat16", size=size) == (dtype, 0)
        assert ("note: float32 in place of bfloat16" in capsys.readouterr().out) == (dtype is torch.float32)


@pytest.mark.parametrize(
    ("backbone", "times", "dtype"),
    [
        (SINGLE, (1.0, 9.0), torch.bfloat16),  # no depthwise convolution: not in doubt
        (DOUBTFUL, (1.0, 1.5), torch.float32),
        (DOUBTFUL, (1.0, 1.02), torch.bfloat16),  # noise
        (DOUBTFUL, (1.5, 1.0), torch.bfloat16),
    ],
)
def test_auto_takes_what_is_faster_once_for_all_folds_and_says_so(monkeypatch, capsys, backbone, times, dtype):
    assert settled(monkeypatch, times=times, backbone=backbone) == (dtype, int(backbone == DOUBTFUL))
    said = capsys.readouterr().out
    assert said.count("8 images take 1") == int(backbone == DOUBTFUL)


@pytest.mark.parametrize(
    ("recorded", "wanted", "dtype"),
    [
        ("torch.float32", "auto", torch.float32),
        ("torch.bfloat16", "auto", torch.bfloat16),
        ("torch.float16", "auto", torch.bfloat16),  # of a GPU
        ("torch.float32", "bfloat16", torch.bfloat16),
        (None, "bfloat16", torch.bfloat16),
    ],
)
def test_a_training_keeps_what_it_recorded_and_a_recipe_has_the_last_word(monkeypatch, recorded, wanted, dtype):
    assert settled(monkeypatch, recorded, wanted=wanted, times=(1.0, 9.0), backbone=DOUBTFUL) == (dtype, 0)


def test_both_are_timed_on_a_network_of_any_head():
    for settings in ({}, {"head": "embedding", "embedding_size": 8, "centres": 0}):
        network = Network(backbone=DOUBTFUL, num_classes=3, mean=(0.5,), std=(0.5,), **settings)
        assert has_depthwise(network) and min(time_precisions(network, (2, 32, 32, 1))) > 0
        assert all(value.grad is None for value in network.parameters())
    assert not has_depthwise(Network(backbone=SINGLE, num_classes=3, mean=(0.5,), std=(0.5,)))


def test_the_choice_is_in_the_checkpoint_and_the_next_session_keeps_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("imettk.experiment.prepared.choose_precision", lambda *_: torch.bfloat16)
    monkeypatch.setattr(precision, "time_precisions", lambda *_: (1.0, 2.0))
    data = make_pictures(tmp_path / "data", ["a", "b"] * 12)
    monkeypatch.chdir(tmp_path)
    run("new", "mine", "--data", data)
    common = ["mine.py", "--data", data, "--run-dir", "run", *TINY, "--stages.0.num-epochs", 3]
    common += ["--model.backbone", DOUBTFUL]
    run("prepare", *common)
    run("train", *common, "--fold", 0, "--session.limit-steps", 1)
    assert "fold 0: cpu, float32" in capsys.readouterr().out
    monkeypatch.setattr(precision, "time_precisions", lambda *_: (2.0, 1.0))
    run("train", *common, "--fold", 0)
    said = capsys.readouterr().out
    assert "fold 0: cpu, float32" in said and "warning" not in said and "precision:" not in said
    (path, *_) = sorted((tmp_path / "run" / "fold0" / "checkpoints").glob("*.safetensors"))
    with safe_open(path, "np") as file:
        values = [json.loads(text) for text in file.metadata().values() if text.startswith("{")]
    assert any(value.get("environment", {}).get("precision") == "torch.float32" for value in values)
