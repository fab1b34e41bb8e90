"""Everything in a network that drops at random, killed and stopped at odd steps, ends with the bits of one go."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from forked import PATIENCE

# Stochastic depth, dropout in the blocks, attention pools on two levels, several masks of the last dropout, a group of
# each block; two stages, the first at another image size.
RECIPE = """
from dataclasses import replace
from imettk.config import ImageFormat, ModelConfig, SessionConfig, StageConfig, TrainConfig
from imettk.recipes.digits import digits

def recipe():
    model = ModelConfig(backbone="timm:test_vit", drop_path=0.5, backbone_dropout=0.3, layer_groups=0, head="pooled",
                        pool="attention", levels=(2, 5), dropout=0.4, dropout_samples=3)
    common = dict(batch_size=8, accumulate=2, layer_decay=0.7, lr=(1e-3,))
    return replace(
        digits(),
        images=ImageFormat(image_size=(32, 32), channels=1, mean=(0.2,), std=(0.3,)),
        model=model,
        train=TrainConfig(seed=5, precision="float32", ema_decay=0.9),
        stages=(StageConfig(num_epochs=0.7, image_size=(48, 48), mixup=0.4, **common),
                StageConfig(num_epochs=0.5, **common)),
        session=SessionConfig(num_workers=0, tensorboard=False),
    )
"""


def model_hash(run_dir: Path) -> str:
    return hashlib.sha256((run_dir / "fold0" / "model.safetensors").read_bytes()).hexdigest()


def test_a_killed_training_ends_with_the_same_bits(digits_data, imettk, forks, tmp_path):
    (tmp_path / "mine.py").write_text(RECIPE)
    words = [tmp_path / "mine.py", "--data", digits_data / "data"]
    imettk("prepare", *words, "--run-dir", tmp_path / "prepared")

    def train(folder, *extra):
        return ["train", *words, "--run-dir", tmp_path / folder, "--inputs", tmp_path / "prepared", "--fold", 0, *extra]

    imettk(*train("one"))
    process = forks.start(train("killed", "--session.checkpoint-seconds", 0))
    while not list((tmp_path / "killed").glob("fold0/checkpoints/step-*.safetensors")):
        time.sleep(0.002)
        assert process.poll() is None, "ended before it could be killed"
    process.kill()
    process.wait(PATIENCE)
    for steps in (3, 100):
        imettk(*train("killed", "--session.limit-steps", steps))
    assert model_hash(tmp_path / "killed") == model_hash(tmp_path / "one")
