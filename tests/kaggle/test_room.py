"""No session begins without room: the number of sessions, the week's hours, and the order of chains."""

from __future__ import annotations

import pytest
from chain_jobs import last_push
from kaggle_box import Fault
from pretended import Counted, assert_finished, look_while, pretend

from imettk.kaggle import room
from imettk.kaggle.chain import Follower
from imettk.kaggle.chain_state import DONE, Chain, read_chain
from imettk.kaggle.room import Room
from imettk.kaggle.rounds import follow
from imettk.kaggle.sessions import NoRoom
from imettk.kaggle.watch import describe


def test_never_more_sessions_than_the_account_may_run(begin):
    counted = Counted()
    box, follower = begin(counted, folds=[0, 1, 2, 3])
    assert follow([follower])[0] == DONE and counted.most <= 2
    assert_finished(box, follower, (0, 1, 2, 3))


def test_a_chain_waits_for_a_full_account(begin):
    """Other sessions take the room; the official command exits with code 0 then."""
    box, follower = begin(folds=[0])
    body = b'{"error": "Maximum batch GPU session count of 2 reached."}'
    headers = {"Content-Type": "application/json"}
    refused = Fault(200, body=body, headers=headers, where=lambda request: "f0" in request["slug"])
    box.faults.add("SaveKernel", refused, times=3)
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))
    assert len(follower.chain.of("train", 0)) == 3


def test_a_chain_waits_for_the_weeks_hours(begin, capsys):
    """This may take days, and counts as no failure."""
    box, follower = begin(folds=[0], retries=0)
    body = b'{"error": "Maximum weekly GPU quota of 30.00 hours reached."}'
    refused = Fault(
        200, body=body, headers={"Content-Type": "application/json"}, where=lambda request: "f0" in request["slug"]
    )
    box.faults.add("SaveKernel", refused, times=9)
    for _ in range(3):
        follower.look()
        box.wait()
    assert "Maximum weekly GPU quota of 30.00 hours reached" in describe(follower.chain)
    assert follow([follower])[0] == DONE
    assert capsys.readouterr().out.count("hours reached.'; GPU sessions wait") == 1
    assert [job.note for job in follower.chain.of("train", 0)][-1] == "step 10 of 10"


def test_an_unknown_quota_prevents_no_session(begin):
    box, follower = begin(folds=[0])
    box.faults.add("GetAcceleratorQuotaStatistics", Fault(500), times=1000)
    assert follow([follower])[0] == DONE


def test_the_end_of_the_weeks_hours_is_reported_and_awaited(begin, monkeypatch, capsys):
    """It is known before anything is pushed; a session that still fits is made shorter, and ends by itself."""
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
    request = next(request for method, request in box.requests if method == "SaveKernel" and "-f0-" in request["slug"])
    assert request["sessionTimeoutSeconds"] == pytest.approx(3 * 3600, abs=60)
    assert f'"--session.limit-seconds", "{request["sessionTimeoutSeconds"]}"' in request["text"]
    box.quota_seconds = 30 * 3600
    assert follow([follower])[0] == DONE


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


FULL = b'{"error": "Maximum batch %s session count of 2 reached."}'
JSON = {"Content-Type": "application/json"}


def two_chains(first: Follower, folder) -> list[Follower]:
    second = Chain(**{**vars(first.chain), "name": "whales", "folds": [0], "jobs": []})
    shared = Room(first.kaggle, [first.chain, second], 2)
    return [
        Follower(first.kaggle, first.chain, first.folder, room=shared),
        Follower(first.kaggle, second, folder, room=shared),
    ]


def test_a_queue_goes_on_when_its_first_chain_has_stopped(begin, tmp_path):
    """A push that the platform has refused once is tried again."""
    box, follower = begin(lambda job: "ERROR" if "cells" in job.slug else pretend(job), folds=[0], retries=0)
    followers = two_chains(follower, tmp_path / "other")
    refused = Fault(200, body=FULL % b"GPU", headers=JSON, where=lambda request: "whales-f0" in request["slug"])
    box.faults.add("SaveKernel", refused, times=3)
    ends = follow(followers)
    assert "has failed 1 times" in ends[0] and ends[1] == DONE


def test_the_first_chain_of_a_queue_is_pushed_first_and_waiting_is_reported_once(begin, tmp_path, capsys):
    box, follower = begin(folds=[0])
    first, second = two_chains(follower, tmp_path / "other")
    box.max_gpu = box.max_cpu = 0
    second.chain.add("train", 0, [], gpu=True)
    for _ in range(5):
        first.look()
        second.look()
    assert capsys.readouterr().out.count("session count of 0 reached") == 2  # for GPU and CPU sessions
    asked = [request["slug"] for method, request in box.requests if method == "SaveKernel"]
    assert asked.index("me/imettk-cells-prepare-s1") == 0 and "me/imettk-whales-prepare-s1" not in asked


def test_room_goes_to_the_first_chain_and_is_read_again_after_a_push(begin, tmp_path, capsys):
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
def test_a_week_that_should_have_been_renewed_is_shown_without_a_date(begin, monkeypatch, capsys, renewed):
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


def test_a_session_that_has_waited_gets_the_hours_that_are_left_by_then(begin, monkeypatch):
    monkeypatch.setattr(room, "QUOTA_SECONDS", -1.0)
    box, follower = begin(folds=[0])
    box.quota_seconds, box.max_gpu = 3600, 0
    look_while(follower, lambda: not follower.chain.of("train", 0))
    assert follower.chain.of("train", 0)[0].short_seconds == 3600
    for box.quota_seconds in (60, 108_000):  # a minute is too short
        follower.look()
        assert last_push(box).get("sessionTimeoutSeconds") is None
    box.max_gpu = 2
    follower.look()


def test_validation_cannot_stop_halfway_and_is_not_shortened(begin, monkeypatch):
    monkeypatch.setattr(room, "QUOTA_SECONDS", -1.0)
    box, follower = begin(folds=[0])
    box.quota_seconds = 3600
    assert follow([follower])[0] == DONE
    assert [bool(job.short_seconds) for job in follower.chain.jobs] == [False, True, True, True, False, False]
