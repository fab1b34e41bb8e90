"""Every row of the test set is answered, and predictions are made anew where images have changed."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from tiny import TINY, run

from imettk.data.sample_table import SampleTable
from imettk.evaluation.judge import judge_of
from imettk.recipes import load_recipe

pytestmark = pytest.mark.usefixtures("no_charts_here")


def test_predictions_are_made_anew_where_the_pixels_changed_and_the_size_did_not(own_data, tmp_path, capsys):
    common = ["--data", own_data, "--run-dir", tmp_path / "run"]
    run("prepare", "digits", *common, *TINY)
    run("train", *common, "--fold", 0)
    run("validate", *common)
    run("infer", *common)
    capsys.readouterr()
    run("infer", *common)
    assert "fold 0 test: taken from" in capsys.readouterr().out
    path = own_data / "test" / "t00001.png"
    size = path.stat().st_size
    content = (own_data / "test" / "t00002.png").read_bytes()
    path.write_bytes(content[:size].ljust(size, b"\0"))
    run("infer", *common)
    assert "taken from" not in capsys.readouterr().out
    damaged = tmp_path / "run" / "fold0" / "test.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-7])
    run("infer", *common)
    text = capsys.readouterr().out
    assert "test.safetensors is not a prediction file" in text and "made again" in text


@pytest.mark.parametrize("workers", [0, 1])
def test_no_test_image_can_fail_a_submission(own_data, tmp_path, capsys, workers):
    common = ["--data", own_data, "--run-dir", tmp_path / "run"]
    run("prepare", "digits", *common, *TINY, "--cache.kind", "none", "--predict.views", "plain", "hflip")
    run("train", *common, "--fold", 1)
    run("validate", *common)
    (own_data / "test" / "t00003.png").unlink()
    (own_data / "test" / "t00007.png").write_bytes(b"")
    capsys.readouterr()
    run("infer", *common, "--session.num-workers", workers)
    text = capsys.readouterr().out
    assert "1 row (t00003) without an image" in text and text.count("warning: skipped") == 2
    assert "2 images (t00003.png, t00007.png) cannot be read, and got the mean prediction of the others" in text
    submission = pd.read_csv(tmp_path / "run" / "submission.csv", dtype=str, keep_default_na=False)
    assert len(submission) == 24 and (submission["attribute_ids"] != "").all()
    file = load_file(tmp_path / "run" / "fold1" / "test.safetensors")
    logits = np.log(file["probs"] / (1 - file["probs"]))
    good = [row for row in range(24) if row not in (3, 7)]
    for row in (3, 7):
        np.testing.assert_allclose(logits[:, row], logits[:, good].mean(1), atol=1e-4)
    if not workers:
        run("infer", *common)
        assert "taken from" in capsys.readouterr().out
        shutil.copy(own_data / "test" / "t00004.png", own_data / "test" / "t00007.png")
        run("infer", *common)
        text = capsys.readouterr().out
        assert "taken from" not in text and "1 image (t00003.png) cannot be read" in text, "it was mended"
        probs = load_file(tmp_path / "run" / "fold1" / "test.safetensors")["probs"]
        np.testing.assert_array_equal(probs[:, 7], probs[:, 4])


def test_a_known_answer_may_be_several_labels_or_none():
    table = SampleTable(np.array(["a", "b", "c"]), np.array(["a.png", "b.png", "c.png"]), ("3", "7"), ("", ""))
    known = {"a": [], "c": ["7", "3"]}
    answers = judge_of(load_recipe("digits")).put_known(known, table, table, [["3"], ["7"], []])
    assert answers == [[], ["7"], ["7", "3"]]
