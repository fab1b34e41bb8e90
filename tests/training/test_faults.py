"""Faults, injected: what a run must survive, and how it ends where it cannot."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
import time

import pytest
import safetensors.torch
import torch
from forked import PATIENCE
from torch import Tensor
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from imettk.config import StagePlan
from imettk.data.dataset import Batch, load_batches
from imettk.data.sampling import sequential_requests
from imettk.errors import DeviceError, TrainingError
from imettk.losses.cross_entropy import cross_entropy
from imettk.tracking.journal import read_journal
from imettk.training.checkpoint import load_newest
from imettk.training.session import Session, Watchdog

EVERY_STEP = {"checkpoint_seconds": 0.0}
FOUR = (StagePlan(num_epochs=4, batch_size=8, lr=(0.02,)),)  # 12 steps


def weights(trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


class FailingLoss:
    """Cross-entropy that is not a number in some calls, counted from 1."""

    def __init__(self, bad: set[int]) -> None:
        self.bad, self.calls = bad, 0

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        losses = cross_entropy(logits, targets)
        return losses * torch.nan if self.calls in self.bad else losses


def events(tmp_path, kind: str, folder: str = "run") -> list[dict]:
    return [one for one in read_journal(tmp_path / folder / "journal.jsonl") if one["event"] == kind]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_step_without_a_finite_loss_changes_nothing_and_is_counted(make_trainer, tmp_path, dtype, capsys):
    """Weights and BatchNorm's running statistics are those of the step before; the run goes on to its end."""
    trainer = make_trainer(loss=FailingLoss({5}), session=EVERY_STEP, dtype=dtype)
    seen = []
    run = trainer._runner.run

    def spied(step, share, batches):
        before = weights(trainer)
        result = run(step, share, batches)
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

    clipped = (StagePlan(num_epochs=4, batch_size=8, lr=(0.02,), clip_norm=1.0),)
    trainer = make_trainer(loss=Poisoned({3}), stages=clipped)
    assert trainer.fit() is None
    assert trainer.at.nonfinite_steps == 1
    assert all(value.isfinite().all() for value in trainer.network.state_dict().values())


def test_after_a_passing_fault_it_goes_back_and_ends_with_the_same_bits(make_trainer, tmp_path):
    plain = make_trainer("plain")
    plain.fit()
    session = EVERY_STEP | {"nonfinite_steps": 3}
    trainer = make_trainer(loss=FailingLoss({6, 7, 8}), session=session)
    assert trainer.fit() is None
    assert same(weights(plain), weights(trainer))
    (back,) = events(tmp_path, "rollback")
    assert (back["step"], back["bad_step"]) == (5, 8)
    steps = [one["step"] for one in events(tmp_path, "train")]
    assert steps == [10, 12]


def test_a_lasting_fault_stops_with_one_clear_line(make_trainer):
    session = EVERY_STEP | {"nonfinite_steps": 3}
    trainer = make_trainer(loss=FailingLoss(set(range(6, 100))), session=session)
    with pytest.raises(TrainingError, match="in 3 steps in a row up to step 8, also after going back") as caught:
        trainer.fit()
    assert "lower the learning rate" in str(caught.value)


def test_without_a_checkpoint_to_go_back_to_it_stops_at_once(make_trainer):
    trainer = make_trainer(loss=FailingLoss(set(range(1, 100))), session={"nonfinite_steps": 3})
    with pytest.raises(TrainingError, match="up to step 3, with no checkpoint before it"):
        trainer.fit()


def test_the_loss_scale_is_lower_after_going_back(make_trainer):
    session = EVERY_STEP | {"nonfinite_steps": 3}
    trainer = make_trainer(loss=FailingLoss({6, 7, 8}), session=session, dtype=torch.float16)
    trainer.fit()
    assert trainer._runner.scaler.get_scale() == 65536 / 16


def test_a_pause_among_skipped_steps_keeps_the_count(make_trainer):
    """The count is part of the position: the next session does not begin it anew."""
    session = EVERY_STEP | {"nonfinite_steps": 4}
    loss = FailingLoss(set(range(6, 100)))
    make_trainer(loss=loss, session=session, limit_steps=7).fit()
    with pytest.raises(TrainingError, match="4 steps in a row up to step 9"):
        make_trainer(loss=loss, session=session).fit()


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
    asked = make_trainer("asked", stages=(StagePlan(num_epochs=4, batch_size=8, accumulate=4, lr=(0.02,)),))
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


@pytest.mark.parametrize("fault", ["no room", "full while writing"])
def test_a_full_disk_does_not_stop_the_run(make_trainer, tmp_path, monkeypatch, capsys, fault):
    folder = tmp_path / "run" / "checkpoints"
    make_trainer(limit_steps=3).fit()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    if fault == "no room":
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=1000))
    else:

        def full(tensors, path, header):
            path.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(safetensors.torch, "save_file", full)
    trainer = make_trainer(session=EVERY_STEP)
    assert trainer.fit() is None and trainer.at.step == 12
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert len(events(tmp_path, "checkpoint_failed")) >= 9
    assert "the run goes on, the one before is intact" in capsys.readouterr().out
    monkeypatch.undo()
    whole = make_trainer("whole")
    whole.fit()
    resumed = make_trainer()
    assert resumed.at.step == 3
    resumed.fit()
    assert same(weights(whole), weights(resumed))


def test_on_a_nearly_full_disk_older_checkpoints_make_room(make_trainer, tmp_path, monkeypatch):
    folder = tmp_path / "run" / "checkpoints"
    make_trainer(limit_steps=3, session=EVERY_STEP).fit()
    usage = shutil.disk_usage(tmp_path)

    def nearly_full(path):
        return usage._replace(free=usage.free if len(list(folder.glob("*.safetensors"))) < 2 else 1000)

    monkeypatch.setattr("shutil.disk_usage", nearly_full)
    make_trainer(limit_steps=1).fit()
    assert sorted(path.name for path in folder.glob("*.safetensors")) == [
        "step-00000003.safetensors", "step-00000004.safetensors"
    ]  # fmt: skip


def test_going_back_past_a_damaged_checkpoint_leaves_only_good_ones(make_trainer, tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    make_trainer(limit_steps=5, session=EVERY_STEP).fit()
    (folder / "step-00000005.safetensors").write_bytes(b"damaged")
    assert make_trainer(limit_steps=1).fit() is not None  # from 4 on, the damaged one is written anew
    assert load_newest([folder], warn=pytest.fail).values["position"]["step"] == 5


@pytest.fixture
def watchful(monkeypatch) -> None:
    """Loaders look after their processes every 50 ms, in place of every 5 s, when no batch comes."""
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.05,))


def test_a_killed_loader_process_is_replaced_and_no_batch_is_lost(watchful, capsys):
    class Slow(torch.utils.data.Dataset):
        def __getitem__(self, request) -> Batch:
            rows = torch.from_numpy(request.rows)
            if 7 in request.rows and not os.path.exists(marker):
                with open(marker, "w"):
                    pass
                os.kill(os.getpid(), signal.SIGKILL)
            return Batch(torch.zeros(len(rows), 1), None, None, rows, rows)

    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        marker = f"{folder}/died"
        requests = sequential_requests(torch.arange(40).numpy(), 4)
        batches = list(load_batches(Slow(), requests, num_workers=2, pin=False))
    assert torch.cat([batch.rows for batch in batches]).tolist() == list(range(40))
    assert "a loader process died" in capsys.readouterr().out


def test_a_loader_process_that_always_dies_is_an_error(watchful):
    class Deadly(torch.utils.data.Dataset):
        def __getitem__(self, request) -> Batch:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RuntimeError, match="DataLoader worker"):
        list(load_batches(Deadly(), sequential_requests(torch.arange(4).numpy(), 2), num_workers=1, pin=False))


class Clock:
    """Seconds that pass while somebody waits for them, and never else."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.now += seconds
        return event.is_set()


@pytest.mark.parametrize(
    ("begun", "end"),
    [(100.0, 900.0), (880.0, 940.0), (5000.0, 5060.0)],  # a quarter of the margin is left, or 60 seconds to see it
)
def test_the_watchdog_ends_what_hangs_with_code_0(begun, end):
    clock, told, left = Clock(begun), [], []
    session = Session(started=0.0, limit_seconds=1000.0, margin_seconds=400.0, clock=clock)
    watchdog = Watchdog(session, lambda: told.append((clock.now, list(left))), leave=left.append, wait=clock.wait)
    watchdog._thread.join(PATIENCE)
    assert told == [(end, [])] and left == [0]


def test_the_watchdog_lets_go_when_training_ends():
    clock, told, left, waits = Clock(100.0), [], [], []
    session = Session(started=0.0, limit_seconds=1000.0, margin_seconds=400.0, clock=clock)

    def wait(event: threading.Event, seconds: float) -> bool:
        waits.append(seconds)
        return event.wait(PATIENCE)

    watchdog = Watchdog(session, lambda: told.append(clock.now), leave=left.append, wait=wait)
    watchdog.stop()
    watchdog._thread.join(PATIENCE)
    assert not watchdog._thread.is_alive() and waits == [800.0]
    assert not told and not left


def test_a_clock_that_jumps_changes_nothing(make_trainer, tmp_path, monkeypatch):
    """Only `time.time` can be set; nothing that decides reads it."""
    now = time.time()
    jumps = iter(range(10**6))
    monkeypatch.setattr("time.time", lambda: now + (-1) ** next(jumps) * 86400)
    trainer = make_trainer()
    trainer._session = Session(started=time.monotonic(), limit_seconds=3600, margin_seconds=60)
    assert trainer.fit() is None and trainer.at.step == 12
