"""Short of time, a session drops views, then folds, then rows; clock and predictions are made up."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from imettk.experiment import in_time
from imettk.experiment.in_time import longest_validation
from imettk.inference.predictor import Predictions
from imettk.recipes import load_recipe
from imettk.tracking.run_dir import RunDir

NUM_ROWS, SECONDS = 1000, 0.01  # an image in one view


class Clock:
    """`time` for the module, with predictions that take what they cost."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, []

    def monotonic(self) -> float:
        return self.now

    def predict(self, fold, name, images, *, views, until):
        self.calls.append((fold, len(views)))
        self.now = min(self.now + SECONDS * len(images.rows) * len(views), max(until, self.now + SECONDS * 64))
        return Predictions(images.ids, np.zeros((len(views), len(images.rows), 3), np.float32), {})


@pytest.fixture
def run(monkeypatch):
    """Runs with so many seconds; gives (fold, number of views) of each prediction, and when the last one ended."""
    clock = Clock()
    monkeypatch.setattr(in_time, "time", clock)
    monkeypatch.setattr(in_time, "_measure", lambda *arguments: SECONDS)
    recipe = load_recipe("digits")
    recipe = replace(recipe, predict=replace(recipe.predict, views=("plain", "hflip", "vflip", "rot180")))
    models = SimpleNamespace(recipe=recipe, predict=clock.predict, find=lambda *arguments: None)
    images = SimpleNamespace(rows=np.arange(NUM_ROWS), ids=np.arange(NUM_ROWS).astype(str))

    def go(seconds: float) -> tuple[list[tuple[int, int]], float]:
        clock.now, clock.calls = 0.0, []
        found = list(in_time.predict_in_time(models, [0, 1, 2], images, end=seconds))
        assert [fold for fold, _ in found] == [fold for fold, _ in clock.calls]
        return clock.calls, clock.now

    return go


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        (1000, [(0, 4), (1, 4), (2, 4)]),  # 120 are enough
        (121, [(0, 4), (1, 4), (2, 4)]),
        (100, [(0, 3), (1, 3), (2, 4)]),  # what rounding leaves over is used
        (31, [(0, 1), (1, 1), (2, 1)]),
        (25, [(0, 1), (1, 1)]),
        (12, [(0, 1)]),
        (5, [(0, 1)]),  # not even one view of one fold: some rows are left
        (0, [(0, 1)]),
    ],
)
def test_views_go_first_and_then_folds(run, seconds, wanted):
    calls, ended = run(seconds)
    assert calls == wanted
    assert ended <= max(seconds, 1)


def test_what_is_left_out_is_said(run, capsys):
    run(25)
    text = capsys.readouterr().out
    assert "fold 0: time for 1 of 4 views (plain)" in text and "no time for 1 of 3 folds" in text
    run(1000)
    assert capsys.readouterr().out == ""


def test_a_validation_of_larger_images_takes_longer_by_their_pixels(tmp_path):
    (tmp_path / "fold0").mkdir()
    lines = [
        '{"event": "validate", "time": 1, "step": 1, "seconds": 2.0}',
        '{"event": "validate", "time": 1, "step": 2, "seconds": 3.0}',
    ]
    (tmp_path / "fold0/journal.jsonl").write_text("\n".join(lines) + "\n")
    recipe = load_recipe("digits")
    height, width = recipe.images.image_size
    larger = replace(recipe, predict=replace(recipe.predict, image_size=(2 * height, 3 * width)))
    run = RunDir(tmp_path)
    seconds = [longest_validation(run, 0, recipe), longest_validation(run, 0, larger)]
    assert seconds == [3.0, 18.0] and longest_validation(run, 1, larger) == 0
