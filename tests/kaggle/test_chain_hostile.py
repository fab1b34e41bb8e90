"""A chain against late pushes, deletions that fail, full disks, wrong clocks and no room: no session is doubled."""

from __future__ import annotations

import errno
import threading

import pytest
from forked import PATIENCE
from kaggle_box import Fault, Job
from pretended import Killed, assert_finished, failing, look_while, pretend

from imettk.kaggle import jobs, room
from imettk.kaggle.chain import Follower
from imettk.kaggle.chain_state import DONE, Chain, read_chain
from imettk.kaggle.room import Room
from imettk.kaggle.rounds import follow
from imettk.kaggle.sessions import NoRoom

FULL = b'{"error": "Maximum batch %s session count of 2 reached."}'
JSON = {"Content-Type": "application/json"}


def versions(box) -> list[int]:
    return [len(versions) for versions in box.kernels.values()]


def waiting(job: Job) -> str:
    return "CANCEL_ACKNOWLEDGED" if job.cancel.wait(PATIENCE) else "ERROR"


def last_push(box) -> dict:
    return [request for method, request in box.requests if method == "SaveKernel"][-1]


@pytest.mark.parametrize("fault", [Fault(503), Fault(0), Fault(200, body=b"")], ids=["503", "closed", "empty"])
def test_a_push_that_arrives_minutes_later_is_not_doubled(begin, monkeypatch, fault):
    """It is looked for until it surely does not arrive, by the platform's clock, and in any number of processes."""
    box, follower = begin(folds=[0])
    monkeypatch.setattr(jobs, "LOST_SECONDS", 900.0)
    follower.chain.save(follower.folder)
    real, minutes = box.date, [0]
    box.date = lambda: real() + minutes[0] * 60
    box.faults.add("SaveKernel", fault)
    for minutes[0] in range(14):
        Follower(follower.kaggle, read_chain(follower.folder), follower.folder).look()
    assert [method for method, _ in box.requests].count("SaveKernel") == 1
    box.answer("SaveKernel", last_push(box))
    again = Follower(follower.kaggle, read_chain(follower.folder), follower.folder)
    assert follow([again])[0] == DONE
    assert set(versions(box)) == {1} and len(again.chain.jobs) == 6


def test_a_push_that_never_arrives_is_made_again(begin, monkeypatch):
    box, follower = begin(folds=[0])
    monkeypatch.setattr(jobs, "LOST_SECONDS", 900.0)
    real, minutes = box.date, [0]
    box.date = lambda: real() + minutes[0] * 60
    box.faults.add("SaveKernel", Fault(503))
    for minutes[0] in range(16):
        follower.look()
        assert not box.kernels
    box.faults.add("SaveKernel", Fault(503))  # the next one too
    for minutes[0] in range(18, 33):
        follower.look()
        assert not box.kernels
    assert box.faults.happened == ["SaveKernel"] * 2
    box.faults.add("SaveKernel", Fault(403))  # in passing: it counts as one refusal alone
    while not box.kernels:
        minutes[0] += 1
        follower.look()
    assert 34 <= minutes[0] <= 40 and versions(box) == [1] and len(follower.chain.jobs) == 1


def test_a_push_that_arrives_after_a_stop_is_stopped(begin, monkeypatch):
    box, follower = begin(waiting, folds=[0])
    monkeypatch.setattr(jobs, "LOST_SECONDS", 900.0)
    box.faults.add("SaveKernel", Fault(503))
    follower.look()
    follower.stop()
    assert [job.state for job in follower.chain.jobs] == ["pushing"]
    box.answer("SaveKernel", last_push(box))
    Follower(follower.kaggle, read_chain(follower.folder), follower.folder).stop()
    assert list(box.deleted) == ["me/imettk-cells-prepare-s1"] and not box.kernels


def test_no_session_is_begun_beside_one_without_sources_that_cannot_be_ended(begin):
    """It ends by itself, and its list says what it lacks."""
    gate = threading.Event()

    def run(job: Job) -> str:
        if "-f0-s3" in job.slug:
            gate.wait(PATIENCE)
        return failing({"-f0-s2": 1}, "killed")(job)

    box, follower = begin(run, folds=[0])
    box.faults.add("DeleteKernel", Fault(503), times=6)
    look_while(follower, lambda: "me/imettk-cells-f0-s3" not in box.kernels)
    for _ in range(4):
        follower.look()
    assert [job.place for job in follower.chain.open_jobs] == ["f0-s3"]
    gate.set()
    assert follow([follower])[0] == DONE
    assert follower.chain.of("train", 0)[2].state == "without its input" and not box.deleted
    assert_finished(box, follower, (0,))


def test_a_kernel_whose_sources_are_not_told_is_not_deleted(begin):
    """The look-up of a push whose answer was lost need not say what is attached."""
    box, follower = begin(folds=[0])
    answer = box._get_kernel

    def bare(request):
        told = answer(request)
        return told | {"metadata": {name: told["metadata"][name] for name in ("ref", "currentVersionNumber")}}

    box._get_kernel = bare
    box.faults.add("SaveKernel", Fault(500, after=True))
    assert follow([follower])[0] == DONE
    assert not box.deleted and set(versions(box)) == {1}


def test_a_session_that_is_gone_is_given_up_by_a_stop(begin, capsys):
    """Its user has deleted it on the web page, or the answer to a deletion was lost with the process."""
    box, follower = begin(lambda job: waiting(job) if "-f" in job.slug else pretend(job), folds=[0])
    look_while(follower, lambda: not any(job.seen == "RUNNING" for job in follower.chain.of("train", 0)))
    box.answer("DeleteKernel", {"userName": "me", "kernelSlug": "imettk-cells-f0-s1"})
    follower.look()
    assert "if you have deleted it, `--stop` gives it up" in capsys.readouterr().out
    box.faults.add("GetKernel", Fault(503), times=6)
    follower.stop()
    assert len(follower.chain.open_jobs) == 1
    follower.stop()
    assert follower.look() == "stopped by the user" and "is it gone?" in follower.chain.jobs[-1].note


@pytest.mark.parametrize("killed", [False, True])
def test_what_is_being_stopped_is_written_down_first(begin, killed):
    _, follower = begin(waiting, folds=[0])
    look_while(follower, lambda: not any(job.seen == "RUNNING" for job in follower.chain.jobs))
    ask = follower.kaggle.ask

    def dying(service, method, request, **options):
        answer = ask(service, method, request, **options)
        if method == "delete_kernel":
            raise Killed if killed else OSError(errno.ENOSPC, "No space left on device")
        return answer

    follower.kaggle.ask = dying
    with pytest.raises(Killed) if killed else pytest.MonkeyPatch.context():
        follower.stop()
    assert read_chain(follower.folder).stopped == "stopped by the user"


def test_a_failure_that_cannot_heal_is_not_repeated_after_a_full_disk(begin, monkeypatch):
    _, follower = begin(failing({"-f0-": 1}, "user error"), folds=[0])
    save, left = Chain.save, [3]

    def full(chain, folder):
        if any(job.state == "failed" for job in chain.jobs) and left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device", str(folder / "chain.json"))
        save(chain, folder)

    monkeypatch.setattr(Chain, "save", full)
    told = []
    follower._tell = lambda event, job, text: told.append(event)
    assert "`lr` must be above 0" in follow([follower])[0] and left == [0]
    assert len(follower.chain.of("train", 0)) == 1 and told[-1] == "failed"


def test_a_clock_that_jumps_loses_no_output(begin, monkeypatch):
    """The platform's: forth, back, and not there."""
    box, follower = begin(folds=[0], retries=0)
    monkeypatch.setattr(jobs, "LOST_SECONDS", 900.0)
    follower.look()
    box.wait()
    box.late_listings, real = 99, box.date
    for hours in (0, 40, 0, -40, 40):
        box.date = lambda hours=hours: real() + hours * 3600
        assert follower.look() == "" and len(follower.chain.jobs) == 1
    box.date = real
    monkeypatch.setattr(follower.kaggle._connection, "now", lambda: None)
    monkeypatch.setattr("time.time", lambda: 1.0)
    assert follower.look() == "" and follower.chain.jobs[0].state == "running"
    box.late_listings = 0
    follower.look()
    assert follower.chain.jobs[0].state == "done"


def test_a_session_may_be_queued_for_days(begin):
    box, follower = begin(folds=[0])
    follower.look()
    real, hours = box.date, [0]
    box._get_kernel_session_status = lambda request: {"status": "QUEUED"}
    box.date = lambda: real() + hours[0] * 3600
    for hours[0] in range(0, 100, 2):
        assert follower.look() == "" and follower.chain.jobs[0].state == "running"


def test_an_outage_is_one_line_for_each_session_and_told_anew_the_next_time(begin, capsys):
    box, follower = begin(lambda job: waiting(job) if "-f" in job.slug else pretend(job))
    look_while(follower, lambda: sum(job.state == "running" for job in follower.chain.open_jobs) < 2)
    for expected in (2, 4):
        box.faults.add("GetKernelSessionStatus", Fault(503), times=6 * 2 * 3)
        for _ in range(4):
            follower.look()
        assert sum("looking again later" in line for line in capsys.readouterr().out.splitlines()) == 2, expected


def two_chains(first: Follower, folder) -> list[Follower]:
    second = Chain(**{**vars(first.chain), "name": "whales", "folds": [0], "jobs": []})
    shared = Room(first.kaggle, [first.chain, second], 2)
    return [
        Follower(first.kaggle, first.chain, first.folder, room=shared),
        Follower(first.kaggle, second, folder, room=shared),
    ]


def test_a_queue_goes_on_when_its_first_chain_has_stopped(begin, tmp_path):
    """What the platform has refused once is asked for again."""
    box, follower = begin(lambda job: "ERROR" if "cells" in job.slug else pretend(job), folds=[0], retries=0)
    followers = two_chains(follower, tmp_path / "other")
    refused = Fault(200, body=FULL % b"GPU", headers=JSON, where=lambda one: "whales-f0" in one["slug"])
    box.faults.add("SaveKernel", refused, times=3)
    ends = follow(followers)
    assert "has failed 1 times" in ends[0] and ends[1] == DONE


def test_the_first_chain_of_a_queue_is_pushed_first_and_waiting_is_said_once(begin, tmp_path, capsys):
    box, follower = begin(folds=[0])
    first, second = two_chains(follower, tmp_path / "other")
    box.max_gpu = box.max_cpu = 0
    second.chain.add("train", 0, [], gpu=True)
    for _ in range(5):
        first.look()
        second.look()
    assert capsys.readouterr().out.count("session count of 0 reached") == 2  # with GPU and without
    asked = [request["slug"] for method, request in box.requests if method == "SaveKernel"]
    assert asked.index("me/imettk-cells-prepare-s1") == 0 and "me/imettk-whales-prepare-s1" not in asked


def test_room_is_the_first_chains_and_is_asked_for_anew_after_a_push(begin, tmp_path, capsys):
    box, follower = begin(folds=[0])
    first, second = two_chains(follower, tmp_path / "other")
    shared, chains = first.room, (first.chain, second.chain)
    unclear = first.chain.add("train", 0, [], gpu=True)
    assert [shared.has(chain, gpu=True) for chain in chains] == [True, True]
    unclear.note = "refused"
    assert [shared.has(chain, gpu=True) for chain in chains] == [False, False]
    first.chain.jobs.clear()
    second.chain.add("train", 0, [], gpu=True).note = "refused"
    assert [shared.has(chain, gpu=True) for chain in chains] == [True, False]
    for _ in range(2):
        shared.refuse(NoRoom("full"), gpu=True)
        shared.refuse(NoRoom("fuller"), gpu=True)
        shared.note_push()
        shared.quota()
    assert capsys.readouterr().out.splitlines() == ["full; GPU sessions wait"] * 2
    assert [method for method, _ in box.requests].count("GetAcceleratorQuotaStatistics") == 3


@pytest.mark.parametrize("renewed", ["2020-01-01T00:00:00Z", None])
def test_a_week_that_should_have_been_renewed_has_no_date(begin, monkeypatch, capsys, renewed):
    monkeypatch.setattr(room, "QUOTA_SECONDS", -1.0)
    box, follower = begin(folds=[0])
    box.quota_seconds, box.renewed_at = 0.0, renewed
    for _ in range(4):
        follower.look()
        box.wait()
    line = "GPU hours of this week: 0.0 of 0.0 used; GPU sessions wait, until the platform renews them"
    assert capsys.readouterr().out.count(line) == 1


def test_a_session_shorter_than_usual_needs_no_more_than_its_limit(begin):
    box, follower = begin(folds=[0], limit_seconds=600)
    box.quota_seconds = 700
    look_while(follower, lambda: not follower.chain.of("train", 0))
    assert follower.chain.of("train", 0)[0].short_seconds == 0


def test_a_session_that_has_waited_gets_the_hours_that_there_are_by_then(begin, monkeypatch):
    monkeypatch.setattr(room, "QUOTA_SECONDS", -1.0)
    box, follower = begin(folds=[0])
    box.quota_seconds, box.max_gpu = 3600, 0
    look_while(follower, lambda: not follower.chain.of("train", 0))
    assert follower.chain.of("train", 0)[0].short_seconds == 3600
    for box.quota_seconds in (60, 108_000):  # with a minute it would come to nothing
        follower.look()
        assert last_push(box).get("sessionTimeoutSeconds") is None
    box.max_gpu = 2
    follower.look()


def test_validation_cannot_stop_half_way_and_is_not_shortened(begin, monkeypatch):
    monkeypatch.setattr(room, "QUOTA_SECONDS", -1.0)
    box, follower = begin(folds=[0])
    box.quota_seconds = 3600
    assert follow([follower])[0] == DONE
    assert [bool(job.short_seconds) for job in follower.chain.jobs] == [False, True, True, True, False, False]
