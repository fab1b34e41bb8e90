"""Training in bfloat16 on a CPU whose torch gets some of its gradients wrong."""

from __future__ import annotations

import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tiny import TINY, run

from imettk.device import bfloat16_convolutions_fail, meets_single_pixels
from imettk.models.network import Network


@pytest.mark.parametrize(("size", "meets"), [(16, True), (32, True), (64, False)])
def test_maps_of_one_pixel_are_found(size, meets):
    """test_resnet halves five times; its last convolutions see maps of size / 32, or the stride of the one before."""
    network = Network(backbone="timm:test_resnet", num_classes=3, mean=(0.5,), std=(0.5,))
    assert meets_single_pixels(network, torch.zeros((1, size, size, 1), dtype=torch.uint8)) == meets


def test_the_probe_finds_gradients_of_bare_memory(monkeypatch):
    """Whatever this CPU does: a gradient that is off is told from one that is rounded."""
    bfloat16_convolutions_fail.cache_clear()
    grad = torch.autograd.grad

    def rounded(loss, inputs):
        return [value.bfloat16().float() for value in grad(loss.float(), inputs)]

    with monkeypatch.context() as patch:
        patch.setattr(torch, "autocast", lambda *_: nullcontext())
        patch.setattr(torch.autograd, "grad", rounded)
        assert bfloat16_convolutions_fail() is False
        for bad in (float("nan"), 1e20):
            bfloat16_convolutions_fail.cache_clear()
            calls = []

            def spoiled(loss, inputs, bad=bad, calls=calls):
                calls.append(1)
                return [value if len(calls) == 1 else value + bad for value in grad(loss, inputs)]

            patch.setattr(torch.autograd, "grad", spoiled)
            assert bfloat16_convolutions_fail() is True
    bfloat16_convolutions_fail.cache_clear()


def test_small_images_train_to_the_same_bits_twice_by_default(own_data, tmp_path):
    """With `precision` auto: on a CPU with bfloat16 this gave other bits each time, and sometimes NaN."""
    common = ["--data", own_data, "--fold", 0, *TINY, "--images.image-size", 16, 16, "--cache.kind", "none"]
    for name in ("one", "two"):
        run("prepare", "digits", "--run-dir", tmp_path / name, *common)
        run("train", "digits", "--run-dir", tmp_path / name, *common)
    one, two = (load_file(tmp_path / name / "fold0" / "model.safetensors") for name in ("one", "two"))
    assert all(np.array_equal(value, two[name]) for name, value in one.items())
    line = (tmp_path / "one" / "fold0" / "journal.jsonl").read_text().splitlines()[0]
    if bfloat16_convolutions_fail():
        assert json.loads(line)["environment"]["precision"] == "torch.float32"


def test_the_number_of_threads_is_the_recipes_and_is_noted(own_data, tmp_path):
    before = torch.get_num_threads()
    at = ["--data", own_data, "--run-dir", tmp_path / "run", *TINY]
    try:
        run("prepare", "digits", *at)
        run("train", "digits", *at, "--fold", 0, "--session.num-threads", 3)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    line = (tmp_path / "run" / "fold0" / "journal.jsonl").read_text().splitlines()[0]
    assert json.loads(line)["environment"]["threads"] == "3"
