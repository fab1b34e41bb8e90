"""Storms: random faults of the connection and of sessions, and a process that is killed at any moment."""

from __future__ import annotations

import random
import threading
import time

import pytest
from kaggle_box import Fault, Job
from pretended import assert_finished, failing, follow_killed, make_deadly, settings_of

from imettk.kaggle.chain_state import DONE
from imettk.kaggle.outputs import write_output_list


@pytest.mark.parametrize("seed", range(3))
def test_a_storm(begin, seed):
    """Every call may fail, in any way, at any time."""
    box, follower = begin(folds=[0])
    box.faults.storm(seed=seed, rate=0.25)
    while not (end := follower.look()):
        follower.kaggle.patience.sleep(0.01)
    assert end == DONE and len(box.faults.happened) > 5
    assert_finished(box, follower, (0,))
    assert all(len(versions) == 1 for versions in box.kernels.values())  # no push was done twice


@pytest.mark.parametrize("seed", range(3))
def test_it_is_killed_at_any_moment_and_started_again(begin, monkeypatch, seed):
    box, follower = begin()
    kills = make_deadly(follower, monkeypatch, seed)
    follower = follow_killed(follower)
    assert kills[0] > 3 and follower.chain.is_done("infer")
    assert_finished(box, follower)
    assert all(len(versions) == 1 for versions in box.kernels.values())


@pytest.mark.parametrize("seed", range(20))
def test_all_at_once(begin, monkeypatch, tmp_path, capfd, seed):
    """Whatever goes wrong, the chain ends as it should, with the same steps.

    At random: faults of the connection, pages in place of answers, passing refusals, sessions that fail in every way,
    outputs that are listed late or not attached, a full account, a full disk, a clock that jumps, and kills.
    """
    rng, fates, lock, ended = random.Random(seed), random.Random(seed), threading.Lock(), []
    ways = ["ERROR", "CANCEL_ACKNOWLEDGED", "code", "stale", "nothing", "killed", "errored"]

    def run(job: Job) -> str:
        with lock:
            how = fates.choice(ways) if fates.random() < 0.3 else ""
            ended.append(how)
        if how == "nothing":  # ended before there was a checkpoint
            write_output_list(job.working, push=settings_of(job.text)["PUSH"], command="x", code=1, seconds=1.0)
            return "COMPLETE"
        return failing({job.slug: 1} if how else {}, how)(job)

    box, follower = begin(run, retries=99)
    box.late_listings, box.failed_outputs = seed % 3, ["refused", "omitted", "attached"][seed // 2 % 3]
    full = b'{"error": "Maximum batch GPU session count of 2 reached."}'
    refused = Fault(
        200, body=full, headers={"Content-Type": "application/json"}, where=lambda request: "-f" in request["slug"]
    )
    box.faults.add("SaveKernel", refused, times=3)
    box.faults.storm(seed=seed, rate=0.12)
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() + rng.choice([-40, 0, 40]) * 3600)
    kills = make_deadly(follower, monkeypatch, seed)
    follower = follow_killed(follower)
    box.faults.storm(seed=seed, rate=0)
    assert kills[0] > 3 and len(box.faults.happened) > 10 and follower.chain.is_done("infer")
    assert any(ended)
    assert_finished(box, follower)
    assert all(len(versions) == 1 for versions in box.kernels.values())
    assert all(versions[0].lacks for versions in box.deleted.values())  # only kernels without an input are deleted
    printed = capfd.readouterr()
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(box.key.encode() in text for text in [*files, (printed.out + printed.err).encode()])
