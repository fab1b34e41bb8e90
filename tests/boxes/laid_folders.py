"""Folders of tiny images and tables, and what is guessed of them."""

import cv2
import numpy as np

from imettk.starter.guess import guess
from imettk.starter.guess_columns import Choices
from imettk.starter.look import look_at, look_into
from imettk.starter.oddities import find_oddities

TWELVE = [str(number) for number in range(12)]


def lay_out(folder, images, **tables):
    """Tiny images, and tables of lines by their name without `.csv`."""
    for name in images:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    for name, lines in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def look(folder, **choices):
    return guess(look_into(folder), folder, Choices(**choices))


def look_closely(folder, **choices):
    """What is guessed, and what is odd."""
    contents = look_into(folder)
    found = guess(contents, folder, Choices(**choices))
    return found, find_oddities(found, contents, look_at([[str(folder / found.table.train_images / found.files[0])]]))


def told(found):
    """The findings by what they are about."""
    return {finding.what: f"{finding.value}: {finding.reason}" for finding in found.findings}


def rows(head, *ids):
    return [head, *(f"{name},{'ab'[place % 2]}" for place, name in enumerate(ids))]
