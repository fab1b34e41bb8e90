"""No training ends with weights that are not finite, and no micro-batch is too small for BatchNorm."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imettk.config import StagePlan
from imettk.errors import ConfigError, DeviceError, TrainingError
from imettk.losses.cross_entropy import cross_entropy
from imettk.losses.output_loss import OutputLoss
from imettk.models.network import Outputs
from imettk.tracking.journal import read_journal
from imettk.training.checkpoint import load_newest
from imettk.training.feed import check_batches

STEPS = 12  # 24 rows in batches of 8, 4 epochs


class BadGradient:
    """Cross entropy whose gradient is no number in some of the calls, while its value is right."""

    def __init__(self, calls: set[int]) -> None:
        self.calls, self.count = calls, 0

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.count += 1
        losses = cross_entropy(logits, targets)
        return losses + (0 * logits.sum()).sqrt() if self.count in self.calls else losses


def is_finite(tensors: dict[str, Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in tensors.values() if value.is_floating_point())


def test_a_last_step_that_spoils_the_weights_is_taken_back(make_trainer, tmp_path):
    whole = make_trainer("whole")
    whole.fit()
    trainer = make_trainer(loss=BadGradient({STEPS}))
    assert trainer.fit() is None and trainer.at.step == STEPS
    ours, plain = trainer.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(value, plain[name]) for name, value in ours.items())
    (back,) = [one for one in read_journal(tmp_path / "run" / "journal.jsonl") if one["event"] == "rollback"]
    assert back["bad_step"] == STEPS


def test_where_that_lasts_it_stops_with_the_last_good_checkpoint_in_place(make_trainer, tmp_path):
    trainer = make_trainer(loss=BadGradient(set(range(STEPS, 100))))
    with pytest.raises(TrainingError, match="weights were infinite or not a number after the last step, 12") as caught:
        trainer.fit()
    assert "also after going back" in str(caught.value) and "lower the learning rate" in str(caught.value)
    kept = load_newest([tmp_path / "run" / "checkpoints"], pytest.fail)
    assert 0 < kept.values["position"]["step"] < STEPS and is_finite(kept.part("model"))


def test_weights_that_were_never_finite_leave_nothing_that_looks_good(make_trainer, tmp_path):
    stages = (StagePlan(num_epochs=1, batch_size=8, lr=(0.02,)),)
    with pytest.raises(TrainingError, match="no checkpoint before it: lower the learning rate"):
        make_trainer(stages=stages, loss=BadGradient(set(range(1, 100)))).fit()
    assert list((tmp_path / "run" / "checkpoints").glob("step-*")) == []


@pytest.mark.parametrize("count", [1, 3])
def test_weights_that_are_finite_and_useless_are_no_result(make_trainer, tmp_path, count):
    """Far too large ones: the last losses are no numbers, and neither is what the last validation finds."""
    calls = 0

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return cross_entropy(logits, targets) * (torch.nan if calls > STEPS - count else 1)

    def validate(network: nn.Module) -> dict[str, float]:
        return {"loss": 1.0 if calls < STEPS else torch.nan, "score": 0.0}

    with pytest.raises(TrainingError, match=r"loss was .* not a number in \d steps in a row up to step 12, also after"):
        make_trainer(loss=loss, validate=validate).fit()
    kept = load_newest([tmp_path / "run" / "checkpoints"], pytest.fail)
    assert 0 < kept.values["position"]["step"] < STEPS


def test_a_last_step_that_is_skipped_for_its_images_spoils_nothing(make_trainer):
    """The last validation finds numbers."""
    calls = iter(range(1, 100))

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(logits, targets) * (torch.nan if next(calls) == STEPS else 1)

    trainer = make_trainer(loss=loss)
    assert trainer.fit() is None and trainer.at.nonfinite_in_a_row == 1


def test_each_validation_is_followed_by_a_checkpoint_where_that_costs_little(make_trainer, tmp_path):
    """Long before the 600 seconds of `session.checkpoint_seconds` have passed."""
    make_trainer().fit()
    events = read_journal(tmp_path / "run" / "journal.jsonl")
    assert min(one["step"] for one in events if one["event"] == "checkpoint") == 3


class NoNorm(nn.Module):
    """A network that can train on single images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Outputs:
        if len(images) > 1:
            raise torch.OutOfMemoryError("injected")
        return Outputs(self.head(self.norm(self.conv(images.permute(0, 3, 1, 2).float())).mean((2, 3))))


def test_without_batchnorm_halving_goes_on_to_single_samples(make_trainer):
    trainer = make_trainer(network=NoNorm(), limit_steps=1)
    trainer.fit()
    assert trainer._runner.split == 8


def test_halving_stops_at_two_samples_where_batchnorm_trains(make_trainer):
    trainer = make_trainer()
    sizes: list[int] = []

    def out_of_memory(module: nn.Module, inputs: tuple[Tensor]) -> None:
        sizes.append(len(inputs[0]))
        raise torch.OutOfMemoryError("injected")

    trainer.network.register_forward_pre_hook(out_of_memory)
    with pytest.raises(DeviceError, match=r"even with two samples \(BatchNorm needs as many\)"):
        trainer.fit()
    assert sizes == [8, 4, 2]


def test_frozen_batchnorm_needs_no_company(make_trainer):
    stages = (StagePlan(num_epochs=1, batch_size=8, lr=(0.02,), frozen_groups=1),)
    trainer = make_trainer(stages=stages)
    assert trainer._least == [1] and make_trainer("other")._least == [2]


@pytest.mark.parametrize(("batch_size", "accumulate"), [(16, 16), (1, 1), (3, 3)])
def test_micro_batches_of_one_are_refused_when_the_recipe_is_made(batch_size, accumulate):
    with pytest.raises(ConfigError, match="at most half of `batch_size`"):
        StagePlan(batch_size=batch_size, accumulate=accumulate)


@pytest.mark.parametrize(("rows", "accumulate", "least", "fits"), [(1, 1, 2, False), (1, 1, 1, True), (2, 1, 2, True),
                                                                   (5, 4, 2, False), (8, 4, 2, True)])  # fmt: skip
def test_few_rows_may_leave_a_micro_batch_of_one(rows, accumulate, least, fits):
    plan = StagePlan(batch_size=16, accumulate=accumulate)
    data = SimpleNamespace(rows=np.arange(rows), loss_for=lambda plan: None)
    span = SimpleNamespace(stage=0, plan=plan)
    if fits:
        check_batches(data, [span], 1, [least])
    else:
        with pytest.raises(ConfigError, match="which BatchNorm cannot train on"):
            check_batches(data, [span], 1, [least])


@pytest.mark.parametrize("whole_batch", [True, False])
@pytest.mark.parametrize(("batch_size", "processes"), [(8, 2), (9, 2), (8, 3)])
def test_a_loss_over_the_whole_batch_needs_equal_parts(whole_batch, batch_size, processes):
    plan, loss = StagePlan(batch_size=batch_size), OutputLoss(cross_entropy, whole_batch=whole_batch)
    data = SimpleNamespace(rows=np.arange(100), loss_for=lambda plan: loss)
    span = SimpleNamespace(stage=0, plan=plan)
    if batch_size % processes == 0 or not whole_batch:
        check_batches(data, [span], processes, [1])
    else:
        with pytest.raises(ConfigError, match="a loss over the whole batch needs equal parts"):
            check_batches(data, [span], processes, [1])


ORPHAN = """
import os, sys
from imettk.data.dataset import _die_with
trainer, signalled = os.getpid(), sys.argv[1] == "signalled"
if os.fork() == 0:
    if not signalled:  # killed before the loader has begun to watch it
        while os.getppid() == trainer:
            pass
    _die_with(trainer, signalled=signalled)
    os.write(1, b"ready")
while True:
    os.read(0, 1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux' prctl")
@pytest.mark.parametrize("moment", ["before", "signalled"])
def test_no_loader_outlives_a_trainer_that_was_killed(moment):
    """While it starts, before or after it asked to be told; `read` ends when nobody holds the pipe any more."""
    command = [sys.executable, "-c", ORPHAN, moment]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as trainer:
        assert trainer.stdin is not None and trainer.stdout is not None
        if moment == "signalled":
            assert os.read(trainer.stdout.fileno(), 5) == b"ready"
        trainer.send_signal(signal.SIGKILL)
        readable, _, _ = select.select([trainer.stdout], [], [], 300)
        assert readable and os.read(trainer.stdout.fileno(), 5) == b"", "a loader is still there"
