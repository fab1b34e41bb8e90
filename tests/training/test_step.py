"""A step is taken whole or not at all, fits into memory, and draws random numbers of its own."""

from __future__ import annotations

import pytest
import torch
from small_bodies import NOISE, VIT, Pixels, SmallNetwork
from torch import Tensor, nn
from training_faults import EVERY_STEP, FailingLoss, events, same, weights

from imettk.config import StageConfig, TrainConfig
from imettk.data.sampling import derive_seed
from imettk.errors import DeviceError
from imettk.losses.cross_entropy import cross_entropy
from imettk.models.network import Outputs
from imettk.training.process_group import ProcessGroup
from imettk.training.step import _gather


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_an_infinite_loss_with_a_finite_gradient_is_skipped_whole(make_trainer, dtype):
    class Infinite:
        calls = 0

        def __call__(self, logits, targets):
            self.calls += 1
            return cross_entropy(logits, targets) + (torch.inf if self.calls == 3 else 0)

    trainer = make_trainer(loss=Infinite(), dtype=dtype, limit_steps=2)
    trainer.fit()
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer._session._steps_left = 1
    trainer.fit()
    assert trainer.at.nonfinite_steps == 1
    assert all(torch.equal(value, before[name]) for name, value in trainer.network.state_dict().items())


def test_every_step_micro_batch_and_process_draws_its_own_random_numbers(make_trainer):
    def seeds(folder: str, rank: int) -> list[int]:
        stages = (StageConfig(num_epochs=2, batch_size=8, accumulate=2, lr=(0.02,)),)
        trainer = make_trainer(folder, stages=stages)
        trainer._runner._seed = derive_seed(3, rank)  # as a process of this rank has it
        drawn: list[int] = []
        trainer.network.register_forward_pre_hook(lambda *_: drawn.append(torch.default_generator.initial_seed()))
        trainer.fit()
        return drawn

    first, second, again = seeds("first", 0), seeds("second", 1), seeds("again", 0)
    assert first == again and len(set(first + second)) == 24  # 6 steps of 2 micro-batches, twice


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_step_without_a_finite_loss_changes_nothing_and_is_counted(make_trainer, tmp_path, dtype, capsys):
    """Weights and BatchNorm's running statistics are those of the step before; the run goes on to its end."""
    trainer = make_trainer(loss=FailingLoss({5}), session=EVERY_STEP, dtype=dtype)
    seen = []
    run = trainer._runner.run

    def spied(*arguments):
        before = weights(trainer)
        result = run(*arguments)
        seen.append((result.finite, same(before, weights(trainer))))
        return result

    trainer._runner.run = spied
    assert trainer.fit() is None
    assert [finite for finite, _ in seen] == [step != 5 for step in range(1, 13)]
    assert seen[4] == (False, True)
    assert not any(unchanged for _, unchanged in seen[5:])
    assert trainer.at.nonfinite_steps == 1 and trainer.at.nonfinite_in_a_row == 0
    assert [one["step"] for one in events(tmp_path, "nonfinite")] == [5]
    assert "step 5 has no finite loss" in capsys.readouterr().out


def test_a_nan_in_the_gradient_alone_is_caught_where_the_gradient_is_clipped(make_trainer):
    class Poisoned(FailingLoss):
        def __call__(self, logits, targets):
            self.calls += 1
            losses = cross_entropy(logits, targets)
            return losses + (logits.sum() * 0).abs().sqrt() if self.calls in self.bad else losses  # 0 * inf backwards

    clipped = (StageConfig(num_epochs=4, batch_size=8, lr=(0.02,), clip_norm=1.0),)
    trainer = make_trainer(loss=Poisoned({3}), stages=clipped)
    assert trainer.fit() is None
    assert trainer.at.nonfinite_steps == 1
    assert all(value.isfinite().all() for value in trainer.network.state_dict().values())


class SmallMemory(torch.nn.Module):
    """A network on a device that holds only so many images."""

    def __init__(self, network: torch.nn.Module, room: int) -> None:
        super().__init__()
        self.conv, self.norm, self.head = network.conv, network.norm, network.head
        self.inner, self.room, self.failures = [network], room, 0

    def forward(self, images: Tensor):
        outputs = self.inner[0](images)
        if len(images) > self.room:
            self.failures += 1
            raise torch.OutOfMemoryError("injected")
        return outputs


def test_out_of_memory_halves_the_micro_batch_and_changes_nothing_else(make_trainer, tmp_path, capsys):
    """The same bits as with accumulation asked for from the start, and BatchNorm does not count the step twice."""
    network = type(make_trainer("other").network)
    asked = make_trainer("asked", stages=(StageConfig(num_epochs=4, batch_size=8, accumulate=4, lr=(0.02,)),))
    asked.fit()
    small = SmallMemory(network(), room=2)
    trainer = make_trainer(network=small, limit_steps=6)
    trainer.fit()
    assert small.failures == 2  # 8, then 4
    assert "micro-batches of 2 from now on" in capsys.readouterr().out
    again = SmallMemory(network(), room=2)
    resumed = make_trainer(network=again)
    assert resumed.at.step == 6
    resumed.fit()
    assert again.failures == 0, "the micro-batch in use is in the checkpoint"
    assert same(weights(asked), weights(resumed))


def test_out_of_memory_with_as_few_samples_as_can_train_is_a_clear_error(make_trainer):
    network = type(make_trainer("other").network)
    with pytest.raises(DeviceError, match="out of memory on cpu in step 0 even with two samples"):
        make_trainer(network=SmallMemory(network(), room=0)).fit()


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "body", [VIT | NOISE, {"model_name": "test_resnet", "drop_path_rate": 0.3}], ids=["vit", "cnn"]
)
def test_activations_computed_again_give_the_same_bits(make_trainer, body, dtype):
    """Dropout and stochastic depth draw the same numbers again; BatchNorm counts each batch once."""
    states = []
    for recomputes in (False, True):
        network = SmallNetwork(**body)
        stages = (StageConfig(num_epochs=1, batch_size=8, accumulate=2, lr=(0.02,)),)
        trainer = make_trainer(
            f"recomputes-{recomputes}",
            network=network,
            layer_groups=network.groups(),
            stages=stages,
            plan=TrainConfig(loss="cross_entropy", ema_decay=0.9),
            session={"recompute_activations": recomputes},
            dataset=Pixels(),
            dtype=dtype,
        )
        trainer.fit()
        states.append(
            {**network.state_dict(), **{f"ema.{name}": value for name, value in trainer.evaluated.state_dict().items()}}
        )
    assert same(*states)


def test_logits_by_mask_are_gathered_by_sample():
    """A loss over the whole batch sees (masks, B, C) of all processes; this one takes the place of two."""

    class Twice(ProcessGroup):
        def all_gather_with_grad(self, part):
            return torch.cat([part, part + 100])

    logits = torch.arange(24.0).view(3, 4, 2)
    gathered = _gather(logits, Twice())
    assert gathered.shape == (3, 8, 2) and torch.equal(gathered, torch.cat([logits, logits + 100], 1))
    assert _gather(logits[0], Twice()).shape == (8, 2)
