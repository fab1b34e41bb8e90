"""A chain against lists, statuses and states that hold anything, and outputs that are late, given up or missing."""

from __future__ import annotations

import json
import threading

import pytest
from forked import PATIENCE
from kaggle_box import Job
from pretended import STEPS, assert_finished, failing, look_while, pretend, settings_of

from imettk.errors import MismatchError
from imettk.kaggle import jobs, outcome
from imettk.kaggle.chain_state import DONE, read_chain
from imettk.kaggle.outputs import write_output_list
from imettk.kaggle.rounds import follow
from imettk.kaggle.sessions import gpu_quota


@pytest.mark.parametrize(
    "listed",
    [
        {"code": "0"}, {"code": True}, {"files": []}, {"files": {"a": 7}}, {"files": {"a": {"size": 1}}},
        {"seconds": None}, {"seconds": float("inf")}, {"seconds": -1}, {"lacks": "none"}, {"lacks": [7]}, {"push": 7},
        {"files": {"a": {"size": -1, "sha256": ""}}}, [], "text",
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_list_ends_a_session_in_one_line(begin, listed):
    def run(job: Job) -> str:
        status = pretend(job)
        path = job.working / "imettk-output.json"
        if "-f0-s2" in job.slug:
            content = json.loads(path.read_text()) | listed if isinstance(listed, dict) else listed
            path.write_text(json.dumps(content))
        return status

    box, follower = begin(run, folds=[0])
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))
    states = [(job.state, job.step) for job in follower.chain.of("train", 0)]
    assert states == [("paused", 4), ("failed", 0), ("paused", 8), ("done", STEPS)]
    assert "is damaged" in follower.chain.of("train", 0)[1].note


@pytest.mark.parametrize("steps", ["4", None, [4], -4, 4.5, {}])
def test_a_status_of_other_types_is_no_traceback(begin, steps):
    def run(job: Job) -> str:
        status = pretend(job)
        for path in job.working.glob("fold*/status.json"):
            content = json.loads(path.read_text())
            path.write_text(json.dumps(content | {"step": steps, "num_steps": steps}))
            write_output_list(job.working, push=settings_of(job.text)["PUSH"], stage="train", code=0, seconds=1.0)
        return status

    _, follower = begin(run, folds=[0])
    assert "have not gone beyond step 0 of ?" in follow([follower])[0] or follower.chain.is_done("infer")


def test_a_session_that_lacks_what_nobody_knows_is_judged_by_its_code(begin):
    def run(job: Job) -> str:
        if "-f0-s1" not in job.slug:
            return pretend(job)
        push = settings_of(job.text)["PUSH"]
        write_output_list(job.working, push=push, stage="train", code=2, seconds=1.0, lacks=["another"])
        return "COMPLETE"

    _, follower = begin(run, folds=[0])
    assert "train ended with code 2 (correct it" in follow([follower])[0]


def test_a_fold_that_is_done_without_its_model_has_failed(begin):
    """It would be trained again and again."""

    def run(job: Job) -> str:
        status = pretend(job)
        if "-f0-" in job.slug:
            (job.working / "fold0" / "status.json").write_text('{"state": "done", "step": 10, "num_steps": 10}')
            for path in (job.working / "fold0" / "checkpoints").iterdir():
                path.unlink()
            write_output_list(job.working, push=settings_of(job.text)["PUSH"], stage="train", code=0, seconds=1.0)
        return status

    _, follower = begin(run, folds=[0], retries=1)
    assert (
        "has failed 2 times: fold 0 is done, and its output has neither model nor checkpoints" in follow([follower])[0]
    )


def stuck(job: Job) -> str:
    status = pretend(job)
    for path in job.working.glob("fold*/status.json"):
        path.write_text(json.dumps({"state": "paused", "step": 4, "num_steps": STEPS}))
        write_output_list(job.working, push=settings_of(job.text)["PUSH"], stage="train", code=0, seconds=1.0)
    job.log.write_text("imettk: some note\n")
    return status


def test_sessions_that_come_no_further_are_not_tried_again(begin):
    """Each third one would fail, and be followed by two that did not: for ever."""
    _, follower = begin(stuck, folds=[0], retries=2)
    end = follow([follower])[0]
    assert "imettk-cells-f0-s3: three sessions have not gone beyond step 4 of 10: is the limit too short? (corr" in end


def test_failures_between_sessions_that_come_no_further_are_counted(begin):
    def run(job: Job) -> str:
        return stuck(job) if job.slug[-1] in "13579" or "-f0-" not in job.slug else "ERROR"

    _, follower = begin(run, folds=[0], retries=2)
    end = follow([follower])[0]
    assert end == "imettk-cells-f0-s6 has failed 3 times: ERROR: it left no output"


def test_a_session_that_repeats_steps_that_were_given_up_has_come_further(begin):
    _, follower = begin(folds=[0])
    for state, step, has_output in (("paused", 4, True), ("failed", 8, False), ("paused", 8, True)):
        job = follower.chain.add("train", 0, [], gpu=True)
        job.state, job.step, job.has_output = state, step, has_output
    assert not follower.chain.failed("train", 0)
    follower.chain.jobs[2].state, follower.chain.jobs[2].has_output = "failed, tried again", False
    assert not follower.chain.failed("train", 0)  # nor does what was before a new beginning


def test_validation_is_made_again_where_an_output_was_given_up_since(begin):
    """Attached to one kernel, and to the next not any more."""

    def run(job: Job) -> str:
        if "infer-s1" in job.slug:
            box.failed_outputs = "refused"
            job.notebooks = {name: path for name, path in job.notebooks.items() if "-f0-" not in name}
        return failing({"-f0-s3": 1}, "errored")(job)

    box, follower = begin(run, folds=[0])
    box.failed_outputs = "attached"
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))
    chain = follower.chain
    assert [len(chain.of(*place)) for place in chain.places] == [1, 4, 2, 2]
    assert "imettk-cells-f0-s4" in chain.of("validate")[-1].after


def test_an_output_of_an_earlier_imettk_is_not_given_up_at_once(begin):
    """It has not noted that the session was complete."""
    _, follower = begin(folds=[0])
    look_while(follower, lambda: not follower.chain.is_done("prepare"))
    prepare = follower.chain.of("prepare")[0]
    prepare.seen = ""
    train = follower.chain.add("train", 0, [prepare], gpu=True)
    assert outcome.skip(train, [prepare]).state == "failed" and prepare.has_output


def test_the_checkpoints_of_a_killed_session_may_be_listed_late(begin):
    """Its list is there, the rest is not yet."""
    box, follower = begin(failing({"-f0-s2": 1}, "killed"), folds=[0])
    box.failed_outputs, real, looks = "attached", box._list_kernel_session_output, []

    def late(request):
        answer = real(request)
        if "-f0-s2" in request["kernelSlug"] and (looks.append(1) or len(looks) < 3):
            answer["files"] = [file for file in answer["files"] if file["fileName"] == "imettk-output.json"]
        return answer

    box._list_kernel_session_output = late
    assert follow([follower])[0] == DONE
    assert [job.has_output for job in follower.chain.of("train", 0)] == [True] * 3


def test_an_output_that_is_attached_minutes_later_is_not_given_up(begin, monkeypatch):
    """Its session was complete: nine hours of training."""
    box, follower = begin(folds=[0], retries=1)
    monkeypatch.setattr(jobs, "LOST_SECONDS", 900.0)
    real, minutes, attached = box.date, [0], box._attached
    box.date = lambda: real() + minutes[0] * 60
    box._attached = lambda source: None if "-f0-s1" in source and minutes[0] < 10 else attached(source)
    while not follower.look() and minutes[0] < 60:
        box.wait()
        minutes[0] += len(follower.chain.of("train", 0)) > 1
        gpu_quota(follower.kaggle)  # as the screen does now and then: every answer has the time
    assert follower.chain.is_done("infer") and minutes[0] > 10
    assert_finished(box, follower, (0,))
    assert [job.state for job in follower.chain.of("train", 0)] == ["paused", "failed", "paused", "done"]


def test_a_session_that_has_run_for_hours_has_its_time_to_leave_an_output(begin, monkeypatch):
    gate = threading.Event()
    box, follower = begin(lambda job: pretend(job) if gate.wait(PATIENCE) else "ERROR", folds=[0])
    monkeypatch.setattr(jobs, "LOST_SECONDS", 900.0)
    look_while(follower, lambda: not any(job.seen == "RUNNING" for job in follower.chain.jobs))
    real, hours, box.late_listings = box.date, [0], jobs.LOOKS + 1
    box.date = lambda: real() + hours[0] * 3600
    for hours[0] in range(11):
        follower.look()
    gate.set()
    box.wait()
    look_while(follower, lambda: not follower.chain.jobs[0].ended_at)
    assert follower.chain.jobs[0].state == "done"


@pytest.mark.parametrize("listed", [{"code": None, "files": {}}, {"files": 7}], ids=["early", "damaged"])
def test_a_list_of_a_complete_session_that_is_put_right_is_taken(begin, listed):
    """The early one names no code; the checkpoints are there."""
    box, follower = begin(folds=[0], retries=0)
    output, looks = box.output_file, []

    def early(path):
        file = output(path)
        if "-f0-s1" not in path or file.name != "imettk-output.json" or looks.append(1) or len(looks) > 2:
            return file
        content = json.loads(file.read_text()) | listed
        (box.root / "early.json").write_text(json.dumps(content))
        return box.root / "early.json"

    box.output_file = early
    assert follow([follower])[0] == DONE and len(looks) > 2


@pytest.mark.parametrize("text", ["[]", "null", '"text"', "7", '{"jobs": 7}', '{"jobs": [7]}', "{}"])
def test_a_state_of_other_types_is_one_line(tmp_path, text):
    (tmp_path / "chain.json").write_text(text)
    with pytest.raises(MismatchError, match=r"chain\.json is damaged"):
        read_chain(tmp_path)


@pytest.mark.parametrize("place", ["chain", "job"])
def test_a_later_versions_state_is_said_to_be_one(begin, place):
    _, follower = begin(folds=[0])
    follower.look()
    path = follower.folder / "chain.json"
    content = json.loads(path.read_text())
    (content if place == "chain" else content["jobs"][0])["orbit"] = 7
    path.write_text(json.dumps(content))
    with pytest.raises(MismatchError, match="'orbit', of a later imettk"):
        read_chain(follower.folder)


def test_an_earlier_versions_push_is_looked_for(begin):
    """Nobody knows whether it was sent."""
    _, follower = begin(folds=[0])
    follower.chain.add("prepare", None, [], gpu=False)
    follower.chain.save(follower.folder)
    path = follower.folder / "chain.json"
    content = json.loads(path.read_text())
    del content["jobs"][0]["sent"]
    content["jobs"][0]["waits_since"] = 0.0
    path.write_text(json.dumps(content))
    assert read_chain(follower.folder).jobs[0].sent
