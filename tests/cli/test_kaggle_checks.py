"""Checks before a push: mistakes that otherwise only a kernel would find are reported at once."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest
from tiny import kaggle_command as command
from typed_pushes import MODEL, OWN, PUSH

from imettk.cli.kaggle_checks import (
    check_fold,
    check_limit,
    checked_recipe,
    folds_of,
    input_words,
    limit_seconds,
    models_in,
)
from imettk.cli.main import main
from imettk.config.overrides import apply_overrides
from imettk.errors import UserError
from imettk.recipes import load_recipe

DIGITS = load_recipe("digits")  # of three folds


@pytest.mark.parametrize(("text", "folds"), [("0", [0]), ("0,1,2", [0, 1, 2]), ("2, 0", [0, 2]), (" 1 ", [1])])
def test_valid_folds_are_parsed(text, folds):
    assert folds_of(text, DIGITS) == folds


@pytest.mark.parametrize("text", ["", "0,²", "99", "-1", "0,0", "0,", "1.0", "a", "٣", "00", "9" * 5000])
def test_invalid_folds_are_one_line(text):
    with pytest.raises(UserError, match=r"--folds: .* must be numbers from 0 to 2, each once, as in 0,1,2"):
        folds_of(text, DIGITS)


def test_an_invalid_fold_is_one_line():
    for fold in (None, 0, 2):
        check_fold(fold, DIGITS)
    for fold in (-1, 3, 99):
        with pytest.raises(UserError, match=f"--fold: {fold} must be from 0 to 2, the folds of digits"):
            check_fold(fold, DIGITS)


@pytest.mark.parametrize("hours", [0.0, -1.0, 12.5, float("nan"), float("inf")])
def test_invalid_hours_are_one_line(hours):
    with pytest.raises(UserError, match=r"--limit-hours: .* must be above 0 and at most 12"):
        limit_seconds(argparse.Namespace(limit_hours=hours))


def test_a_limit_must_exceed_the_margin():
    """Otherwise each kernel of a chain would exit with code 2, after minutes in a queue."""
    short = apply_overrides(DIGITS, ["--session.margin-seconds", "60"])
    check_limit(short, 61)
    for recipe, seconds in ((short, 60), (DIGITS, 300), (DIGITS, 36), (apply_overrides(short, []), 0)):
        margin = f"{recipe.session.margin_seconds:g}"
        with pytest.raises(UserError, match=rf"--limit-hours: {seconds} s .* session\.margin_seconds, {margin} s"):
            check_limit(recipe, seconds)
    long = apply_overrides(DIGITS, ["--session.limit-seconds", "50000"])
    check_limit(long, 3600)
    with pytest.raises(UserError, match=r"session\.limit_seconds: 50000 s exceed the 12 hours"):
        check_limit(long, None)


def test_inputs_in_a_recipes_file_become_options():
    words = ["--model.weights", f"kaggle-model:{MODEL}", "--train.teacher", "a", "input:teachers/oof"]
    recipe = apply_overrides(DIGITS, words)
    assert models_in(recipe) == (MODEL,) and models_in(DIGITS) == ()
    assert input_words(recipe, words) == [] and input_words(DIGITS, []) == []
    assert input_words(recipe, [f"--model.weights=kaggle-model:{MODEL}"]) == words[2:]
    assert sorted(input_words(recipe, [])) == sorted(words)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--fold", 99], "--fold: 99 must be from 0 to 2"),
        (["--fold", -1], "--fold: -1 must be from 0 to 2"),
        (["--limit-hours", 0.01], "session.margin_seconds, 300 s"),
        (["--limit-hours", "nan"], "--limit-hours: nan"),
        (["--name", "my--run"], "--name: 'my--run' must have"),
        (["--name", ""], "--name: '' must have"),
        (["--accelerator", "NvidiaTeslaP100"], "is retired"),
        (["--accelerator", "TpuV5E8"], "is a TPU"),
        (["--accelerator", "T4"], "is none of"),
        (["--model.weights", "kaggle-model:timm/resnet"], "names no Kaggle model"),
        (["--model.weights", "input:imettk-weights"], "no 'imettk-weights' is attached: give --attach OWNER/"),
        (["--model.weights=input:"], "no '' is attached"),
    ],
)
def test_a_push_that_would_fail_is_refused(cells_box, capsys, words, says):
    command(*PUSH, *words, code=2)
    error = capsys.readouterr().err
    assert error.startswith("imettk: ") and says in error and error.count("\n") == 1
    assert not cells_box.kernels and not cells_box.datasets


def test_attached_datasets_are_found_by_their_slugs(cells_box, tmp_path):
    cells_box.add_dataset("you/imettk-weights", tmp_path)
    weights = ["--model.weights", "input:imettk-weights"]
    command(*PUSH, *weights, "--attach", "you/imettk-weights/1")
    command("preflight", "digits", "--competition", "cells", *weights, code=2)


def test_a_recipe_of_any_name_is_pushed_and_found_again(cells_box):
    Path("mine.py").write_text(OWN.format(weights=None))
    command("push", "train", "mine.py", "--competition", "cells", "--fold", 0)
    assert set(cells_box.kernels) == {"me/imettk-my-recipe-train-f0"}
    command("status", "me/imettk-my-recipe-train-f0")


def test_a_kernel_with_a_long_name_can_be_continued_by_another(cells_box):
    name = "x" * 30
    words = [*PUSH, "--fold", 0, "--name", name]
    command(*words)
    cells_box.wait()
    for number in (2, 3, 4):
        before = list(cells_box.kernels)
        command(*words, "--after", *before)
        cells_box.wait()
        assert len(cells_box.kernels) == number  # no kernel attaches its own earlier output
    assert all(len(reference.split("/")[1]) <= 50 for reference in cells_box.kernels)


def test_accelerator_and_models_arrive(cells_box, tmp_path):
    cells_box.models[MODEL] = tmp_path
    Path("mine.py").write_text(OWN.format(weights=f"kaggle-model:{MODEL}/a.pth"))
    command("push", "train", "mine.py", "--competition", "cells", "--accelerator", "nvidial4")
    (version,) = cells_box.kernels["me/imettk-my-recipe-train"]
    assert f'"--model.weights", "kaggle-model:{MODEL}/a.pth"' in version.request["text"]
    assert version.request["machineShape"] == "NvidiaL4" and version.request["modelDataSources"] == [MODEL]


READING = """
from dataclasses import replace
from imettk.recipes.digits import digits

def read(path):
    return None

def recipe():
    base = digits()
    return replace(base, images=replace(base.images, reader={reader!r}))
"""


@pytest.fixture
def recipe_with(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "formats_beside.py").write_text("def read(path):\n    return None\n")
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    (folder / "formats_installed.py").write_text("def read(path):\n    return None\n")
    yield lambda reader: _written(tmp_path / "mine.py", reader)
    for name in ("formats_beside", "formats_installed"):
        sys.modules.pop(name, None)


def _written(path, reader):
    path.write_text(READING.format(reader=reader))
    return str(path)


@pytest.mark.parametrize("reader", ["recipe:read", "imettk.data.decode:is_image", "formats_installed:read"])
def test_code_in_the_recipe_or_in_a_library_is_accepted(recipe_with, reader, capsys):
    recipe = checked_recipe(argparse.Namespace(recipe=recipe_with(reader), overrides=[]))
    assert recipe.images.reader == reader
    assert ("kernels' image must have the library of formats_installed" in capsys.readouterr().out) == (
        "installed" in reader
    )


def test_a_module_beside_the_recipe_is_refused(recipe_with, tmp_path, capsys):
    path = recipe_with("formats_beside:read")
    message = r"`images\.reader` formats_beside:read: formats_beside\.py is not part of the pack.* name it recipe:read"
    with pytest.raises(UserError, match=message):
        checked_recipe(argparse.Namespace(recipe=path, overrides=[]))
    with pytest.raises(SystemExit) as caught:
        main(["kaggle", "pack", path, "--out", str(tmp_path / "pack"), "--no-wheels"])
    assert caught.value.code == 2 and "formats_beside.py is not part of the pack" in capsys.readouterr().err
    assert not (tmp_path / "pack").exists()


def test_an_override_is_checked_too(recipe_with):
    words = ["--images.reader", "formats_beside:read"]
    with pytest.raises(UserError, match="is not part of the pack"):
        checked_recipe(argparse.Namespace(recipe=recipe_with("recipe:read"), overrides=words))
