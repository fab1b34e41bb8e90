"""Pictures are written whole or not at all."""

from __future__ import annotations

import os

import pytest


def test_pictures_are_whole_or_not_there(tmp_path, monkeypatch):
    import numpy as np

    from imettk.pictures.plots import draw_images

    path = tmp_path / "picture.png"
    draw_images(path, [[np.zeros((8, 8, 3), np.uint8)]], ["one"])
    before = path.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        draw_images(path, [[np.full((8, 8, 3), 255, np.uint8)]], ["two"])
    assert path.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_values_are_drawn_between_black_and_white(tmp_path):
    import numpy as np
    from PIL import Image

    from imettk.pictures.plots import draw_values

    numbers = np.random.default_rng(0).normal(100, 10, 5000)
    sizes = set()
    for name, span in (("a", None), ("b", (0.0, 400.0)), ("c", (100.0, 101.0))):
        draw_values(tmp_path / f"{name}.png", {"train": numbers, "test": numbers[:10]}, span)
        with Image.open(tmp_path / f"{name}.png") as image:
            sizes.add(image.size)
            assert image.convert("L").getextrema()[0] < 100  # something is drawn
    assert len(sizes) == 1
    draw_values(tmp_path / "flat.png", {"train": np.full(9, 7.0)}, None)
