"""Examples run as their docstrings say, in miniature, each command in a process of its own."""

import ast
import json
import pickle
import re
import shlex
import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from pages import PAGES, block
from places import PROJECT
from safetensors import safe_open
from sklearn.metrics import f1_score

from imettk.config import own
from imettk.config.choices import AUGMENTATIONS, READERS
from imettk.config.fits import choice_of
from imettk.data.augment import Augmentation
from imettk.data.reader import ImageReader
from imettk.recipes import load_recipe

EXAMPLES = PROJECT / "examples"
SMALL = ["--folds.num-folds", "2", "--stages.0.num-epochs", "2", "--stages.0.batch-size", "16"]
SMALL += ["--images.image-size", "32", "32", "--session.tensorboard", "false"]


def commands_of(name):
    """List the commands in an example's docstring, without the remarks beside them."""
    text = ast.get_docstring(ast.parse((EXAMPLES / name).read_text()))
    return [shlex.split(re.split(r" {3,}", line.strip())[0]) for line in text.splitlines() if "imettk " in line[:11]]


@pytest.fixture
def play(imettk, digits_data, tmp_path, monkeypatch):
    """Return a function that runs an example's commands and returns what each printed, and the run folder."""

    def run(name, *training):
        monkeypatch.chdir(PROJECT)  # where the docstring has them typed
        demo, first, *others = commands_of(name)
        assert demo == ["imettk", "demo"] and first[:3] == ["imettk", "prepare", f"examples/{name}"]
        folder = next(word for word in first if word.startswith("runs/") and "demo" not in word)
        places = {"runs/demo/data": str(digits_data / "data"), folder: str(tmp_path / "run")}
        printed = []
        for words in ([*first, *SMALL], *others):
            assert folder in words and "runs/demo/data" in words
            more = training if words[1] == "train" else ()
            printed.append(imettk(*(places.get(word, word) for word in words[1:]), *more).stdout)
        submission = pd.read_csv(tmp_path / "run" / "submission.csv", dtype=str, keep_default_na=False)
        assert len(submission) == 24 and "24 answers, mean of 2 folds, checked" in printed[-1]
        return printed, tmp_path / "run"

    return run


def own_of(name, reference):
    recipe = load_recipe(str(EXAMPLES / name))
    return own.load_own(reference, recipe.source_sha256)


def test_every_example_is_played():
    played = set(re.findall(r"play\(\"(\w+\.py)\"", (PROJECT / "tests" / "test_examples.py").read_text()))
    assert played == {path.name for path in EXAMPLES.glob("*.py")}


def test_the_page_about_extending_has_the_commands_of_one_and_links_to_all():
    page = PAGES["docs/extending.md"]
    lines = block(page, "own").splitlines()
    assert [shlex.split(re.split(r" {3,}", line)[0]) for line in lines] == commands_of("own_loss_and_metric.py")
    assert set(re.findall(r"\]\(\.\./examples/(\w+\.py)\)", page)) == {path.name for path in EXAMPLES.glob("*.py")}


def test_a_loss_and_a_metric(play, imettk, digits_data):
    _, run = play("own_loss_and_metric.py")
    scores = json.loads((run / "scores.json").read_text())
    assert scores["metric"] == "recipe:worst_f1" and scores["title"] == "worst_f1"
    common = ["--data", digits_data / "data", "--run-dir", run]
    plan = imettk("train", *common, "--dry-run").stdout
    assert "your own: loss recipe:tversky (own_loss_and_metric.py), metric recipe:worst_f1 (own_loss_and_metric" in plan
    told = imettk("report", run).stdout
    assert "damaged" not in told and "worst_f1" in (run / "report.html").read_text()
    again = imettk("train", *common, "--fold", "0", "--train.loss-params", "missed", "0.9", code=2).stderr
    assert "train.loss_params: {'missed': 0.6} -> {'missed': 0.9}" in again


def test_tversky_and_the_worst_f1_are_what_they_say():
    rng = np.random.default_rng(1)
    logits, targets = rng.normal(size=(30, 6)), rng.integers(0, 2, (30, 6)).astype(np.uint8)
    losses = own_of("own_loss_and_metric.py", "recipe:tversky")(
        torch.from_numpy(logits), torch.from_numpy(targets), missed=0.8
    )
    for row in range(30):
        right = missed = false = 0.0
        for logit, target in zip(logits[row], targets[row], strict=True):
            prob = 1 / (1 + np.exp(-logit))
            right, missed, false = right + prob * target, missed + (1 - prob) * target, false + prob * (1 - target)
        assert float(losses[row]) == pytest.approx(1 - (right + 1) / (right + 0.8 * missed + 0.2 * false + 1), rel=1e-5)
    theirs = min(f1_score(targets, logits > 0, average=None))
    assert own_of("own_loss_and_metric.py", "recipe:worst_f1")(logits > 0, targets) == pytest.approx(theirs)


def test_an_augmentation_and_a_reader(play):
    printed, run = play("own_augmentation_and_reader.py", "--session.num-workers", "1")
    assert "8 draws of recipe:stained" in printed[1] and (run / "augmentation.png").is_file()
    with safe_open(run / "fold0" / "model.safetensors", "np") as file:
        first = next(name for name in file.keys() if file.get_slice(name).get_shape()[1:] == [2, 3, 3])  # noqa: SIM118
    assert first.startswith("backbone.")


def test_another_process_augments_and_reads_the_same(digits_data, tmp_path):
    """A spawned loader process has not loaded the recipe, so it runs the example again."""
    recipe = load_recipe(str(EXAMPLES / "own_augmentation_and_reader.py"))
    augmentation = Augmentation(choice_of(recipe, "recipe:stained", AUGMENTATIONS), seed=3, size=(24, 24), channels=2)
    reader = ImageReader(size=(32, 32), channels=2, decoder=choice_of(recipe, "recipe:with_edges", READERS))
    path = str(next((digits_data / "data" / "train").glob("*.png")))
    (tmp_path / "sent").write_bytes(pickle.dumps((augmentation, reader)))
    code = """
import pickle, sys
import numpy as np
augmentation, reader = pickle.load(open(sys.argv[1], "rb"))
np.save(sys.argv[2], augmentation(reader.read(sys.argv[3]), epoch=1, position=5))
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "sent", tmp_path / "made.npy", path], check=True)
    pixels = reader.read(path)
    np.testing.assert_array_equal(pixels[:, :, 0], cv2.imread(path, cv2.IMREAD_GRAYSCALE))
    np.testing.assert_array_equal(np.load(tmp_path / "made.npy"), augmentation(pixels, epoch=1, position=5))


def test_a_backbone_and_a_head(play):
    _, run = play("own_network.py")
    with safe_open(run / "fold1" / "model.safetensors", "np") as file:
        names = list(file.keys())
        assert file.get_tensor("head.what.weight").shape == (15, 64, 1, 1)
    assert {name.split(".")[0] for name in names} == {"backbone", "head"}
    assert {name.split(".")[2] for name in names if name.startswith("backbone.body.")} == {"0", "1", "2"}


def test_a_rule(play):
    _, run = play("own_rule.py")
    rule = json.loads((run / "rule.json").read_text())
    assert rule["kind"] == "expected_count" and set(rule) >= {"kind", "factor"}
    made = own_of("own_rule.py", "recipe:ExpectedCount")
    probs = np.array([[0.9, 0.2, 0.8], [0.1, 0.2, 0.1], [0.6, 0.7, 0.9]])
    assert made(1.0).apply(probs).astype(int).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 1]]
    assert made.fit(probs, np.ones((3, 3), np.uint8), None).factor == pytest.approx(9 / probs.sum())
