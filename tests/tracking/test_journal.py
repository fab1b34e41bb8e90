"""Events that count are kept over sessions and kills, and those that were undone are left out."""

import json
import time

import pytest

from imettk.errors import MismatchError
from imettk.tracking.journal import Journal, read_journal, read_sessions


def write(path, *events):
    journal = Journal(path)
    for event, step in events:
        journal.write(event, step=step)
    journal.close()


def steps_of(path):
    return [(event["event"], event["step"]) for event in read_journal(path)]


def test_events_are_lines_of_json_with_their_time(tmp_path):
    path = tmp_path / "fold0" / "journal.jsonl"
    before = time.time()
    write(path, ("session", 0), ("train", 5))
    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["event"], second["event"], second["step"]) == ("session", "train", 5)
    assert before - 0.01 <= first["time"] <= second["time"] <= time.time() + 0.01
    assert read_journal(path) == [first, second]


def test_a_line_is_there_before_the_next_begins(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for step in range(3):
        journal.write("train", step=step)
        assert len(path.read_bytes().splitlines()) == step + 1
    journal.close()


def test_sessions_append(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, ("session", 0), ("train", 1))
    write(path, ("session", 1), ("train", 2))
    assert steps_of(path) == [("session", 0), ("train", 1), ("session", 1), ("train", 2)]


@pytest.mark.parametrize("num_bytes_lost", [1, 2, 20])
def test_a_cut_line_is_left_out_and_harms_no_other(tmp_path, num_bytes_lost):
    path = tmp_path / "journal.jsonl"
    write(path, ("session", 0), ("train", 1), ("train", 2))
    path.write_bytes(path.read_bytes()[:-num_bytes_lost])
    kept = [("session", 0), ("train", 1)] + ([("train", 2)] if num_bytes_lost == 1 else [])  # only its newline is lost
    assert steps_of(path) == kept
    write(path, ("session", 2), ("train", 3))
    assert steps_of(path) == [*kept, ("session", 2), ("train", 3)]


def test_what_a_later_session_did_anew_is_left_out(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, ("session", 0), ("train", 2), ("valid", 4), ("train", 4), ("train", 6))
    write(path, ("session", 4), ("train", 6), ("train", 8), ("valid", 8))
    write(path, ("session", 6), ("train", 8))
    assert steps_of(path) == [
        ("session", 0), ("train", 2), ("valid", 4), ("train", 4), ("session", 4), ("train", 6), ("session", 6),
        ("train", 8),
    ]  # fmt: skip
    assert len(path.read_text().splitlines()) == 11  # the file itself forgets nothing


def test_starting_over_leaves_sessions_and_what_has_no_step(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.write("session", step=0)
    journal.write("note", text="hello")
    journal.write("train", step=3)
    journal.write("session", step=0)
    journal.close()
    assert [event["event"] for event in read_journal(path)] == ["session", "note", "session"]


def test_no_journal_is_no_events(tmp_path):
    assert read_journal(tmp_path / "journal.jsonl") == []


def test_what_lies_beyond_a_rollback_is_left_out(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("session", step=0)
    for step in (10, 20, 30):
        journal.write("train", step=step)
    journal.write("rollback", step=15, bad_step=33)
    for step in (20, 30, 40):
        journal.write("train", step=step)
    journal.close()
    events = read_journal(tmp_path / "journal.jsonl")
    assert [event["step"] for event in events if event["event"] == "train"] == [10, 20, 30, 40]
    assert [event["event"] for event in events if "bad_step" in event] == ["rollback"]


@pytest.mark.parametrize(
    "line",
    ["123", "null", '"x"', "[1]", '{"time": 1}', '{"event": "train", "step": 3}', '{"time": 1, "event": 3}',
     '{"time": "x", "event": "train"}', '{"time": NaN, "event": "train"}', '{"time": 1, "event": "session"}',
     '{"time": 1, "event": "train", "step": "3"}', '{"time": -1, "event": "train", "step": 3}'],
)  # fmt: skip
def test_json_that_is_no_event_is_named_with_its_line(tmp_path, line):
    path = tmp_path / "journal.jsonl"
    write(path, ("session", 0), ("train", 1))
    path.write_text(path.read_text() + line + "\n")
    for read in (read_journal, read_sessions):
        with pytest.raises(MismatchError, match=r"journal\.jsonl line 3 is damaged, it .*: remove the line"):
            read(path)


def test_sessions_with_their_ends(reported_run):
    killed, again = read_sessions(reported_run / "fold0" / "journal.jsonl")
    assert (killed.state, again.state) == ("killed", "killed")
    assert [session.state for session in read_sessions(reported_run / "fold1" / "journal.jsonl")] == ["paused", "done"]
    assert killed.start == 5000 and killed.end == 7200 and again.start == 12200


def test_a_validation_that_is_owed_again_is_journalled_once(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("session", step=0, owes_validation=False)
    journal.write("train", step=3, loss=1.0)
    journal.write("validate", step=3, loss=1.0)  # killed before a checkpoint without the debt was written
    journal.write("session", step=3, owes_validation=True)
    journal.write("validate", step=3, loss=1.0)
    journal.write("session", step=3, owes_validation=False)
    journal.close()
    kinds = [event["event"] for event in read_journal(tmp_path / "journal.jsonl")]
    assert kinds == ["session", "train", "session", "validate", "session"]
