"""No training ends with weights that are not finite, or finite and useless."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from training_faults import FailingLoss

from imettk.config import StageConfig
from imettk.errors import TrainingError
from imettk.losses.cross_entropy import cross_entropy
from imettk.tracking.journal import read_journal
from imettk.training.checkpoint import load_newest

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
    stages = (StageConfig(num_epochs=1, batch_size=8, lr=(0.02,)),)
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


def halves(optimizer: str, *, keep: bool, **settings) -> tuple[StageConfig, ...]:
    stage = StageConfig(
        num_epochs=2, batch_size=8, lr=(0.02,), optimizer=optimizer, schedule="constant", clip_norm=1.0, **settings
    )
    return stage, replace(stage, keep_optimizer=keep)


def all_tensors(folder: Path) -> dict[str, Tensor]:
    checkpoint = load_newest([folder / "checkpoints"], pytest.fail)
    return {f"{part}.{name}": value for part in ("model", "optimizer") for name, value in checkpoint.part(part).items()}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "timm:lamb"])
def test_two_stages_that_keep_the_optimizer_are_one_stage(make_trainer, tmp_path, optimizer):
    stage, _ = halves(optimizer, keep=True)
    make_trainer("one", stages=(replace(stage, num_epochs=4),)).fit()
    make_trainer("two", stages=halves(optimizer, keep=True)).fit()
    make_trainer("new", stages=halves(optimizer, keep=False)).fit()
    one, two, new = (all_tensors(tmp_path / name) for name in ("one", "two", "new"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert not torch.equal(one["model.conv.weight"], new["model.conv.weight"])


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_a_kept_optimizer_survives_a_stop_at_any_step(make_trainer, tmp_path, limit):
    stages = halves("adamw", keep=True)
    make_trainer("whole", stages=stages).fit()
    while make_trainer("parts", stages=stages, limit_steps=limit).fit() is not None:
        pass
    whole, parts = all_tensors(tmp_path / "whole"), all_tensors(tmp_path / "parts")
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_a_kept_optimizer_goes_back_with_a_rollback(make_trainer, tmp_path):
    """The first steps of the second stage fail: its moments come from the checkpoint, not from this process."""
    stages = halves("adamw", keep=True)
    make_trainer("whole", stages=stages).fit()
    session = {"checkpoint_seconds": 0.0, "nonfinite_steps": 2}
    make_trainer("back", stages=stages, session=session, loss=FailingLoss({7, 8})).fit()
    whole, back = all_tensors(tmp_path / "whole"), all_tensors(tmp_path / "back")
    assert all(torch.equal(value, back[name]) for name, value in whole.items())
