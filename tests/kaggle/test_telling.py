"""Events of a chain are reported once each, by the process that watches it."""

from __future__ import annotations

import json

import pytest
from kaggle_box import Job
from pretended import STEPS, pretend, settings_of
from telegram_box import CHAT, TOKEN, TelegramBox

from imettk.kaggle.chain_state import DONE
from imettk.kaggle.outputs import write_output_list
from imettk.kaggle.rounds import follow
from imettk.kaggle.telling import teller
from imettk.tracking.telegram import Credentials, Notifier


def test_every_event_is_reported(begin):
    messages = []
    _, follower = begin(folds=[0])
    follower._tell = lambda event, job, text: messages.append((event, job.slug.removeprefix("imettk-cells-"), text))
    follow([follower])[0]
    assert messages[:4] == [
        ("started", "prepare-s1", ""),
        ("done", "prepare-s1", ""),
        ("started", "f0-s1", ""),
        ("paused", "f0-s1", "step 4 of 10"),
    ]
    assert messages[-1] == ("done", "infer-s1", "")


@pytest.mark.parametrize("empty", [False, True])
def test_the_watching_process_sends_telegram_messages(begin, monkeypatch, empty):
    """Kernels are offline, so their messages are made from their outputs."""

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
        write_output_list(job.working, push=settings["PUSH"], command="train", code=0, seconds=7200.0)
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
