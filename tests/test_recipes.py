"""How a recipe is found by what a user types."""

import pytest

from imettk.config import fingerprint, to_json
from imettk.errors import ConfigError, MissingFileError
from imettk.recipes import RECIPES, load_recipe

SOURCE = "from imettk.config import Recipe\n\ndef recipe():\n    return Recipe(name='mine')\n"


def test_built_in_python_and_json(tmp_path):
    assert load_recipe("digits") == RECIPES["digits"]()
    (tmp_path / "mine.py").write_text(SOURCE)
    mine = load_recipe(str(tmp_path / "mine.py"))
    assert mine.name == "mine" and len(mine.source_sha256) == 64
    (tmp_path / "saved.json").write_text(to_json(mine))
    assert load_recipe(str(tmp_path / "saved.json")) == mine


def test_the_text_of_a_users_recipe_is_part_of_the_fingerprint(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    before = fingerprint(load_recipe(str(path)))
    path.write_text(SOURCE + "# another thought\n")
    assert fingerprint(load_recipe(str(path))) != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "has no function recipe()"),
        ("def recipe():\n    return 3", "must return a Recipe, got int"),
        ("def recipe(:", "SyntaxError"),
        ("import no_such_package", "ModuleNotFoundError"),
        (
            "from imettk.config import Recipe\ndef recipe():\n    return Recipe(nmae='x')",
            "unexpected keyword argument 'nmae'",
        ),
        ("from imettk.config import *\ndef recipe():\n    return Recipe(train=TrainPlan(seed='x'))", "train.seed"),
    ],
)
def test_a_bad_python_recipe(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(tmp_path / "mine.py"))
    assert message in str(caught.value)


def test_no_recipe(tmp_path):
    with pytest.raises(ConfigError, match="'digitz' is no recipe: give digits"):
        load_recipe("digitz")
    with pytest.raises(ConfigError, match="missing"):
        load_recipe(str(tmp_path / "absent.py"))
    with pytest.raises(MissingFileError):
        load_recipe(str(tmp_path / "absent.json"))
