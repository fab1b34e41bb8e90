"""Transformers at other sizes than their pretraining's, from a folder to a submission: each network is of one size, and
its first stage trains at another one."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from tiny import refused, run
from tiny_swin import register_tiny_swin

pytestmark = pytest.mark.usefixtures("no_charts_here")

TINY_SWIN = register_tiny_swin()
BLOCK = "stages.0.blocks.0.attn_block.attn.rel_pos"
# Name -> size of the recipe, size of the first stage, views, and what of the trained network has the recipe's size.
NETWORKS = {
    "test_vit": ("64 64", "32 48", "plain", ("pos_embed", (1, 101, 64))),  # timm resamples it itself: of 160 x 160
    "vit_tiny_patch16_224": ("48 64", "32 32", "plain rot90", ("pos_embed", (1, 1 + 3 * 4, 192))),
    TINY_SWIN: ("48 48", "32 32", "plain hflip", ("layers.0.blocks.0.attn.relative_position_bias_table", (25, 2))),
    "test_maxvit": ("64 64", "96 96", "plain", (f"{BLOCK}.relative_position_bias_table", (9, 1))),
}  # fmt: skip
BRIEF = [
    "--folds.num-folds", 3, "--stages.0.num-epochs", 1, "--stages.0.batch-size", 16, "--stages.0.warmup-epochs", 0.5,
    "--session.tensorboard", "false", "--train.validate-epochs", 1, "--model.layer-groups", 2,
]  # fmt: skip


def recipe_of(name):
    size, other, views, _ = NETWORKS[name]
    options = [*BRIEF, "--model.backbone", f"timm:{name}", "--images.image-size", *size.split()]
    return [*options, "--stages.0.image-size", *other.split(), "--predict.views", *views.split()]


@pytest.mark.filterwarnings("ignore:Using a non-tuple|torch.searchsorted")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in ("vit_tiny_patch16_224", "test_maxvit")))
        for name in NETWORKS
    ],
)
def test_a_network_goes_all_the_way_and_ends_with_the_same_bits_where_it_was_stopped(
    name, digits_data, tmp_path, capsys
):
    whole, halted = ["--data", digits_data / "data", "--run-dir", tmp_path / "whole"], tmp_path / "halted"
    run("prepare", "digits", *whole, *recipe_of(name))
    shutil.copytree(tmp_path / "whole", halted)
    run("train", *whole, "--dry-run")
    assert "about" in capsys.readouterr().out
    run("train", *whole, "--fold", 0)
    run("validate", *whole)
    run("infer", *whole)
    run("infer", *whole, "--images", digits_data / "data" / "train" / "s00000.png")
    assert "s00000.png: " in capsys.readouterr().out
    other = ["--predict.image-size", *NETWORKS[name][1].split()]
    run("validate", *whole, *other)
    assert "taken from" not in capsys.readouterr().out
    assert "`predict.image_size`: timm:" in refused(capsys, "validate", *whole, "--predict.image-size", 50, 50)
    submission = pd.read_csv(tmp_path / "whole" / "submission.csv")
    assert len(submission) == len(pd.read_csv(digits_data / "data" / "sample_submission.csv"))
    model = load_file(tmp_path / "whole" / "fold0" / "model.safetensors")
    key, shape = NETWORKS[name][3]
    assert model[f"backbone.body.{key}"].shape == shape
    common = ["--data", digits_data / "data", "--run-dir", halted]
    run("train", *common, "--fold", 0, "--session.limit-steps", 1)
    assert json.loads((halted / "fold0" / "status.json").read_text())["state"] == "paused"
    run("train", *common, "--fold", 0, "--session.limit-steps", 100)
    again = load_file(halted / "fold0" / "model.safetensors")
    assert again.keys() == model.keys() and all(np.array_equal(again[key], value) for key, value in model.items())


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (["--images.image-size", 50, 50],
         "`images.image_size`: timm:vit_tiny_patch16_224 does not take 50 x 50 (its patches are 16 x 16 pixels); it "
         "takes 48 x 48 and 64 x 64"),
        (["--images.image-size", 64, 64, "--stages.0.image-size", 36, 48],
         "`stages.0.image_size`: timm:vit_tiny_patch16_224 does not take 36 x 48 (its patches are 16 x 16 pixels); it "
         "takes 32 x 48 and 48 x 48"),
        (["--images.image-size", 64, 64, "--model.backbone", "timm:convit_tiny", "--stages.0.image-size", 48, 48],
         "it takes 64 x 64"),
        (["--images.image-size", 32, 48, "--model.backbone", "timm:pit_ti_224", "--predict.views", "plain", "rot270"],
         "`predict.views rot270`: timm:pit_ti_224 does not take 48 x 32"),
        (["--model.backbone", "timm:resnet43"], "`model.backbone`: timm has no network 'resnet43'; similar: "),
        (["--model.layer-groups", 40], "`model.layer_groups` must be at most 13"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line_from_prepare_on(changes, line, digits_data, tmp_path, capsys):
    common = ["--data", digits_data / "data", "--run-dir", tmp_path / "run"]
    vit = ["--model.backbone", "timm:vit_tiny_patch16_224", "--images.image-size", 48, 48, *BRIEF]
    assert line in refused(capsys, "prepare", "digits", *common, *vit, *changes)
    assert not (tmp_path / "run" / "folds.csv").exists()
    if "--model.layer-groups" in changes:  # one that is found soon: these commands come to the same check
        assert line in refused(capsys, "prepare", "digits", *common, *vit, *changes, "--show-augmentation")
        assert line in refused(capsys, "preflight", "digits", *common, *vit, *changes)


def test_a_network_that_is_named_after_prepare_is_looked_at_by_what_makes_it(digits_data, tmp_path, capsys):
    common = ["--data", digits_data / "data", "--run-dir", tmp_path / "run"]
    run("prepare", "digits", *common, *BRIEF, "--images.image-size", 50, 50)
    for arguments in ([], ["--dry-run"]):
        line = refused(capsys, "train", *common, "--model.backbone", "timm:vit_tiny_patch16_224", *arguments)
        assert "`images.image_size`" in line and "it takes 48 x 48 and 64 x 64" in line
