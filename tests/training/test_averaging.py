"""The mean of the last weights: equal to torch's, and with the same bits after any stop or kill."""

from __future__ import annotations

import copy
import importlib.util
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import LAUNCH, PATIENCE
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

from imettk.commands.dry_run import total_seconds
from imettk.commands.preflight import miniature
from imettk.config import Recipe, StageConfig, TrainConfig
from imettk.data.samplers import Sampler
from imettk.errors import ConfigError
from imettk.losses.cross_entropy import cross_entropy
from imettk.tracking.journal import read_journal
from imettk.training.averaging import last_marks
from imettk.training.schedule import plan_spans
from imettk.training.session import TERMINATED

HARNESS = Path(__file__).with_name("conftest.py")
spec = importlib.util.spec_from_file_location("harness", HARNESS)
harness = importlib.util.module_from_spec(spec)
spec.loader.exec_module(harness)
Pixels, SmallNet = harness.Pixels, harness.SmallNet

PLAN = {"loss": "cross_entropy", "validate_epochs": 2 / 3}  # every 2 of 12 steps
SEED, STEPS, EPOCHS = 3, 12, 4


def validate(network: nn.Module) -> dict[str, float]:
    data = Pixels()
    network.eval()
    with torch.inference_mode():
        loss = float(cross_entropy(network(data.images).logits, data.targets).mean())
    return {"loss": loss, "score": -loss}


def plan(**changes: object) -> TrainConfig:
    return TrainConfig(**{**PLAN, "average_last": 3, **changes})


@pytest.fixture
def in_one_go(make_trainer) -> dict[str, Tensor]:
    trainer = make_trainer("whole", plan=plan(), validate=validate)
    assert trainer.fit() is None
    return copy.deepcopy(trainer.final_weights())


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_it_is_torchs_mean_with_torchs_statistics(make_trainer, in_one_go):
    """The weights of a training without a mean at steps 8, 10 and 12, and batches drawn by hand."""
    mean = AveragedModel(SmallNet())
    for step in range(2, STEPS + 1, 2):
        trainer = make_trainer("plain", plan=plan(average_last=0), limit_steps=2)
        trainer.fit()
        assert trainer.at.step == step
        if step >= 8:
            mean.update_parameters(trainer.network)
    rows = Sampler(rows=np.arange(harness.ROWS), seed=SEED).order(EPOCHS)  # the epoch after the last
    update_bn(Pixels().images[torch.from_numpy(rows)].split(8), mean.module)
    assert same(in_one_go, mean.module.state_dict())


def test_the_last_validation_is_that_of_the_mean(make_trainer, in_one_go, tmp_path):
    trainer = make_trainer("whole", plan=plan(), validate=validate)
    network = SmallNet()
    network.load_state_dict(in_one_go)
    assert [entry["step"] for entry in trainer.at.history] == [2, 4, 6, 8, 10, 12]
    assert trainer.at.history[-1]["loss"] == validate(network)["loss"]
    (event,) = [entry for entry in read_journal(tmp_path / "whole/journal.jsonl") if entry["event"] == "average"]
    assert (event["step"], event["marks"]) == (12, [8, 10, 12])


@pytest.mark.parametrize("limits", [[1] * STEPS, [9, 100], [11, 1, 100]])
def test_stops_change_no_bit(make_trainer, in_one_go, limits):
    for limit in limits:
        trainer = make_trainer(plan=plan(), validate=validate, limit_steps=limit)
        reason = trainer.fit()
    assert reason is None and same(trainer.final_weights(), in_one_go)


def test_a_signal_within_the_last_pass_only_repeats_it(make_trainer, in_one_go):
    trainer = make_trainer(plan=plan(), validate=validate)
    answers = iter([None, TERMINATED])
    trainer._average._stop_reason = lambda validation_seconds: next(answers)
    assert trainer.fit() == TERMINATED
    assert trainer.at.step == STEPS and trainer.at.validation_pending
    trainer = make_trainer(plan=plan(), validate=validate)
    assert trainer.fit() is None and same(trainer.final_weights(), in_one_go)


def test_the_session_plan_counts_the_pass_and_leaves_time_for_the_validation(make_trainer):
    trainer, asked = make_trainer(plan=plan(), validate=validate), []
    trainer._session.estimate = lambda steps: 100.0 * steps
    trainer._session.stop_reason = lambda validation_seconds=None: asked.append(validation_seconds)
    trainer.fit()
    longest = trainer.at.validation_seconds
    before, *within = asked[-4:]  # the pass has three batches
    assert 300 < before < 300 + longest + 1e-9 and all(0 < seconds <= longest for seconds in within)
    assert max(seconds or 0 for seconds in asked[:-4]) < 100


# Arguments: the harness, a folder, the call after which the process kills itself, and its number.
KILLED = """
import importlib.util, os, signal, sys
from pathlib import Path
from safetensors.torch import save_file
from imettk.config import TrainConfig
from imettk.training import averaging, trainer as trainer_module

spec = importlib.util.spec_from_file_location("harness", sys.argv[1])
harness = importlib.util.module_from_spec(spec)
spec.loader.exec_module(harness)
out, name, left = Path(sys.argv[2]), sys.argv[3], [int(sys.argv[4])]

def killing(function):
    def run(*arguments, **settings):
        result = function(*arguments, **settings)
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return run

places = {
    "step": (trainer_module.StepRunner, "run"),
    "pass": (harness.SmallNet, "forward"),
    "finish": (averaging.WeightAverage, "finish"),
    "save": (trainer_module.Saving, "save"),
}
holder, attribute = places[name]
setattr(holder, attribute, killing(getattr(holder, attribute)))
plan = TrainConfig(loss="cross_entropy", validate_epochs=2 / 3, average_last=3)
trainer = next(harness.make_trainer._get_wrapped_function()(out))(plan=plan, session={"checkpoint_seconds": 0.0})
assert trainer.fit() is None
save_file({key: value.contiguous() for key, value in trainer.final_weights().items()}, out / "made.safetensors")
"""


@pytest.mark.parametrize(("place", "call"), [("step", 9), ("step", 11), ("pass", 14), ("finish", 6), ("save", 19)])
def test_sigkill_changes_no_bit(forks, make_trainer, in_one_go, tmp_path, place, call):
    """Killed between marks, with the last step, in the last pass, before the last validation, and after it."""
    process = forks.start([HARNESS, tmp_path, place, call], code=KILLED)
    assert process.wait(PATIENCE) == -signal.SIGKILL, process.stderr
    trainer = make_trainer(plan=plan())
    assert trainer.fit() is None and same(trainer.final_weights(), in_one_go)


# Arguments: the harness and a folder.
TOGETHER = """
import importlib.util, os, sys
from pathlib import Path
from safetensors.torch import save_file
import torch
from imettk.config import TrainConfig
from imettk.training.process_group import join_process_group

spec = importlib.util.spec_from_file_location("harness", sys.argv[1])
harness = importlib.util.module_from_spec(spec)
spec.loader.exec_module(harness)
out = Path(sys.argv[2])
processes = join_process_group(torch.device("cpu"))
make = next(harness.make_trainer._get_wrapped_function()(out))
plan = TrainConfig(loss="cross_entropy", validate_epochs=2 / 3, average_last=3)
for name, limit in (("once", None), ("stops", 5)):
    reason = "begin"
    while reason is not None:
        trainer = make(name, plan=plan, processes=processes, limit_steps=limit)
        reason = trainer.fit()
    weights = {key: value.contiguous() for key, value in trainer.final_weights().items()}
    save_file(weights, out / f"{name}{processes.rank}.safetensors")
processes.shutdown()
sys.stderr.flush()
os._exit(0)
"""


def test_several_processes_end_with_the_same_mean_after_any_stop(forks, in_one_go, tmp_path):
    process = forks.start([2, TOGETHER, HARNESS, tmp_path], code=LAUNCH)
    assert process.wait(PATIENCE) == 0, process.stderr
    first, *others = (
        load_file(tmp_path / f"{name}{rank}.safetensors") for name in ("once", "stops") for rank in (0, 1)
    )
    assert all(same(other, first) for other in others)
    assert not same(first, in_one_go)  # BatchNorm saw other batches
    for name, value in in_one_go.items():
        torch.testing.assert_close(first[name].float(), value.float(), rtol=0.2, atol=0.1)


def test_with_the_best_kept_the_mean_has_to_be_better(make_trainer, in_one_go):
    def score(network: nn.Module, bonus: float) -> dict[str, float]:
        loss = validate(network)["loss"]
        is_mean = network is trainer.evaluated and network is not trainer.network
        return {"loss": loss + bonus * is_mean, "score": 0.0}

    for bonus, is_kept in ((-10.0, True), (10.0, False)):
        trainer = make_trainer(
            f"best{bonus}", plan=plan(keep="best"), validate=lambda network, by=bonus: score(network, by)
        )
        trainer.fit()
        assert same(trainer.final_weights(), in_one_go) == is_kept


def test_frozen_groups_keep_their_statistics(make_trainer):
    stages = (StageConfig(num_epochs=4, batch_size=8, lr=(0.02,), frozen_groups=1),)
    trainer = make_trainer(plan=plan(), stages=stages)
    trainer.fit()
    fresh, made = SmallNet().state_dict(), trainer.final_weights()
    assert all(
        torch.equal(made[name], fresh[name]) for name in (*harness.GROUPS[0], "norm.running_mean", "norm.running_var")
    )
    assert not torch.equal(made["head.weight"], fresh["head.weight"])


def test_a_training_without_a_mean_has_nothing_of_it_in_its_checkpoints(make_trainer):
    trainer = make_trainer(plan=plan(average_last=0))
    trainer.fit()
    assert trainer._average.tensors() == {} and trainer.evaluated is trainer.network


def test_marks_are_the_last_validations_or_cycle_ends_of_the_last_stage():
    stages = (StageConfig(num_epochs=1, batch_size=8), StageConfig(num_epochs=2.5, batch_size=10))
    spans = plan_spans(stages, [100, 100])
    assert last_marks(spans[-1], TrainConfig(average_last=3)) == (22, 32, 37)
    assert last_marks(spans[-1], TrainConfig(average_last=2, validate_epochs=0.5)) == (32, 37)
    assert last_marks(spans[-1], TrainConfig()) == ()
    cycles = StageConfig(num_epochs=2.5, batch_size=10, num_cycles=3, cycle_factor=2)
    (span,) = plan_spans((cycles,), [100])
    assert last_marks(span, TrainConfig(average_last=2)) == (11, 25)  # cycles of 4, 7 and 14 steps
    with pytest.raises(ConfigError, match=r"at most 3, the number of validations in the last stage, got 4: set"):
        last_marks(spans[-1], TrainConfig(average_last=4))


def test_a_dry_run_counts_the_pass_and_a_miniature_has_enough_marks():
    stages = (StageConfig(num_epochs=1, batch_size=8), StageConfig(num_epochs=8, batch_size=8, num_cycles=4))
    recipe = Recipe(train=TrainConfig(average_last=3), stages=stages)
    spans = plan_spans(stages, [80, 80])
    assert total_seconds(recipe, spans, [1.0, 2.0], 0.0) == 10 + 2 * (80 + 10)  # an epoch more of the last stage
    small = miniature(recipe)
    assert len(last_marks(plan_spans(small.stages, [16, 16])[-1], small.train)) == small.train.average_last == 2


def test_what_does_not_go_together_is_refused_when_the_recipe_is_made():
    with pytest.raises(ConfigError, match=r"average_last.*or at least 2, got 1"):
        TrainConfig(average_last=1)
    with pytest.raises(ConfigError, match=r"average_last.*only one average"):
        TrainConfig(average_last=2, ema_decay=0.9)
    with pytest.raises(
        ConfigError, match=r"`train.average_last` must be at most 2, the cycles of the last stage, got 3"
    ):
        Recipe(train=TrainConfig(average_last=3), stages=(StageConfig(num_epochs=4, num_cycles=2),))
    stopping = (StageConfig(early_stop=3), StageConfig())
    Recipe(train=TrainConfig(average_last=2), stages=stopping)
    with pytest.raises(ConfigError, match=r"`stages.1.early_stop` must be none with `train.average_last`"):
        Recipe(train=TrainConfig(average_last=2), stages=stopping[::-1])


@pytest.mark.parametrize("limit", [100, 4])
def test_the_marks_move_with_a_stage_that_ended_early(make_trainer, tmp_path, limit):
    """No validation of the first stage is a gain, so it ends after the second one, at step 4 of 12."""
    first = StageConfig(num_epochs=4, batch_size=8, lr=(0.02,), early_stop=1)
    stages = first, StageConfig(num_epochs=2, batch_size=8, lr=(0.01,))
    while True:
        trainer = make_trainer(plan=plan(average_last=2), stages=stages, limit_steps=limit)
        if trainer.fit() is None:
            break
    (mean,) = [event for event in read_journal(tmp_path / "run" / "journal.jsonl") if event["event"] == "average"]
    assert mean["step"] == 10 and mean["marks"] == [8, 10]
