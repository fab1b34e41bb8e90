"""A training with adapters leaves a plain network, which validates and infers without peft."""

from __future__ import annotations

import importlib.util
import sys
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from imettk.commands.infer import infer
from imettk.commands.prepare import prepare
from imettk.commands.train import train
from imettk.commands.validate import validate
from imettk.config import ImageFormat, ModelConfig, SessionConfig, StageConfig, TrainConfig
from imettk.experiment.prepared import make_network
from imettk.models.lora import add_adapters
from imettk.recipes.digits import digits
from imettk.tracking.run_dir import RunDir
from imettk.training.checkpoint import load_newest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs pip install -e .[lora]")


def test_a_training_with_adapters_leaves_a_plain_network(digits_data, tmp_path, monkeypatch, capsys):
    recipe = replace(
        digits(),
        images=ImageFormat(image_size=(32, 32), channels=1, mean=(0.2,), std=(0.3,)),
        model=ModelConfig(backbone="timm:test_vit", layer_groups=2, lora_rank=4),
        train=TrainConfig(seed=5, precision="float32", ema_decay=0.9),
        stages=(
            StageConfig(num_epochs=0.4, batch_size=8, lr=(1e-2,), image_size=(48, 48)),
            StageConfig(num_epochs=0.4),
        ),
        session=SessionConfig(num_workers=0),
    )
    data, run = digits_data / "data", RunDir(tmp_path)
    prepare(recipe, data, run)
    limited = replace(recipe, session=replace(recipe.session, limit_steps=2))
    for settings in (limited, recipe):
        train(settings, data, run, fold=0, started=time.monotonic())
    assert "LoRA of rank 4 on" in capsys.readouterr().out
    weights, plain = load_file(tmp_path / "fold0/model.safetensors"), make_network(recipe, 15)
    assert weights.keys() == plain.state_dict().keys()
    plain.load_state_dict(weights)
    # What the last validation saw: averaged weights, with the adapters beside them.
    network, images = make_network(recipe, 15), torch.randint(0, 256, (4, 32, 32, 1), dtype=torch.uint8)
    add_adapters(network, recipe.model, (32, 32))
    network.load_state_dict(load_newest([tmp_path / "fold0/checkpoints"], pytest.fail).part("ema"))
    torch.testing.assert_close(plain.eval()(images).logits, network.eval()(images).logits, rtol=1e-4, atol=1e-4)
    monkeypatch.setitem(sys.modules, "peft", None)
    validate(recipe, data, run, fold=0)
    infer(recipe, data, run, fold=0, started=time.monotonic())
    assert (tmp_path / "submission.csv").is_file()
