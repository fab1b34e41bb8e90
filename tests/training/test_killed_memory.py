"""Techniques that save memory or time, each killed by the system at some step: the run ends with the same bits."""

from __future__ import annotations

import importlib.util
import signal
import time
from pathlib import Path

import pytest
import torch
from forked import PATIENCE, ForkServer
from safetensors.torch import load_file

from imettk.errors import ConfigError
from imettk.training.compiled import require_compiler

HERE = Path(__file__).parent
SCRIPT = """
import importlib.util, sys
from dataclasses import replace
from pathlib import Path
import torch
from imettk.config import ModelConfig, StageConfig, TrainConfig
from imettk.models.lora import add_adapters, is_adapter
from safetensors.torch import save_file

sys.path.insert(0, sys.argv[5])
from small_bodies import NOISE, SIDE, VIT, Pixels, SmallNetwork

spec = importlib.util.spec_from_file_location("harness", sys.argv[1])
harness = importlib.util.module_from_spec(spec)
spec.loader.exec_module(harness)
out, technique, folder = Path(sys.argv[2]), sys.argv[3], sys.argv[4]
torch.set_num_threads(1)
STAGE = StageConfig(num_epochs=2, batch_size=8, lr=(0.02,), mixup=0.2)
network, stage, session = harness.SmallNet(0.2), STAGE, {}
if technique == "batchnorm":  # frozen in one stage, learning in the next, all computed again
    network, session = SmallNetwork("test_resnet", drop_path_rate=0.3), {"recompute_activations": True}
    stage = replace(STAGE, batch_size=4, accumulate=4, freeze_batchnorm=True)
elif technique == "compile":
    session = {"compile": True}
elif technique == "lora":
    network = SmallNetwork(**VIT | NOISE)
    network.register_buffer("mean", torch.zeros(1, 3, 1, 1), persistent=False)
    add_adapters(network, ModelConfig(lora_rank=2), (SIDE, SIDE))
groups = network.groups() if isinstance(network, SmallNetwork) else harness.GROUPS
if technique == "lora":
    groups[0] = [name for name in groups[0] if is_adapter(name)]
make = next(harness.make_trainer._get_wrapped_function()(out))
trainer = make(
    folder,
    network=network,
    layer_groups=groups,
    stages=(stage, replace(stage, num_epochs=1, freeze_batchnorm=False, batch_size=8, accumulate=1)),
    plan=TrainConfig(loss="cross_entropy", ema_decay=0.9),
    session={"checkpoint_seconds": 0, **session},
    dataset=Pixels() if groups is not harness.GROUPS else None,
)
assert trainer.fit() is None
weights = {name: value.contiguous() for name, value in trainer.network.state_dict().items()}
averaged = {f"ema.{name}": value.contiguous() for name, value in trainer.final_weights().items()}
save_file(weights | averaged, out / f"{folder}.safetensors")
"""


def why_not(technique: str) -> str | None:
    """Return why a technique cannot be used on this machine, or None."""
    if technique == "lora" and importlib.util.find_spec("peft") is None:
        return "needs pip install -e .[lora]"
    if technique == "compile":
        try:
            require_compiler(torch.device("cpu"))
        except ConfigError as error:
            return str(error)
    return None


def train(forks: ForkServer, out: Path, technique: str, folder: str, *, kill_at: int | None = None) -> None:
    words, steps = [HERE / "conftest.py", out, technique, folder, HERE.parent / "boxes"], out / folder / "checkpoints"
    if kill_at is not None:
        process = forks.start(words, code=SCRIPT)
        while max((int(path.stem[5:]) for path in steps.glob("step-*.safetensors")), default=0) < kill_at:
            time.sleep(0.002)
            assert process.poll() is None, f"ended before it could be killed: {process.stderr}"
        process.kill()
        assert process.wait(PATIENCE) == -signal.SIGKILL
    process = forks.start(words, code=SCRIPT)
    assert process.wait(PATIENCE) == 0, process.stderr


@pytest.mark.parametrize("technique", ["batchnorm", "lora", pytest.param("compile", marks=pytest.mark.slow)])
def test_sigkill_at_some_step_ends_with_the_same_bits(forks, tmp_path, technique):
    if reason := why_not(technique):
        pytest.skip(reason)
    train(forks, tmp_path, technique, "whole")
    train(forks, tmp_path, technique, "killed", kill_at=4)
    whole, killed = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "killed"))
    assert list(whole) == list(killed)
    assert all(torch.equal(value, killed[name]) for name, value in whole.items())
