"""A preflight as typed, and the output of its session."""

from __future__ import annotations

import json
import re

from kaggle_box import Job

from imettk.kaggle.outputs import OUTPUT, write_output_list

REFERENCE = "me/imettk-digits-preflight"
PREFLIGHT = ["preflight", "digits", "--competition", "cells"]


def preflight(job: Job, code: int | None = 0) -> str:
    """Write the output of a preflight."""
    push = re.search(r'^PUSH = "(\w+)"', job.text, re.MULTILINE)
    assert push is not None
    job.log.write_text("first line\nlast line\n")
    measured = {"recipe": "digits", "device": "cuda", "seconds_a_fold": 36000.0, "sessions_a_fold": 2}
    (job.working / "preflight.json").write_text(json.dumps(measured))
    (job.working / "fold0").mkdir()
    (job.working / "fold0" / "model.safetensors").write_bytes(b"w" * 3_000_000)
    write_output_list(job.working, push=push[1], command="preflight", code=code or 0, seconds=3.0)
    if code is None:  # the list at a session's start
        listed = json.loads((job.working / OUTPUT).read_text()) | {"code": None, "files": {}}
        (job.working / OUTPUT).write_text(json.dumps(listed))
    return "COMPLETE"
