"""Folders of tiny images and tables, and the guesses made about them."""

import cv2
import numpy as np

from imettk.starter.guess import guess
from imettk.starter.guess_columns import Choices
from imettk.starter.look import look_at, look_into
from imettk.starter.oddities import find_oddities

TWELVE = [str(number) for number in range(12)]


def lay_out(folder, images, **tables):
    """Write tiny images, and tables given as lists of lines by their name without `.csv`."""
    for name in images:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    for name, lines in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def lay_text(folder, text, *images, csv="train.csv", encoding="utf-8"):
    """Write tiny images, and one table given as text."""
    lay_out(folder, images)
    (folder / csv).write_text(text, encoding=encoding)
    return folder


def guess_folder(folder, **choices):
    """Return the guess about a folder."""
    return guess(look_into(folder), folder, Choices(**choices))


def guess_with_oddities(folder, **choices):
    """Return the guess about a folder, and what looks odd in it."""
    contents = look_into(folder)
    guessed = guess(contents, folder, Choices(**choices))
    looks = look_at([[str(folder / guessed.table.train_images / guessed.files[0])]])
    return guessed, find_oddities(guessed, contents, looks)


def list_oddities(folder):
    """Return what looks odd in a folder, faults of any of its images among it."""
    contents = look_into(folder)
    guessed = guess(contents, folder, Choices())
    files = [[str(folder / guessed.table.train_images / name)] for name in guessed.files[guessed.found]]
    return find_oddities(guessed, contents, look_at(files))


def mentions(lines, *parts):
    """Return whether one of the lines has all of these parts."""
    return any(all(part in line for part in parts) for line in lines)


def lines_by_topic(guessed):
    """Return the findings of a guess by their topic."""
    return {finding.what: f"{finding.value}: {finding.reason}" for finding in guessed.findings}


def rows(head, *ids):
    """Return a table's lines: the head, and a row for each id with the labels a and b in turn."""
    return [head, *(f"{name},{'ab'[place % 2]}" for place, name in enumerate(ids))]
