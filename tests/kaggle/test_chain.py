"""A chain against Kaggle in a box: it reaches its end through every fault, or stops with a reason.

Sessions only pretend to train here, so that hundreds of them run in seconds; `test_whole_chain` trains.
"""

from __future__ import annotations

import errno
import json

import pytest
from chain_jobs import waiting
from forked import PATIENCE
from kaggle_box import Fault, Job
from pretended import STEPS, Killed, assert_finished, failing, look_while, pretend, settings_of

from imettk.kaggle.chain import Follower
from imettk.kaggle.chain_state import DONE, read_chain
from imettk.kaggle.outputs import write_output_list
from imettk.kaggle.rounds import follow
from imettk.kaggle.watch import describe


def test_two_folds_of_three_sessions_side_by_side(begin):
    box, follower = begin()
    assert follow([follower])[0] == DONE
    assert_finished(box, follower)
    slugs = [job.slug for job in follower.chain.jobs]
    assert slugs[0] == "imettk-cells-prepare-s1" and slugs[-2:] == ["imettk-cells-validate-s1", "imettk-cells-infer-s1"]
    assert sorted(slugs[1:-2]) == [f"imettk-cells-f{fold}-s{number}" for fold in (0, 1) for number in (1, 2, 3)]
    pushed = [request["slug"] for method, request in box.requests if method == "SaveKernel"]
    assert sorted(pushed) == sorted(f"me/{slug}" for slug in slugs)  # each once
    assert follower.chain.gpu_hours == 8  # 6 trainings, validate, infer
    assert "f1-s3: done, step 10 of 10" not in describe(follower.chain) and "GPU hours used 8.0" in describe(
        follower.chain
    )


@pytest.mark.parametrize("method", ["SaveKernel", "GetKernelSessionStatus", "ListKernelSessionOutput", "GET"])
def test_faults_of_the_connection_are_survived(begin, method):
    box, follower = begin(folds=[0])
    faults = [
        Fault(503), Fault(500, after=True), Fault(0), Fault(0, after=True), Fault(429, body=b"slow"),
        Fault(200, cut=True, after=True),
    ]  # fmt: skip
    for fault in faults:
        box.faults.add(method, fault)
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))
    assert box.faults.happened == [method] * len(faults)
    assert len(follower.chain.jobs) == 6 == sum(len(versions) for versions in box.kernels.values())


def test_files_that_cannot_be_downloaded_for_long_cost_no_session(begin):
    """The session has succeeded, and the next kernel gets its output on the platform."""
    box, follower = begin(folds=[0], retries=0)
    box.faults.add("GET", Fault(503, where=lambda request: request["name"] == "steps.csv"), times=40)
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))
    assert len(box.faults.happened) == 40


def test_files_that_stay_wrong_fail_a_session_whose_checkpoints_are_used(begin):
    def run(job: Job) -> str:
        status = pretend(job)
        if "-f0-s1" in job.slug:
            (job.working / "fold0" / "status.json").write_text("damaged")
        return status

    _, follower = begin(run, folds=[0])
    assert follow([follower])[0] == DONE
    jobs = follower.chain.of("train", 0)
    assert jobs[0].state == "failed" and "differs from what the kernel wrote" in jobs[0].note
    assert len(jobs) == 3 and jobs[1].after[1] == jobs[0].slug


def test_status_calls_that_fail_nine_times_in_a_row(begin):
    box, follower = begin(folds=[0])
    box.faults.add("GetKernelSessionStatus", Fault(502), times=9)
    assert follow([follower])[0] == DONE
    assert len(follower.chain.jobs) == 6


def test_a_chain_from_cron_settles_a_session_without_its_output(begin, tmp_path):
    """Each look is a process of its own, which knows only the chain's file."""
    _, follower = begin(failing({"prepare": 1}, "stale"), folds=[0])
    follower.chain.save(tmp_path / "run")
    for _ in range(200):
        chain = read_chain(tmp_path / "run")
        assert chain is not None
        if Follower(follower.kaggle, chain, tmp_path / "run").look():
            break
        follower.kaggle.patience.sleep(0.01)
    assert chain.is_done("infer") and [job.state for job in chain.of("prepare")] == ["failed", "done"]


def test_a_session_that_fails_too_often_stops_the_chain_when_the_others_have_ended(begin, tmp_path, capsys):
    box, follower = begin(failing({"-f0-": 99}, "ERROR"), retries=1)
    end = follow([follower])[0]
    assert end == "imettk-cells-f0-s2 has failed 2 times: ERROR: it left no output"
    assert not follower.chain.open_jobs and not any("infer" in slug for slug in box.kernels)
    assert end in describe(follower.chain)
    chain = read_chain(tmp_path / "run")
    assert chain is not None and chain.stopped == end
    chain.try_again()
    box._run_kernel = pretend
    again = Follower(follower.kaggle, chain, tmp_path / "run")
    assert follow([again])[0] == DONE
    assert_finished(box, again)


def test_sessions_without_progress_stop_the_chain(begin):
    def stuck(job: Job) -> str:
        status = pretend(job)
        for path in job.working.glob("fold*/status.json"):
            path.write_text(json.dumps({"state": "paused", "step": 0, "num_steps": STEPS}))
            write_output_list(job.working, push=settings_of(job.text)["PUSH"], command="train", code=0, seconds=1.0)
        return status

    _, follower = begin(stuck, folds=[0], retries=0)
    assert "have not got beyond step 0 of 10: is the limit too short?" in follow([follower])[0]


def test_a_chain_is_stopped_on_request(begin):
    def endless(job: Job) -> str:
        if "-f" not in job.slug:
            return pretend(job)
        return "CANCEL_ACKNOWLEDGED" if job.cancel.wait(PATIENCE) else "ERROR"

    box, follower = begin(endless)
    while len(follower.chain.open_jobs) < 2:
        assert follower.look() == ""
    follower.stop()
    box.wait()
    assert len(box.deleted) == 2 and not follower.chain.open_jobs
    assert follower.look() == "stopped by the user"


def test_no_session_is_started_by_a_stop_without_answers(begin):
    """A push was recorded, and the platform does not answer whether it arrived."""
    box, follower = begin(folds=[0])
    follower.chain.add("prepare", None, [], gpu=False).sent = True
    box.faults.add("GetKernel", Fault(503), times=6)
    follower.stop()
    assert follower.look() == "" and follower.chain.open_jobs  # it may still arrive
    assert follow([follower])[0] == "stopped by the user" and not box.kernels
    assert [job.note for job in follower.chain.jobs] == ["never pushed"]


def test_a_missing_pack_stops_the_chain_at_once(begin):
    box, follower = begin(retries=0)
    box.datasets.clear()
    assert "Kaggle does not know me/imettk-pack/1" in follow([follower])[0]


def test_a_deleted_session_is_given_up_by_a_stop(begin, capsys):
    """The user has deleted it on the web page, or a process was killed before it got the answer to its deletion."""
    box, follower = begin(lambda job: waiting(job) if "-f" in job.slug else pretend(job), folds=[0])
    look_while(follower, lambda: not any(job.seen == "RUNNING" for job in follower.chain.of("train", 0)))
    box.answer("DeleteKernel", {"userName": "me", "kernelSlug": "imettk-cells-f0-s1"})
    follower.look()
    assert "if you have deleted it, `--stop` gives it up" in capsys.readouterr().out
    box.faults.add("GetKernel", Fault(503), times=6)
    follower.stop()
    assert len(follower.chain.open_jobs) == 1
    follower.stop()
    assert follower.look() == "stopped by the user" and "was it deleted?" in follower.chain.jobs[-1].note


@pytest.mark.parametrize("killed", [False, True])
def test_a_stop_is_recorded_before_it_is_carried_out(begin, killed):
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
