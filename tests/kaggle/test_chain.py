"""A chain against Kaggle in a box: to its end through every fault, and stopped with a reason where there is none.

Here sessions only pretend to train, so that hundreds of them run in seconds; `test_whole_chain` trains.
"""

from __future__ import annotations

import itertools
import json

import pytest
from forked import PATIENCE
from kaggle_box import Fault, Job
from pretended import STEPS, Counted, assert_finished, failing, pretend, push_and_die, settings_of
from telegram_box import CHAT, TOKEN, TelegramBox

from imettk.errors import MismatchError
from imettk.kaggle import rounds
from imettk.kaggle.chain import Follower
from imettk.kaggle.chain_state import DONE, read_chain
from imettk.kaggle.outputs import write_output_list
from imettk.kaggle.rounds import follow
from imettk.kaggle.telling import teller
from imettk.kaggle.watch import describe
from imettk.tracking.telegram import Credentials, Notifier


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


def test_never_more_sessions_than_the_account_has(begin):
    counted = Counted()
    box, follower = begin(counted, folds=[0, 1, 2, 3])
    assert follow([follower])[0] == DONE and counted.most <= 2
    assert_finished(box, follower, (0, 1, 2, 3))


def test_a_full_account_is_waited_for(begin):
    """Sessions of somebody else take the places; the error comes with code 0 from the official command."""
    box, follower = begin(folds=[0])
    body = b'{"error": "Maximum batch GPU session count of 2 reached."}'
    headers = {"Content-Type": "application/json"}
    refused = Fault(200, body=body, headers=headers, where=lambda request: "f0" in request["slug"])
    box.faults.add("SaveKernel", refused, times=3)
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))
    assert len(follower.chain.of("train", 0)) == 3


@pytest.mark.parametrize("method", ["SaveKernel", "GetKernelSessionStatus", "ListKernelSessionOutput", "GET"])
def test_each_fault_of_the_wire_is_passed_over(begin, method):
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


def test_the_weeks_hours_are_waited_for(begin, capsys):
    """It may take days: no session has failed for it."""
    box, follower = begin(folds=[0], retries=0)
    body = b'{"error": "Maximum weekly GPU quota of 30.00 hours reached."}'
    refused = Fault(200, body=body, headers={"Content-Type": "application/json"}, where=lambda one: "f0" in one["slug"])
    box.faults.add("SaveKernel", refused, times=9)
    for _ in range(3):
        follower.look()
        box.wait()
    assert "Maximum weekly GPU quota of 30.00 hours reached" in describe(follower.chain)
    assert follow([follower])[0] == DONE
    assert capsys.readouterr().out.count("hours reached.'; GPU sessions wait") == 1
    assert [job.note for job in follower.chain.of("train", 0)][-1] == "step 10 of 10"


def test_files_that_cannot_be_had_for_long_cost_no_session(begin):
    """The session has ended well, and the next kernel gets its output on the platform."""
    box, follower = begin(folds=[0], retries=0)
    box.faults.add("GET", Fault(503, where=lambda one: one["name"] == "steps.csv"), times=40)
    assert follow([follower])[0] == DONE
    assert_finished(box, follower, (0,))
    assert len(box.faults.happened) == 40


def test_files_that_stay_wrong_end_a_session_and_its_checkpoints_are_taken_up(begin):
    def run(job: Job) -> str:
        status = pretend(job)
        if "-f0-s1" in job.slug:
            (job.working / "fold0" / "status.json").write_text("damaged")
        return status

    _, follower = begin(run, folds=[0])
    assert follow([follower])[0] == DONE
    jobs = follower.chain.of("train", 0)
    assert jobs[0].state == "failed" and "is not what the kernel wrote" in jobs[0].note
    assert len(jobs) == 3 and jobs[1].after[1] == jobs[0].slug


def test_a_day_without_an_answer_ends_it_and_nothing_is_given_up(begin, tmp_path, monkeypatch):
    box, follower = begin(folds=[0])
    follower.look()
    box.faults.storm(seed=0, rate=1.0)
    monkeypatch.setattr(rounds, "UNCLEAR_SECONDS", 0.01)
    monkeypatch.setattr(rounds, "TELL_SECONDS", 0.0)
    told = []
    end = follow([follower], told.append)[0]
    assert end.startswith("not seen clearly for 0 hours (") and end.endswith("and the same command watches again")
    assert len(told) == 1 and "cells: not seen clearly for 0 minutes" in told[0]
    box.faults.storm(seed=0, rate=0)
    chain = read_chain(tmp_path / "run")
    assert chain is not None
    again = Follower(follower.kaggle, chain, tmp_path / "run")
    assert follow([again])[0] == DONE and len(chain.jobs) == 6


def test_status_calls_that_fail_nine_times_in_a_row(begin):
    box, follower = begin(folds=[0])
    box.faults.add("GetKernelSessionStatus", Fault(502), times=9)
    assert follow([follower])[0] == DONE
    assert len(follower.chain.jobs) == 6


def test_a_chain_from_cron_settles_a_session_without_its_output(begin, tmp_path):
    """Each look is a process of its own, which knows nothing but the file."""
    _, follower = begin(failing({"prepare": 1}, "stale"), folds=[0])
    follower.chain.save(tmp_path / "run")
    for _ in range(200):
        chain = read_chain(tmp_path / "run")
        assert chain is not None
        if Follower(follower.kaggle, chain, tmp_path / "run").look():
            break
        follower.kaggle.patience.sleep(0.01)
    assert chain.is_done("infer") and [job.state for job in chain.of("prepare")] == ["failed", "done"]


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


def test_a_failed_trainings_checkpoints_are_taken_up(begin):
    """Its stage ended with code 1 after some hours, and its output is there."""
    _, follower = begin(failing({"-f0-s2": 1}, "code"), folds=[0])
    assert follow([follower])[0] == DONE
    jobs = follower.chain.of("train", 0)
    assert [job.state for job in jobs] == ["paused", "failed", "done"]  # and not a fourth one
    assert jobs[2].after[1] == jobs[1].slug


def test_a_failed_training_without_checkpoints_is_not_taken_up(begin):
    """It ended before it had any, say for another pack: after it the fold would begin at step 0."""

    def run(job: Job) -> str:
        if "-f0-s2" not in job.slug:
            return pretend(job)
        write_output_list(job.working, push=settings_of(job.text)["PUSH"], stage="train", code=1, seconds=9.0)
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


def test_hours_of_sessions_that_left_nothing_count(begin):
    box, follower = begin(failing({"-f0-s1": 1}, "CANCEL_ACKNOWLEDGED"), folds=[0], limit_seconds=3600)
    times = itertools.count(1.8e9, 10)
    box.date = lambda: next(times)  # ten seconds a call
    follower.chain.expected_sessions, follower.chain.expected_hours = 6, 5.0
    follow([follower])[0]
    killed = follower.chain.of("train", 0)[0]
    assert 0 < killed.seconds < 3600
    killed.seconds = 1800.0
    assert "sessions 7 of 6 expected, GPU hours used 5.5 of 5.0 expected" in describe(follower.chain)


def test_what_fails_too_often_stops_the_chain_when_the_others_have_ended(begin, tmp_path, capsys):
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


def test_sessions_that_come_no_further_stop_the_chain(begin):
    def stuck(job: Job) -> str:
        status = pretend(job)
        for path in job.working.glob("fold*/status.json"):
            path.write_text(json.dumps({"state": "paused", "step": 0, "num_steps": STEPS}))
            write_output_list(job.working, push=settings_of(job.text)["PUSH"], stage="train", code=0, seconds=1.0)
        return status

    _, follower = begin(stuck, folds=[0], retries=0)
    assert "have not gone beyond step 0 of 10: is the limit too short?" in follow([follower])[0]


def test_it_is_stopped_on_request(begin):
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


def test_nothing_is_begun_when_a_stop_is_only_half_heard(begin):
    """A push that was written down, while the platform does not answer."""
    box, follower = begin(folds=[0])
    follower.chain.add("prepare", None, [], gpu=False).sent = True
    box.faults.add("GetKernel", Fault(503), times=6)
    follower.stop()
    assert follower.look() == "" and follower.chain.open_jobs  # it may still arrive
    assert follow([follower])[0] == "stopped by the user" and not box.kernels
    assert [job.note for job in follower.chain.jobs] == ["never pushed"]


def test_a_push_that_nobody_saw_arrive_is_checked_too(begin):
    """Killed between push and answer, which said that a source is not known."""
    box, follower = begin(lambda job: "ERROR" if job.cancel.wait(PATIENCE) else "COMPLETE", folds=[0], retries=0)
    job = follower.chain.add("prepare", None, [], gpu=False)
    box.datasets.clear()
    with pytest.raises(KeyboardInterrupt):
        push_and_die(follower, job)
    assert "Kaggle does not know me/imettk-pack/1" in follow([follower])[0]
    assert list(box.deleted) == ["me/imettk-cells-prepare-s1"] and len(follower.chain.jobs) == 1


def test_what_happened_is_told(begin):
    told = []
    _, follower = begin(folds=[0])
    follower._tell = lambda event, job, text: told.append((event, job.slug.removeprefix("imettk-cells-"), text))
    follow([follower])[0]
    assert told[:4] == [
        ("started", "prepare-s1", ""),
        ("done", "prepare-s1", ""),
        ("started", "f0-s1", ""),
        ("paused", "f0-s1", "step 4 of 10"),
    ]
    assert told[-1] == ("done", "infer-s1", "")


@pytest.mark.parametrize("content", ["{", "[]", '{"time": 1}', ""])
def test_a_damaged_state_is_one_line(tmp_path, content):
    (tmp_path / "chain.json").write_text(content)
    with pytest.raises(MismatchError, match=r"chain\.json is damaged.*: put a copy in its place, or begin"):
        read_chain(tmp_path)
    assert read_chain(tmp_path / "none") is None


def test_a_pack_that_is_gone_stops_at_once(begin):
    box, follower = begin(retries=0)
    box.datasets.clear()
    assert "Kaggle does not know me/imettk-pack/1" in follow([follower])[0]


@pytest.mark.parametrize("empty", [False, True])
def test_telegram_is_told_from_outside(begin, monkeypatch, empty):
    """Kernels are offline: whoever watches sends what they would, from what they left."""

    def trained(job: Job) -> str:
        status = pretend(job)
        if "-f0-s2" in job.slug:
            job.log.write_text("ValueError: no luck\n")
            (job.working / "imettk-output.json").unlink()
            return "ERROR"
        for fold in job.working.glob("fold*"):
            done = json.loads((fold / "status.json").read_text())
            events = [
                {"event": "session", "time": 0.0, "step": 0, "num_steps": STEPS},
                {"event": "validate", "time": 7200.0, "step": done["step"], "score": 0.5, "loss": 1.0},
                {"event": done["state"], "time": 7200.0, "step": done["step"]},
            ]
            lines = [json.dumps(event) + "\n" for event in events]
            (fold / "journal.jsonl").write_text("" if "-f0-s1" in job.slug and empty else "".join(lines))
        if "validate" in job.slug:
            (job.working / "scores.json").write_text('{"metric": "F2", "oof": 0.7, "folds": {"0": 0.7}}')
        settings = settings_of(job.text)
        write_output_list(job.working, push=settings["PUSH"], stage="train", code=0, seconds=7200.0)
        return status

    with TelegramBox() as telegram:
        _, follower = begin(trained, folds=[0])
        monkeypatch.setenv("no_proxy", "127.0.0.1")  # Kaggle is "localhost", behind the box's proxy
        notifier = Notifier(lambda: Credentials(TOKEN, CHAT, telegram.url), pause_seconds=0.0)
        follower._tell = teller(notifier, follower.chain, follower.folder)
        assert follow([follower])[0] == DONE
        notifier.close(30)
    texts = [fields["text"] for fields in telegram.sent("sendMessage")]
    assert texts[:2] == ["imettk-cells-prepare-s1: started", "imettk-cells-prepare-s1: done"]
    paused = "cells, fold 0: paused at step 4 of 10, 0.5000; 3.0 h left, 1 session"
    assert ("imettk-cells-f0-s1: paused, step 4 of 10" if empty else paused) in texts
    assert any(text.startswith("imettk-cells-f0-s2 has failed") and "ValueError: no luck" in text for text in texts)
    assert "cells: out of fold F2 0.7000, folds 1" in texts and texts[-1] == "imettk-cells-infer-s1: done"
    assert telegram.sent("sendPhoto")
