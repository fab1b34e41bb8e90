"""The whole demo, which a new user sees first."""

import json

import pandas as pd
import pytest
from forked import PATIENCE
from sklearn.metrics import fbeta_score
from sklearn.preprocessing import MultiLabelBinarizer
from tiny import code_of

# The demo's processes are forked too: each does what `python -m imettk` does with these words, without its imports.
FORKS = """
import subprocess
from __main__ import Fork
import imettk.cli.main, imettk.cli.demo

class Forking:
    def run(command, *, env, check):
        assert not check
        return subprocess.CompletedProcess(command, Fork(command, env=env).wait())

imettk.cli.demo.subprocess = Forking
imettk.cli.main.main()
"""


@pytest.mark.slow
def test_the_demo_ends_with_an_honest_score_far_above_the_constant_answer(forks, tmp_path):
    process = forks.start(["demo", "--run-dir", tmp_path / "demo"], code=FORKS)
    assert process.wait(PATIENCE) == 0, process.stdout + process.stderr
    text = process.stdout
    run_dir = tmp_path / "demo"
    scores = json.loads((run_dir / "scores.json").read_text())
    assert scores["test"] >= 0.97 and abs(scores["oof"] - scores["test"]) <= 0.03
    assert scores["constant"] < 0.75
    for fold in range(3):
        status = json.loads((run_dir / f"fold{fold}" / "status.json").read_text())
        assert status["state"] == "done" and status["sessions"] >= 2
    assert text.count("paused at step") == 3

    # Compute the score again from nothing but the two csv files.
    answers, submission = (
        pd.read_csv(run_dir / name, dtype=str, keep_default_na=False).set_index("id")["attribute_ids"].str.split()
        for name in ("answers.csv", "submission.csv")
    )
    binarizer = MultiLabelBinarizer().fit(answers)
    truth, chosen = binarizer.transform(answers), binarizer.transform(submission[answers.index])
    assert fbeta_score(truth, chosen, beta=2, average="samples", zero_division=0) >= 0.97
    assert f"test {scores['test']:.4f}" in text


def test_demo_refuses_a_folder_that_is_not_empty(tmp_path, capsys):
    (tmp_path / "mine").write_text("x")
    assert code_of("demo", "--run-dir", str(tmp_path)) == 2
    assert "is not empty" in capsys.readouterr().err
