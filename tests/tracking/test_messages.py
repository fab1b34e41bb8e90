"""Messages about a run, from the events of its journal."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
from forked import COMMAND, PATIENCE
from PIL import Image
from telegram_box import CHAT, TOKEN, TelegramBox

from imettk.tracking.messages import began, ended, scored, seconds_left, validated

SESSION = {"event": "session", "time": 0.0, "step": 0, "num_steps": 1000}
TRAIN = [{"event": "train", "time": 10.0 * step, "step": step, "loss": 1 / step} for step in range(10, 210, 10)]
FIRST = {"event": "validate", "time": 1000.0, "step": 100, "score": 0.81, "loss": 0.4}
SECOND = {"event": "validate", "time": 2000.0, "step": 200, "score": 0.79, "loss": 0.4}
PAUSED = {"event": "paused", "time": 3600.0, "step": 200, "reason": "time limit of the session"}
AGAIN = {"event": "session", "time": 9000.0, "step": 200, "num_steps": 1000}


def test_a_session_begins():
    assert began("cells", 1, [SESSION]).text == "cells, fold 1: started, 1,000 steps"
    assert began("cells", 1, [SESSION, *TRAIN, PAUSED, AGAIN]).text == (
        "cells, fold 1: session 2 continues at step 200 of 1,000"
    )


def test_validations_are_one_message_with_a_picture():
    first = validated("cells", 0, [SESSION, *TRAIN[:10], FIRST])
    assert first.text == "cells, fold 0: 0.8100 at step 100 of 1,000 (the best so far)"
    second = validated("cells", 0, [SESSION, *TRAIN, FIRST, SECOND])
    assert second.text == "cells, fold 0: 0.7900 at step 200 of 1,000 (best 0.8100 at step 100)"
    assert second.picture is not None
    pixels = np.asarray(Image.open(io.BytesIO(second.picture)).convert("RGB"))
    assert pixels.shape[0] > 300 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10


def test_a_training_on_all_rows_validates_nothing():
    events = [SESSION, *TRAIN, {"event": "validate", "time": 5.0, "step": 200, "score": float("nan"), "loss": None}]
    assert validated("cells", 0, events).text == "cells, fold 0: step 200 of 1,000"


def test_a_session_ends():
    events = [SESSION, *TRAIN, FIRST, SECOND, PAUSED]
    # 200 steps took an hour: 800 take four, and sessions train for 1.5 hours
    assert seconds_left(events, 800) == 14400
    assert ended("cells", 0, events, session_seconds=5400).text == (
        "cells, fold 0: paused at step 200 of 1,000, 0.7900; 4.0 h left, 3 sessions"
    )
    nothing = [*events, AGAIN, {"event": "paused", "time": 9001.0, "step": 200, "reason": "x"}]
    assert ended("cells", 0, nothing, session_seconds=5400).text == "cells, fold 0: paused at step 200 of 1,000, 0.7900"
    done = [*events, AGAIN, {"event": "done", "time": 9900.0, "step": 1000}]
    assert ended("cells", 0, done, session_seconds=1).text == "cells, fold 0: done after 1,000 steps, 0.7900"
    failed = [SESSION, {"event": "failed", "time": 1.0, "step": 5, "reason": "short"}]
    message = ended("cells", 0, failed, session_seconds=1, fault="Traceback ...\nValueError: why")
    assert message.text == "cells, fold 0: failed at step 5 of 1,000\nTraceback ...\nValueError: why"
    assert message.keep_end


def test_a_score(tmp_path):
    assert scored("cells", tmp_path) == "cells: validated"
    (tmp_path / "scores.json").write_text(
        json.dumps({"metric": "F2", "oof": 0.7, "interval": [0.6, 0.8], "folds": {"0": 0.7}})
    )
    assert scored("cells", tmp_path) == "cells: out of fold F2 0.7000 (0.6000 to 0.8000), folds 1"


# A server that never answers is waited for at the end: here not for the 20 seconds that a user's last message gets.
IMPATIENT = """
from imettk.cli.main import main
from imettk.tracking.telegram import Notifier

Notifier.close.__defaults__ = (1.0,)
main()
"""


def test_a_training_tells_and_one_without_a_server_is_the_same(imettk, forks, digits_data, tmp_path):
    """Three processes: told, told to a server that never answers, and silent; the same weights in all of them."""
    data, processes, weights = digits_data / "data", {}, []
    imettk("prepare", "digits", "--data", data, "--run-dir", tmp_path / "prepared")
    with TelegramBox() as box, TelegramBox() as dead:
        dead.fault = lambda method, number: (0, {})
        for name, server in (("told", box.url), ("dead", dead.url), ("silent", "")):
            where = {"IMETTK_TELEGRAM_TOKEN": TOKEN, "IMETTK_TELEGRAM_CHAT": CHAT, "IMETTK_TELEGRAM_SERVER": server}
            run = tmp_path / name
            shutil.copytree(tmp_path / "prepared", run)
            words = ["train", "digits", "--data", data, "--run-dir", run, "--fold", 0]
            code = IMPATIENT if name == "dead" else COMMAND
            processes[run] = forks.start(words, code=code, environment=where if server else {})
        for run, process in processes.items():
            assert process.wait(PATIENCE) == 0, process.stderr
            assert TOKEN.split(":")[1] not in process.stdout + process.stderr
            assert all(TOKEN.encode() not in path.read_bytes() for path in run.rglob("*") if path.is_file())
            weights.append((run / "fold0" / "model.safetensors").read_bytes())
    texts = [fields["text"] for fields in box.sent("sendMessage")]
    assert texts[0] == "digits, fold 0: started, 11 steps" and texts[-1].startswith(
        "digits, fold 0: done after 11 steps"
    )
    assert len(box.sent("sendPhoto")) == 1
    assert weights[0] == weights[1] == weights[2]
