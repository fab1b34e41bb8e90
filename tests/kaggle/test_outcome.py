"""A session is judged by its list and its status, whatever they contain."""

from __future__ import annotations

import json

import pytest
from kaggle_box import Job
from pretended import STEPS, assert_finished, look_while, pretend, settings_of

from imettk.kaggle import outcome
from imettk.kaggle.chain_state import DONE
from imettk.kaggle.outputs import write_output_list
from imettk.kaggle.rounds import follow


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
def test_a_status_of_wrong_types_is_survived(begin, steps):
    def run(job: Job) -> str:
        status = pretend(job)
        for path in job.working.glob("fold*/status.json"):
            content = json.loads(path.read_text())
            path.write_text(json.dumps(content | {"step": steps, "num_steps": steps}))
            write_output_list(job.working, push=settings_of(job.text)["PUSH"], command="train", code=0, seconds=1.0)
        return status

    _, follower = begin(run, folds=[0])
    assert "have not got beyond step 0 of ?" in follow([follower])[0] or follower.chain.is_done("infer")


def test_a_session_that_lacks_an_unknown_push_is_judged_by_its_code(begin):
    def run(job: Job) -> str:
        if "-f0-s1" not in job.slug:
            return pretend(job)
        push = settings_of(job.text)["PUSH"]
        write_output_list(job.working, push=push, command="train", code=2, seconds=1.0, lacks=["another"])
        return "COMPLETE"

    _, follower = begin(run, folds=[0])
    assert "train ended with code 2 (correct it" in follow([follower])[0]


def test_a_finished_fold_without_its_model_has_failed(begin):
    """Otherwise it would be trained again and again."""

    def run(job: Job) -> str:
        status = pretend(job)
        if "-f0-" in job.slug:
            (job.working / "fold0" / "status.json").write_text('{"state": "done", "step": 10, "num_steps": 10}')
            for path in (job.working / "fold0" / "checkpoints").iterdir():
                path.unlink()
            write_output_list(job.working, push=settings_of(job.text)["PUSH"], command="train", code=0, seconds=1.0)
        return status

    _, follower = begin(run, folds=[0], retries=1)
    assert (
        "has failed 2 times: fold 0 is done, but its output has neither model nor checkpoints" in follow([follower])[0]
    )


def stuck(job: Job) -> str:
    status = pretend(job)
    for path in job.working.glob("fold*/status.json"):
        path.write_text(json.dumps({"state": "paused", "step": 4, "num_steps": STEPS}))
        write_output_list(job.working, push=settings_of(job.text)["PUSH"], command="train", code=0, seconds=1.0)
    job.log.write_text("imettk: some note\n")
    return status


def test_sessions_without_progress_are_not_tried_again(begin):
    """Otherwise every third one would fail, and two more would follow, for ever."""
    _, follower = begin(stuck, folds=[0], retries=2)
    end = follow([follower])[0]
    assert "imettk-cells-f0-s3: three sessions have not got beyond step 4 of 10: is the limit too short? (corr" in end


def test_failures_between_sessions_without_progress_are_counted(begin):
    def run(job: Job) -> str:
        return stuck(job) if job.slug[-1] in "13579" or "-f0-" not in job.slug else "ERROR"

    _, follower = begin(run, folds=[0], retries=2)
    end = follow([follower])[0]
    assert end == "imettk-cells-f0-s6 has failed 3 times: ERROR: it left no output"


def test_a_session_that_repeats_lost_steps_counts_as_progress(begin):
    _, follower = begin(folds=[0])
    for state, step, has_output in (("paused", 4, True), ("failed", 8, False), ("paused", 8, True)):
        job = follower.chain.add("train", 0, [], gpu=True)
        job.state, job.step, job.has_output = state, step, has_output
    assert not follower.chain.failed("train", 0)
    follower.chain.jobs[2].state, follower.chain.jobs[2].has_output = "failed, tried again", False
    assert not follower.chain.failed("train", 0)  # failures before the chain was started again do not count


def test_an_output_in_a_chain_of_an_earlier_imettk_is_not_given_up_at_once(begin):
    """That version did not record that the session was complete."""
    _, follower = begin(folds=[0])
    look_while(follower, lambda: not follower.chain.is_done("prepare"))
    prepare = follower.chain.of("prepare")[0]
    prepare.seen = ""
    train = follower.chain.add("train", 0, [prepare], gpu=True)
    assert outcome.skip(train, [prepare]).state == "failed" and prepare.has_output
