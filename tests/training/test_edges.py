"""Where two things meet: a full disk and the writer, float16 and a first step, a kill and a validation that is owed."""

from __future__ import annotations

import resource
import sys
import time

import pytest
import torch
from torch import nn

from imettk.cli.launch import launch
from imettk.config import StagePlan
from imettk.data.sampling import derive_seed
from imettk.losses.cross_entropy import cross_entropy
from imettk.tracking.journal import Journal, read_journal
from imettk.training.checkpoint import CheckpointWriter, load_newest, save_checkpoint
from imettk.training.optimizer import make_optimizer

EVERY_STEP = {"checkpoint_seconds": 0.0}


def test_a_disk_that_is_really_full_is_told_and_the_older_checkpoint_counts(make_trainer, tmp_path, capsys):
    """A limit on the size of files is what a quota does; the library's own error is no OSError."""
    make_trainer(limit_steps=3).fit()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, before[1]))
    try:
        assert make_trainer(limit_steps=2).fit() is not None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    failed = [one for one in read_journal(tmp_path / "run" / "journal.jsonl") if one["event"] == "checkpoint_failed"]
    assert [one["step"] for one in failed] == [5]
    assert "no checkpoint at step 5" in capsys.readouterr().out
    assert make_trainer().at.step == 3


def test_a_fault_of_the_program_in_the_writer_is_not_lost(tmp_path):
    writer = CheckpointWriter(tmp_path, on_done=lambda step, seconds: None, on_failure=lambda step, error: None)
    writer.write(1, {"model.a": torch.zeros(2)}, {"no": object()})
    with pytest.raises(TypeError, match="not JSON serializable"):
        writer.wait()
    writer.wait()


def test_a_checkpoint_of_the_same_step_takes_the_place_of_the_first_without_a_gap(tmp_path, monkeypatch):
    """One that owes its validation is followed by one that does not: killed in between, one of them is there."""
    import imettk.files as files

    save_checkpoint(tmp_path, 3, {"model.a": torch.zeros(2)}, {"turn": 1})

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, 3, {"model.a": torch.ones(2)}, {"turn": 2})
    assert load_newest([tmp_path], warn=pytest.fail).values == {"turn": 1}
    monkeypatch.undo()
    save_checkpoint(tmp_path, 3, {"model.a": torch.ones(2)}, {"turn": 2})
    assert load_newest([tmp_path], warn=pytest.fail).values == {"turn": 2}


def test_what_a_killed_writer_left_is_removed(make_trainer, tmp_path):
    make_trainer(limit_steps=1).fit()
    folder = tmp_path / "run" / "checkpoints"
    before = set(folder.iterdir())
    for name in (".step-00000002.safetensors.123.tmp", ".tmpaTpkNC"):  # ours; and safetensors' own, beside it
        (folder / name).write_bytes(b"half")
    make_trainer()
    assert set(folder.iterdir()) == before


def test_a_first_step_that_overflows_leaves_no_bare_memory_in_the_momentum():
    """Fused SGD makes its momentum from uninitialised memory, and keeps that where float16's scale overflows."""
    plan = StagePlan(optimizer="sgd", lr=(0.1,), weight_decay=0.0)
    one, other = nn.Linear(64, 64), nn.Linear(64, 64)
    other.load_state_dict(one.state_dict())
    ours = make_optimizer(one, [["weight", "bias"]], plan)
    torchs = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for step in range(4):
        images = torch.rand(8, 64)
        for network, optimizer in ((one, ours), (other, torchs)):
            optimizer.zero_grad()
            loss = network(images).square().mean() * (torch.inf if step == 0 else 1)
            if optimizer is ours:
                scaler.scale(loss).backward()
                scaler.step(ours)
                scaler.update()
            elif step > 0:
                loss.backward()
                optimizer.step()
    torch.testing.assert_close(one.weight, other.weight)


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


def test_weights_that_are_no_numbers_are_never_kept(make_trainer, tmp_path):
    """An unclipped gradient that is no number gets by with a finite loss; the checkpoint before stays the last good."""

    class Poison:
        calls = 0

        def __call__(self, logits, targets):
            self.calls += 1
            losses = cross_entropy(logits, targets)
            return losses + (logits.sum() * 0).abs().sqrt() if self.calls == 6 else losses  # 0 * inf on the way back

    trainer = make_trainer(loss=Poison(), session=EVERY_STEP | {"nonfinite_steps": 3})
    assert trainer.fit() is None, "a passing fault: it went back and did it right"
    events = read_journal(tmp_path / "run" / "journal.jsonl")
    assert [one["step"] for one in events if one["event"] == "rollback"] == [5]
    assert all(value.isfinite().all() for value in trainer.network.state_dict().values())


def test_a_validation_that_is_owed_again_is_journalled_once(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("session", step=0, owes_validation=False)
    journal.write("train", step=3, loss=1.0)
    journal.write("validate", step=3, loss=1.0)  # killed before a checkpoint without the debt was written
    journal.write("session", step=3, owes_validation=True)
    journal.write("validate", step=3, loss=1.0)
    journal.write("session", step=3, owes_validation=False)
    journal.close()
    kinds = [one["event"] for one in read_journal(tmp_path / "journal.jsonl")]
    assert kinds == ["session", "train", "session", "validate", "session"]


def test_a_full_disk_under_the_journal_does_not_stop_the_run(make_trainer, capsys):
    trainer = make_trainer()

    def full(event, **values):
        raise OSError(28, "No space left on device")

    trainer._recorder._journal.write = full
    assert trainer.fit() is None and trainer.at.step == 12
    assert capsys.readouterr().out.count("journal or TensorBoard cannot be written") == 1


def test_a_second_fault_far_behind_the_first_has_its_own_way_back(make_trainer, tmp_path):
    class Faults:
        calls = 0

        def __call__(self, logits, targets):
            self.calls += 1
            bad = self.calls in (3, 4, 5) or self.calls in (25, 26, 27)
            return cross_entropy(logits, targets) * (torch.nan if bad else 1)

    stages = (StagePlan(num_epochs=10, batch_size=8, lr=(0.02,)),)
    trainer = make_trainer(loss=Faults(), stages=stages, session=EVERY_STEP | {"nonfinite_steps": 3})
    assert trainer.fit() is None
    assert sum(one["event"] == "rollback" for one in read_journal(tmp_path / "run" / "journal.jsonl")) == 2


@pytest.mark.slow
def test_one_process_that_fails_ends_all(tmp_path, capfd, monkeypatch):
    """The others wait for it in a collective; nothing but its end can tell them."""
    monkeypatch.setattr("imettk.cli.launch.GRACE_SECONDS", 1.0)
    script = tmp_path / "fails.py"
    script.write_text(
        "import sys, torch\n"
        "from imettk.errors import DataError\n"
        "from imettk.training.team import join_team\n"
        "team = join_team(torch.device('cpu'))\n"
        "if team.rank == 1:\n"
        "    print('imettk: image is broken', file=sys.stderr)\n"
        "    sys.exit(2)\n"
        "team.agree([1])\n"
    )
    started = time.monotonic()
    assert launch([sys.executable, "-W", "ignore", str(script)], 2, started=0.0) == 2
    assert "image is broken" in capfd.readouterr().err
    assert time.monotonic() - started < 900  # the collective would have waited for half an hour


def test_every_step_micro_batch_and_process_draws_its_own_random_numbers(make_trainer):
    def seeds(folder: str, rank: int) -> list[int]:
        stages = (StagePlan(num_epochs=2, batch_size=8, accumulate=2, lr=(0.02,)),)
        trainer = make_trainer(folder, stages=stages)
        trainer._runner._seed = derive_seed(3, rank)  # as a process of this rank has it
        drawn: list[int] = []
        trainer.network.register_forward_pre_hook(lambda *_: drawn.append(torch.default_generator.initial_seed()))
        trainer.fit()
        return drawn

    first, second, again = seeds("first", 0), seeds("second", 1), seeds("again", 0)
    assert first == again and len(set(first + second)) == 24  # 6 steps of 2 micro-batches, twice
