"""Each session is pushed once, looked up, and settled by its output, whatever the platform answers meanwhile."""

from __future__ import annotations

import errno
import json
import threading
import time

import pytest
from chain_jobs import assert_once, endless, last_push, waiting
from forked import PATIENCE
from kaggle_box import Fault, Job
from pretended import assert_finished, failing, look_while, pretend, push_and_die, settings_of

from imettk.kaggle import jobs
from imettk.kaggle.chain import Follower
from imettk.kaggle.chain_state import DONE, Chain, read_chain
from imettk.kaggle.outputs import write_output_list
from imettk.kaggle.rounds import follow


@pytest.mark.parametrize("how", ["ERROR", "CANCEL_ACKNOWLEDGED", "code", "stale"])
@pytest.mark.parametrize("place", ["prepare", "-f0-", "validate", "infer"])
def test_a_session_that_fails_is_tried_again(begin, capsys, how, place):
    box, follower = begin(failing({place: 2}, how), folds=[0])
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))
    failed = [job for job in follower.chain.jobs if job.state == "failed"]
    assert len(failed) == 2 and all(place in job.slug for job in failed)
    if how == "ERROR":
        assert "  | RuntimeError: out of luck" in capsys.readouterr().out


def test_the_checkpoints_of_a_failed_training_are_used(begin):
    """Its command ended with code 1 after some hours, and its output exists."""
    _, follower = begin(failing({"-f0-s2": 1}, "code"), folds=[0])
    assert follow([follower])[0] == DONE
    jobs = follower.chain.of("train", 0)
    assert [job.state for job in jobs] == ["paused", "failed", "done"]  # and no fourth
    assert jobs[2].after[1] == jobs[1].slug


def test_a_failed_training_without_checkpoints_is_not_continued(begin):
    """It ended before it had any, for instance because of a wrong pack: the fold would begin at step 0 again."""

    def run(job: Job) -> str:
        if "-f0-s2" not in job.slug:
            return pretend(job)
        write_output_list(job.working, push=settings_of(job.text)["PUSH"], command="train", code=1, seconds=9.0)
        return "COMPLETE"

    box, follower = begin(run, folds=[0])
    assert follow([follower])[0] == DONE
    jobs = follower.chain.of("train", 0)
    assert [(job.state, job.note) for job in jobs] == [
        ("paused", "step 4 of 10"),
        ("failed", "train ended with code 1"),
        ("paused", "step 8 of 10"),
        ("done", "step 10 of 10"),
    ]
    assert jobs[2].after[1] == jobs[0].slug
    assert_finished(box, follower, (0,))


def test_the_sources_of_a_push_without_an_answer_are_checked(begin):
    """The process was killed before it read the answer, which named an unknown source."""
    box, follower = begin(lambda job: "ERROR" if job.cancel.wait(PATIENCE) else "COMPLETE", folds=[0], retries=0)
    job = follower.chain.add("prepare", None, [], gpu=False)
    box.datasets.clear()
    with pytest.raises(KeyboardInterrupt):
        push_and_die(follower, job)
    assert "Kaggle does not know me/imettk-pack/1" in follow([follower])[0]
    assert list(box.deleted) == ["me/imettk-cells-prepare-s1"] and len(follower.chain.jobs) == 1


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_running_session_that_kaggle_does_not_show_is_not_pushed_again(begin, code):
    """However often it is not shown, it may still be running."""
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
    box.faults.clear()
    gate.set()
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))
    assert_once(box)


def test_an_accepted_push_that_is_not_shown_at_once_is_not_made_twice(begin):
    box, follower = begin(folds=[0])
    box.faults.add("SaveKernel", Fault(500, after=True))
    box.faults.add("GetKernel", Fault(403), times=2)
    assert follow([follower])[0] == DONE
    assert_once(box)


@pytest.mark.parametrize("hours", [-40, 40])
def test_this_machines_clock_ends_no_session(begin, monkeypatch, hours):
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


def test_a_session_that_runs_longer_than_possible_is_left_alone_and_reported(begin):
    """It counts as stuck by the platform's clock, over several looks, and is not deleted."""
    box, follower = begin(endless, folds=[0], retries=0)
    while not any("-f0-" in slug for slug in box.kernels):
        follower.look()
    follower.look()
    real, hours = box.date, 0
    for jump in (37, 0, -37, 0, 80, 0):  # a single wrong time counts for little
        box.date = lambda jump=jump: real() + jump * 3600
        assert follower.look() == ""
    box.date = lambda: real() + hours * 3600
    while not (end := follower.look()):
        hours += 3
    assert 20 <= hours <= 30
    assert "still RUNNING after 36 hours; it has not been deleted: look at kaggle.com/code/me/imettk-cells-f0-s1" in end
    assert not box.deleted


def test_a_kernel_is_asked_for_by_the_slug_that_the_platform_made(begin):
    box, follower = begin(folds=[0], retries=0)
    box.spell = lambda slug: f"{slug}-2"
    assert follow([follower])[0] == DONE
    assert all(slug.endswith("-2") for slug in box.kernels) and follower.chain.jobs[0].reference.endswith("s1-2")
    assert_finished(box, follower, (0,))


def test_a_failure_that_cannot_heal_is_not_repeated(begin):
    box, follower = begin(failing({"-f0-": 1}, "user error"), folds=[0], retries=5)
    end = follow([follower])[0]
    assert end == "imettk-cells-f0-s1: `lr` must be above 0 (correct it, and run the same command)"
    assert len(follower.chain.of("train", 0)) == 1
    follower.chain.try_again()
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))


def versions(box) -> list[int]:
    return [len(versions) for versions in box.kernels.values()]


@pytest.mark.parametrize("fault", [Fault(503), Fault(0), Fault(200, body=b"")], ids=["503", "closed", "empty"])
def test_a_push_that_arrives_minutes_later_is_not_made_twice(begin, monkeypatch, fault):
    """It is looked for until it surely never arrives, by the platform's clock, and in any number of processes."""
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
    box.faults.add("SaveKernel", Fault(503))  # the next push too
    for minutes[0] in range(18, 33):
        follower.look()
        assert not box.kernels
    assert box.faults.happened == ["SaveKernel"] * 2
    box.faults.add("SaveKernel", Fault(403))  # in passing: it counts as one refusal only
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


def test_no_session_is_started_beside_one_without_sources_that_cannot_be_stopped(begin):
    """It ends by itself, and its list names what it lacks."""
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


def test_a_kernel_whose_sources_are_not_listed_is_not_deleted(begin):
    """The look-up of a push whose answer was lost may lack the attached sources."""
    box, follower = begin(folds=[0])
    answer = box._get_kernel

    def bare(request):
        kernel = answer(request)
        return kernel | {"metadata": {name: kernel["metadata"][name] for name in ("ref", "currentVersionNumber")}}

    box._get_kernel = bare
    box.faults.add("SaveKernel", Fault(500, after=True))
    assert follow([follower])[0] == DONE
    assert not box.deleted and set(versions(box)) == {1}


def test_a_failure_that_cannot_heal_is_not_repeated_after_a_full_disk(begin, monkeypatch):
    _, follower = begin(failing({"-f0-": 1}, "user error"), folds=[0])
    save, left = Chain.save, [3]

    def full(chain, folder):
        if any(job.state == "failed" for job in chain.jobs) and left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device", str(folder / "chain.json"))
        save(chain, folder)

    monkeypatch.setattr(Chain, "save", full)
    events = []
    follower._tell = lambda event, job, text: events.append(event)
    assert "`lr` must be above 0" in follow([follower])[0] and left == [0]
    assert len(follower.chain.of("train", 0)) == 1 and events[-1] == "failed"


def test_a_jumping_clock_loses_no_output(begin, monkeypatch):
    """The platform's clock jumps forth and back, and is missing at times."""
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


def test_a_push_of_an_earlier_version_is_looked_for(begin):
    """Earlier versions did not record whether it was sent."""
    _, follower = begin(folds=[0])
    follower.chain.add("prepare", None, [], gpu=False)
    follower.chain.save(follower.folder)
    path = follower.folder / "chain.json"
    content = json.loads(path.read_text())
    del content["jobs"][0]["sent"]
    content["jobs"][0]["waits_since"] = 0.0
    path.write_text(json.dumps(content))
    assert read_chain(follower.folder).jobs[0].sent
