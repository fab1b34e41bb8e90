"""Unclear answers and outputs that are not attached: no session is doubled or lost."""

from __future__ import annotations

import threading
import time

import pytest
from chain_jobs import assert_once, endless
from forked import PATIENCE
from kaggle_box import PAGE, Fault, Job
from pretended import STEPS, assert_finished, failing, pretend

from imettk.kaggle.chain_state import DONE
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


@pytest.mark.parametrize("answer", UNCLEAR)
@pytest.mark.parametrize("method", ["SaveKernel", "GetKernelSessionStatus", "ListKernelSessionOutput", "GET"])
def test_an_unclear_answer_changes_nothing(begin, method, answer):
    box, follower = begin(folds=[0], retries=0)
    box.faults.add(method, UNCLEAR[answer], times=2)
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))
    assert_once(box)
    assert len(follower.chain.jobs) == 6 and box.faults.happened == [method] * 2


@pytest.mark.parametrize("attached", ["refused", "omitted", "attached"])
@pytest.mark.parametrize("how", ["killed", "errored"])
def test_the_output_of_a_session_that_did_not_end_well(begin, attached, how):
    """Its checkpoints are used if the platform attaches them; otherwise those of the session before."""
    box, follower = begin(failing({"-f0-s2": 1}, how), folds=[0], retries=1)
    box.failed_outputs = attached
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))
    jobs = follower.chain.of("train", 0)
    inputs = [job.after[1] for job in jobs[1:]]
    first, second = jobs[0].slug, jobs[1].slug
    if attached == "attached":
        assert inputs == [first, second] and jobs[-1].step == STEPS
    else:
        assert inputs[:3] == [first, second, first] and jobs[2].state == "without its input"
    assert "-f0-s2" in jobs[1].slug and jobs[1].state in ("failed", "paused")


def test_a_complete_output_that_is_not_attached_is_asked_for_again(begin, tmp_path):
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
def test_a_chain_waits_for_a_late_list(begin, late):
    box, follower = begin(folds=[0], retries=0)
    box.late_listings = late
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))


def test_a_killed_session_whose_list_comes_late_keeps_its_checkpoints(begin):
    box, follower = begin(failing({"-f0-s1": 1}, "killed"), folds=[0], retries=1)
    box.late_listings, box.failed_outputs = 2, "attached"
    assert follow([follower])[0] == DONE
    assert [job.step for job in follower.chain.of("train", 0)][-1] == STEPS and len(follower.chain.of("train", 0)) == 3


def test_an_unknown_competition_stops_the_chain_at_once(begin):
    _, follower = begin(folds=[0], competitions=["cell"], retries=5)
    end = follow([follower])[0]
    assert "Kaggle does not know cell (or it is not yours)" in end
    assert "accept its rules first: kaggle.com/c/cell/rules" in end
    assert len(follower.chain.jobs) == 1


def test_stopping_keeps_sessions_that_have_ended(begin, capsys):
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
    text = capsys.readouterr().out
    assert "f1-s1 RUNNING 0:00 h of 12:00 h: deleting me/imettk-cells-f1-s1 and what this session has made" in text


def test_stopping_deletes_no_session_whose_state_is_unclear(begin, capsys):
    box, follower = begin(endless, folds=[0])
    while not any(job.place == "f0-s1" and job.seen == "RUNNING" for job in follower.chain.open_jobs):
        follower.look()
    box.faults.add("GetKernelSessionStatus", Fault(403), times=3)
    follower.stop()
    assert not box.deleted and [job.state for job in follower.chain.open_jobs] == ["running"]
    follower.stop()
    assert list(box.deleted) == ["me/imettk-cells-f0-s1"]
