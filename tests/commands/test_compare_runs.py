"""`imettk log compare` judges the difference of two scores, or says why it cannot."""

from __future__ import annotations

import numpy as np
from report_runs import make_run

from imettk.commands.compare_runs import describe_difference
from imettk.evaluation.paired import keep_judged
from imettk.tracking.run_dir import RunDir


def test_two_folders_are_compared_in_three_lines(tmp_path):
    rng = np.random.default_rng(0)
    ids, targets = np.arange(300).astype(str), (rng.random((300, 3)) < 0.4).astype(np.uint8)
    for name, share in (("one", 0.3), ("two", 0.05)):
        make_run(tmp_path / name)
        answers = (targets > 0) ^ (rng.random(targets.shape) < share)
        keep_judged(RunDir(tmp_path / name), ids, answers, targets, groups=None, labels=("a", "b", "c"))
    scores, interval, verdict = describe_difference(tmp_path / "one", tmp_path / "two")
    assert scores.startswith("F2 on the 300 rows that both validated: 0.") and "1,000 samples" in interval
    assert verdict == "The second run is better: the interval excludes 0."


def test_what_cannot_be_compared_is_one_line(tmp_path):
    make_run(tmp_path / "one")
    (line,) = describe_difference(tmp_path / "one", tmp_path / "gone")
    assert line.startswith("note: no paired comparison: ") and "gone" in line
    (line,) = describe_difference(tmp_path / "one", tmp_path / "one")
    assert "judged.safetensors" in line and "run `imettk ensemble` there again" in line
