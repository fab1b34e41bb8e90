"""The options of `imettk new`. Nothing heavy is imported here."""

from __future__ import annotations

import argparse
from pathlib import Path

from imettk.recipes import RECIPES
from imettk.starter.questions import QUESTIONS


def pixel_shape(text: str) -> tuple[int, ...]:
    """Return the numbers of a text such as `137x236`; raise ValueError for any other text."""
    return tuple(int(number) for number in text.lower().split("x"))


def add_new(new: argparse.ArgumentParser) -> None:
    """Add the options of `new`."""
    new.add_argument("name", metavar="NAME", help="write the recipe to NAME.py in this folder")
    new.add_argument(
        "--data", type=Path, default=Path("data"), help="the competition's folder, only read (default: %(default)s)"
    )
    new.add_argument("--task", dest="question", choices=sorted(QUESTIONS), help="the task, instead of a guess")
    new.add_argument("--metric", metavar="NAME", help="the competition's metric, as on its page: roc_auc, ...")
    new.add_argument(
        "--start",
        choices=("quick", "strong"),
        help="a network for a CPU, or for a GPU such as Kaggle's (default: whatever this machine has)",
    )
    new.add_argument(
        "--like", choices=tuple(RECIPES), metavar="RECIPE", help="start from this built-in recipe: %(choices)s"
    )
    new.add_argument(
        "--hold-out", type=float, metavar="SHARE", help="make a test set of this share of the rows, in NAME-data"
    )
    new.add_argument("--train-csv", metavar="CSV", help="the training table, or the folder with one folder per label")
    new.add_argument("--id-column", metavar="COLUMN", help="the column of the training table that names the images")
    new.add_argument(
        "--images", metavar="FOLDER", help="the folder of the training images; FOLDER/*.jpg for one type of file"
    )
    new.add_argument("--label-column", metavar="COLUMN", help="the column of the training table to learn")
    new.add_argument(
        "--pixel-shape",
        type=pixel_shape,
        metavar="HEIGHTxWIDTH",
        help="shape of images whose pixels are in rows of a table, such as 137x236, or 28x28x3 with channels",
    )
    new.add_argument(
        "--group-column", metavar="COLUMN", help="the column whose equal values stay in one fold; none for no groups"
    )
