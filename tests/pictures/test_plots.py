"""A picture is whole or not there."""

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
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == ["picture.png"]
