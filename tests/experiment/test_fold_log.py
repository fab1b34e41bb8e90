"""A fold's log: what each way to end a session leaves in the journal and in `status.json`."""

import json
from types import SimpleNamespace

import pytest

from imettk.errors import DataError
from imettk.experiment.fold_log import FoldLog, FoldMessages
from imettk.recipes import load_recipe
from imettk.tracking.journal import Journal, read_journal

TRAINER = SimpleNamespace(at=SimpleNamespace(step=7, validation_pending=False), num_steps=20)


@pytest.fixture
def log(tmp_path):
    messages = FoldMessages(None, load_recipe("digits"), 0, tmp_path)
    return FoldLog(tmp_path, 0, Journal(tmp_path / "journal.jsonl"), messages, tensorboard=False)


def status(folder):
    return json.loads((folder / "status.json").read_text())


def test_a_session_that_ends_well(log, tmp_path):
    log.begin(TRAINER, {"device": "cpu"})
    assert status(tmp_path) == {"state": "running", "fold": 0, "step": 7, "num_steps": 20, "sessions": 1}
    log.end("paused", TRAINER, "time limit of the session")
    assert status(tmp_path)["state"] == "paused" and status(tmp_path)["reason"] == "time limit of the session"
    session, paused = read_journal(tmp_path / "journal.jsonl")
    assert (session["event"], session["step"], session["environment"]) == ("session", 7, {"device": "cpu"})
    assert (paused["event"], paused["step"]) == ("paused", 7)


def test_a_failure_before_there_is_a_trainer_is_in_the_journal_and_not_in_the_status(log, tmp_path):
    log.fail(DataError("no such\ntable"), None)
    (failed,) = read_journal(tmp_path / "journal.jsonl")
    assert (failed["event"], failed["step"], failed["reason"]) == ("failed", 0, "no such table")
    assert not (tmp_path / "status.json").exists()


def test_nothing_is_written_after_the_watchdog_has_spoken(log, tmp_path):
    log.begin(TRAINER, {})
    log.hang(TRAINER, "a step hung")
    log.end("failed", TRAINER, "an error in the step that hung")
    assert status(tmp_path)["state"] == "paused" and status(tmp_path)["reason"] == "a step hung"
    assert [event["event"] for event in read_journal(tmp_path / "journal.jsonl")] == ["session"]
    log._journal.close()


def test_without_a_journal_nothing_is_written(tmp_path):
    messages = FoldMessages(None, load_recipe("digits"), 0, tmp_path)
    silent = FoldLog(tmp_path, 0, None, messages, tensorboard=True)
    silent.begin(TRAINER, {})
    silent.recorder().early_stop(5, 0, 3)
    silent.end("done", TRAINER)
    assert not list(tmp_path.iterdir())
