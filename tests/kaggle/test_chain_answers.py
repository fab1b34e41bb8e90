"""Answers that are not clear, outputs that are not attached, and clocks that jump: no session is doubled or lost."""

from __future__ import annotations

import errno
import threading
import time

import pytest
from forked import PATIENCE
from kaggle_box import PAGE, Fault, Job, KaggleBox
from pretended import STEPS, Counted, assert_finished, failing, pretend

from imettk.kaggle import jobs, room, rounds
from imettk.kaggle.chain import Follower
from imettk.kaggle.chain_state import DONE, Chain, read_chain
from imettk.kaggle.room import Room
from imettk.kaggle.rounds import follow

NEW_WORD = b'{"status": "HIBERNATING", "ref": 7, "files": "none"}'
JSON = {"Content-Type": "application/json"}
UNCLEAR = {
    "a page": Fault(200, body=PAGE),
    "a page of JSON": Fault(200, body=b"[]", headers=JSON),
    "nothing": Fault(200, body=b""),
    "a new word": Fault(200, body=NEW_WORD, headers=JSON),
    "401": Fault(401),
    "403": Fault(403),
    "404": Fault(404),
}


def assert_once(box: KaggleBox) -> None:
    """Every kernel was pushed once, and none was deleted."""
    assert all(len(versions) == 1 for versions in box.kernels.values()) and not box.deleted


@pytest.mark.parametrize("answer", UNCLEAR)
@pytest.mark.parametrize("method", ["SaveKernel", "GetKernelSessionStatus", "ListKernelSessionOutput", "GET"])
def test_one_answer_that_is_not_clear_changes_nothing(begin, method, answer):
    box, follower = begin(folds=[0], retries=0)
    box.faults.add(method, UNCLEAR[answer], times=2)
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))
    assert_once(box)
    assert len(follower.chain.jobs) == 6 and box.faults.happened == [method] * 2


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_running_session_that_kaggle_does_not_show_is_not_doubled(begin, code):
    """However often: nobody can know from here whether it is gone."""
    gate = threading.Event()

    def run(job: Job) -> str:
        return pretend(job) if "-f0-s1" not in job.slug or gate.wait(PATIENCE) else "ERROR"

    box, follower = begin(run, folds=[0])
    while not any("-f0-" in slug for slug in box.kernels):
        follower.look()
    box.faults.add("GetKernelSessionStatus", Fault(code), times=60)
    for _ in range(10):
        assert follower.look() == "" and str(code) in follower.unclear
    assert len(follower.chain.of("train", 0)) == 1 and str(code) in follower.chain.open_jobs[0].note
    box.faults.happened.clear()
    box.faults._laid.clear()
    gate.set()
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))
    assert_once(box)


def test_an_accepted_push_that_is_not_shown_for_a_moment_is_not_done_twice(begin):
    box, follower = begin(folds=[0])
    box.faults.add("SaveKernel", Fault(500, after=True))
    box.faults.add("GetKernel", Fault(403), times=2)
    assert follow([follower])[0] == DONE
    assert_once(box)


@pytest.mark.parametrize("attached", ["refused", "omitted", "attached"])
@pytest.mark.parametrize("how", ["killed", "errored"])
def test_an_output_of_a_session_that_did_not_end_well(begin, attached, how):
    """Its checkpoints are used where the platform attaches them; the output before is where it does not."""
    box, follower = begin(failing({"-f0-s2": 1}, how), folds=[0], retries=1)
    box.failed_outputs = attached
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))
    jobs = follower.chain.of("train", 0)
    took_up = [job.after[1] for job in jobs[1:]]
    first, second = jobs[0].slug, jobs[1].slug
    if attached == "attached":
        assert took_up == [first, second] and jobs[-1].step == STEPS
    else:
        assert took_up[:3] == [first, second, first] and jobs[2].state == "without its input"
    assert "-f0-s2" in jobs[1].slug and jobs[1].state in ("failed", "paused")


def test_a_complete_output_that_is_not_attached_once_is_asked_for_again(begin, tmp_path):
    (tmp_path / "nothing").mkdir()

    def run(job: Job) -> str:
        if "-f0-s1" in job.slug:
            job.notebooks = dict.fromkeys(job.notebooks, tmp_path / "nothing")
        return pretend(job)

    _, follower = begin(run, folds=[0], retries=1)
    assert follow([follower])[0] == DONE
    first, *others = follower.chain.of("train", 0)
    assert first.state == "failed" and first.note == "the output of imettk-cells-prepare-s1 was not attached"
    assert [job.state for job in others] == ["paused", "paused", "done"] and len(follower.chain.of("prepare")) == 1


@pytest.mark.parametrize("late", [1, 2])
def test_a_late_list_is_waited_for(begin, late):
    box, follower = begin(folds=[0], retries=0)
    box.late_listings = late
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))


def test_a_killed_session_whose_list_comes_late_keeps_its_checkpoints(begin):
    box, follower = begin(failing({"-f0-s1": 1}, "killed"), folds=[0], retries=1)
    box.late_listings, box.failed_outputs = 2, "attached"
    assert follow([follower])[0] == DONE
    assert [job.step for job in follower.chain.of("train", 0)][-1] == STEPS and len(follower.chain.of("train", 0)) == 3


def endless(job: Job) -> str:
    """Trains until it is cancelled."""
    if "-f" not in job.slug:
        return pretend(job)
    return "CANCEL_ACKNOWLEDGED" if job.cancel.wait(PATIENCE) else "ERROR"


@pytest.mark.parametrize("hours", [-40, 40])
def test_this_machines_clock_ends_nothing(begin, monkeypatch, hours):
    box, follower = begin(endless, folds=[0])
    while not any("-f0-" in slug for slug in box.kernels):
        follower.look()
    real = time.time
    for jump in (hours, 0, hours, -hours):
        monkeypatch.setattr("time.time", lambda jump=jump: real() + jump * 3600)
        for _ in range(jobs.LOOKS + 1):
            assert follower.look() == ""
    assert [job.state for job in follower.chain.of("train", 0)] == ["running"]
    assert_once(box)


def test_a_session_that_runs_longer_than_any_can_is_left_and_told(begin):
    """By the platform's clock, over several looks; it is not deleted, whatever it may be."""
    box, follower = begin(endless, folds=[0], retries=0)
    while not any("-f0-" in slug for slug in box.kernels):
        follower.look()
    follower.look()
    real, hours = box.date, 0
    for jump in (37, 0, -37, 0, 80, 0):  # answers with a wrong time count for little
        box.date = lambda jump=jump: real() + jump * 3600
        assert follower.look() == ""
    box.date = lambda: real() + hours * 3600
    while not (end := follower.look()):
        hours += 3
    assert 20 <= hours <= 30
    assert "still RUNNING after 36 hours; it has not been deleted: look at kaggle.com/code/me/imettk-cells-f0-s1" in end
    assert not box.deleted


def test_a_slug_that_the_platform_made_is_asked_for_afterwards(begin):
    box, follower = begin(folds=[0], retries=0)
    box.spell = lambda slug: f"{slug}-2"
    assert follow([follower])[0] == DONE
    assert all(slug.endswith("-2") for slug in box.kernels) and follower.chain.jobs[0].reference.endswith("s1-2")
    assert_finished(box, follower, (0,))


def test_what_cannot_heal_is_not_repeated(begin):
    box, follower = begin(failing({"-f0-": 1}, "user error"), folds=[0], retries=5)
    end = follow([follower])[0]
    assert end == "imettk-cells-f0-s1: `lr` must be above 0 (correct it, and run the same command)"
    assert len(follower.chain.of("train", 0)) == 1
    follower.chain.try_again()
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))


def test_a_competition_that_kaggle_does_not_know_stops_at_once(begin):
    _, follower = begin(folds=[0], competitions=["cell"], retries=5)
    end = follow([follower])[0]
    assert "Kaggle does not know cell (or it is not yours)" in end
    assert "accept its rules first: kaggle.com/c/cell/rules" in end
    assert len(follower.chain.jobs) == 1


def test_a_full_disk_is_waited_for_and_told(begin, monkeypatch):
    box, follower = begin(folds=[0], retries=0)
    monkeypatch.setattr(rounds, "TELL_SECONDS", -1.0)
    save, told, left = Chain.save, [], [6]

    def full(chain, folder):
        if box.kernels and left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device", str(folder / "chain.json"))
        save(chain, folder)

    monkeypatch.setattr(Chain, "save", full)
    assert follow([follower], told.append)[0] == DONE
    assert left == [0] and "chain.json: No space left on device" in told[0] and "nothing is lost" in told[0]
    assert told[1] == "cells: seen clearly again"
    assert_finished(box, follower, (0,))
    assert_once(box)


def test_a_quota_that_does_not_answer_keeps_nothing_from_running(begin):
    box, follower = begin(folds=[0])
    box.faults.add("GetAcceleratorQuotaStatistics", Fault(500), times=1000)
    assert follow([follower])[0] == DONE


def test_the_end_of_the_weeks_hours_is_said_and_waited_for(begin, monkeypatch, capsys):
    """Known before anything is pushed; a session that still fits is made shorter, and ends by itself."""
    monkeypatch.setattr(room, "QUOTA_SECONDS", -1.0)
    box, follower = begin(folds=[0], retries=0)
    box.quota_seconds = 0.4 * 3600
    for _ in range(5):
        follower.look()
        box.wait()
    assert (
        capsys.readouterr().out.count("GPU hours of this week: 0.0 of 0.4 used; GPU sessions wait until Sat 02 Jan")
        == 1
    )
    assert not follower.chain.of("train", 0)
    box.quota_seconds = 3 * 3600
    follower.look()
    request = next(one for method, one in box.requests if method == "SaveKernel" and "-f0-" in one["slug"])
    assert request["sessionTimeoutSeconds"] == pytest.approx(3 * 3600, abs=60)
    assert f'"--session.limit-seconds", "{request["sessionTimeoutSeconds"]}"' in request["text"]
    box.quota_seconds = 30 * 3600
    assert follow([follower])[0] == DONE


def test_stopping_keeps_what_has_ended(begin, capsys):
    gate = threading.Event()

    def run(job: Job) -> str:
        if "-f0-s1" in job.slug:
            return pretend(job) if gate.wait(PATIENCE) else "ERROR"
        return endless(job)

    box, follower = begin(run)
    while len(follower.chain.open_jobs) < 2 or any(job.state != "running" for job in follower.chain.open_jobs):
        assert follower.look() == ""
    follower.look()
    gate.set()
    while box.kernels["me/imettk-cells-f0-s1"][0].status != "COMPLETE":
        time.sleep(0.01)
    follower.stop()
    assert list(box.deleted) == ["me/imettk-cells-f1-s1"]
    assert [(job.place, job.state) for job in follower.chain.jobs[1:]] == [("f0-s1", "paused"), ("f1-s1", "failed")]
    said = capsys.readouterr().out
    assert "f1-s1 RUNNING 0:00 h of 12:00 h: deleting me/imettk-cells-f1-s1 and what this session has made" in said


def test_stopping_deletes_nothing_that_is_not_seen_clearly(begin, capsys):
    box, follower = begin(endless, folds=[0])
    while not any(job.place == "f0-s1" and job.seen == "RUNNING" for job in follower.chain.open_jobs):
        follower.look()
    box.faults.add("GetKernelSessionStatus", Fault(403), times=3)
    follower.stop()
    assert not box.deleted and [job.state for job in follower.chain.open_jobs] == ["running"]
    follower.stop()
    assert list(box.deleted) == ["me/imettk-cells-f0-s1"]


def test_a_queue_shares_the_accounts_sessions_in_its_order(begin, tmp_path):
    counted = Counted()
    box, first = begin(counted)
    second = Chain(**{**vars(first.chain), "name": "whales", "folds": [0], "jobs": []})
    shared = Room(first.kaggle, [first.chain, second], 2)
    followers = [
        Follower(first.kaggle, first.chain, tmp_path / "run", room=shared),
        Follower(first.kaggle, second, tmp_path / "other", room=shared),
    ]
    assert follow(followers) == [DONE, DONE]
    assert counted.most <= 2
    assert_finished(box, followers[0])
    assert_finished(box, followers[1], (0,))
    pushed = [request["slug"].removeprefix("me/imettk-") for method, request in box.requests if method == "SaveKernel"]
    assert pushed.index("cells-f1-s1") < pushed.index("whales-f0-s1")
    assert read_chain(tmp_path / "other").is_done("infer")
