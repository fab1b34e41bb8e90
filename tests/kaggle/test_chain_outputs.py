"""A chain with outputs and lists that are late, damaged, given up or missing."""

from __future__ import annotations

import json
import threading

import pytest
from forked import PATIENCE
from kaggle_box import Job
from pretended import assert_finished, failing, look_while, pretend

from imettk.kaggle import jobs
from imettk.kaggle.chain_state import DONE
from imettk.kaggle.rounds import follow
from imettk.kaggle.sessions import gpu_quota


def test_validation_is_made_again_after_an_output_was_given_up(begin):
    """The output is attached to one kernel, and no longer to the next."""

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


def test_the_checkpoints_of_a_killed_session_may_be_listed_late(begin):
    """The list is there, and the other files are not yet."""
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


def test_an_output_that_is_attached_only_after_minutes_is_not_given_up(begin, monkeypatch):
    """Its session is complete: nine hours of training."""
    box, follower = begin(folds=[0], retries=1)
    monkeypatch.setattr(jobs, "LOST_SECONDS", 900.0)
    real, minutes, attached = box.date, [0], box._attached
    box.date = lambda: real() + minutes[0] * 60
    box._attached = lambda source: None if "-f0-s1" in source and minutes[0] < 10 else attached(source)
    while not follower.look() and minutes[0] < 60:
        box.wait()
        minutes[0] += len(follower.chain.of("train", 0)) > 1
        gpu_quota(follower.kaggle)  # as the screen does now and then: every answer contains the time
    assert follower.chain.is_done("infer") and minutes[0] > 10
    assert_finished(box, follower, (0,))
    assert [job.state for job in follower.chain.of("train", 0)] == ["paused", "failed", "paused", "done"]


def test_the_wait_for_an_output_does_not_count_the_hours_before_the_end(begin, monkeypatch):
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
def test_an_early_or_damaged_list_is_replaced_by_a_later_one(begin, listed):
    """The session is complete; the early list has no exit code."""
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
