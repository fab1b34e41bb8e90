"""`ensemble`: members, methods and weights that do not fit are refused in one line."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ensemble_members import (
    LABELS,
    NUM_FOLDS,
    make_member,
    open_ensemble,
    truth,
)
from tiny import refused

from imettk.inference.predictor import load_predictions, save_predictions

pytestmark = pytest.mark.usefixtures("no_charts_here")


@pytest.fixture
def out(tmp_path):
    return open_ensemble(tmp_path)


def change(path: Path, **changes: object) -> None:
    """Write a prediction file again with something else in it."""
    save_predictions(path, replace(load_predictions(path), **changes))


def swap(one: Path, other: Path) -> None:
    one.rename(one.with_name("aside"))
    other.rename(one)
    one.with_name("aside").rename(other)


def turn_labels(two: Path) -> None:
    for file in two.glob("fold*/*.safetensors"):
        change(file, values=load_predictions(file).values | {"labels": list(LABELS[::-1])})


def remove_predictions(two: Path) -> None:
    for file in two.glob("fold*/*.safetensors"):
        file.unlink()


def replace_first_id(path: Path) -> None:
    change(path, ids=np.array(["other", *load_predictions(path).ids[1:]]))


FAULTS = {
    "order of labels": turn_labels,
    "ids of a fold": lambda two: replace_first_id(two / "fold1" / "oof.safetensors"),
    "folds": lambda two: swap(two / "fold0", two / "fold1"),
    "an id in two folds": lambda two: (two / "fold1").rename(two / "fold7"),
    "targets": lambda two: change(two / "fold1" / "oof.safetensors", targets=1 - truth()[1::NUM_FOLDS]),
    "test ids": lambda two: replace_first_id(two / "fold1" / "test.safetensors"),
    "a fold without test": lambda two: (two / "fold1" / "test.safetensors").unlink(),
    "no predictions": remove_predictions,
    "older": lambda two: change(two / "fold1" / "oof.safetensors", targets=None),
    "broken": lambda two: (two / "fold1" / "oof.safetensors").write_bytes(b"broken"),
}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("order of labels", "two and one have different labels: the same labels in another order"),
        ("ids of a fold", r"two: fold 1 has other rows than .* \(2 ids \(other, r\d+\) only in one of them\)"),
        ("folds", r"two: fold 0 has other rows than that of the members before \(40 ids"),
        ("an id in two folds", r"20 ids \(r.*\) in different folds of different members: they need the same folds.csv"),
        ("targets", "two: its rows have other labels than those of the members before"),
        ("test ids", r"two: its test set is another one \(2 ids \(other, t00\) only in one of them\)"),
        ("a fold without test", r"two: folds \[1\] lack test.safetensors: run `imettk infer` there again"),
        ("no predictions", r"two holds no fold\*/oof.safetensors: run `imettk validate` there first"),
        ("older", "fold1/oof.safetensors was written by an older version: run `imettk validate` there again"),
        ("broken", "fold1/oof.safetensors is not a prediction file of imettk"),
    ],
)
def test_members_that_do_not_fit_are_one_line(tmp_path, out, capsys, fault, message):
    make_member(tmp_path / "one", seed=1)
    make_member(tmp_path / "two", seed=2)
    FAULTS[fault](tmp_path / "two")
    assert re.search(message, refused(capsys, *out.words("one", "two")))


@pytest.mark.parametrize("weights", [(1,), (1, 2, 3), (1, -1), (0, 0)])
def test_weights_that_do_not_fit_are_refused(tmp_path, out, capsys, weights):
    make_member(tmp_path / "one", seed=1)
    make_member(tmp_path / "two", seed=2)
    line = refused(capsys, *out.words("one", "two"), "--weights", *weights)
    assert "--weights must be 2 numbers of 0 or above, one a member" in line
    assert not out.folder.exists()


def test_weights_beside_a_method_that_takes_none_are_refused(tmp_path, out, capsys):
    make_member(tmp_path / "one", seed=1)
    make_member(tmp_path / "two", seed=2)
    words = [*out.words("one", "two"), "--weights", 1, 2, "--method", "weighted"]
    assert "--method weighted takes none" in refused(capsys, *words)


def test_a_member_that_is_not_there_is_named(tmp_path, out, capsys):
    make_member(tmp_path / "one", seed=1)
    assert "nothing holds no fold*/oof.safetensors" in refused(capsys, *out.words("one", "nothing"))
    assert "nothing" in refused(capsys, *out.words("nothing", "one"))
