"""A user's own travels with the recipe's file, or is refused before a push."""

import sys
from argparse import Namespace

import pytest

from imettk.cli.kaggle_checks import checked_recipe
from imettk.cli.main import main
from imettk.errors import UserError

SOURCE = """
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
    path.write_text(SOURCE.format(reader=reader))
    return str(path)


@pytest.mark.parametrize("reader", ["recipe:read", "imettk.data.decode:is_image", "formats_installed:read"])
def test_what_travels_or_is_there_is_taken(recipe_with, reader, capsys):
    recipe = checked_recipe(Namespace(recipe=recipe_with(reader), overrides=[]))
    assert recipe.images.reader == reader
    assert ("kernels need the library of formats_installed" in capsys.readouterr().out) == ("installed" in reader)


def test_a_module_beside_the_recipe_is_refused(recipe_with, tmp_path, capsys):
    path = recipe_with("formats_beside:read")
    message = r"`images\.reader` formats_beside:read: formats_beside\.py does not travel .* as recipe:read"
    with pytest.raises(UserError, match=message):
        checked_recipe(Namespace(recipe=path, overrides=[]))
    with pytest.raises(SystemExit) as caught:
        main(["kaggle", "pack", path, "--out", str(tmp_path / "pack"), "--no-wheels"])
    assert caught.value.code == 2 and "formats_beside.py does not travel" in capsys.readouterr().err
    assert not (tmp_path / "pack").exists()


def test_an_override_is_looked_at_too(recipe_with):
    words = ["--images.reader", "formats_beside:read"]
    with pytest.raises(UserError, match="does not travel"):
        checked_recipe(Namespace(recipe=recipe_with("recipe:read"), overrides=words))
