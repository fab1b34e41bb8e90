"""A recipe is loaded by name or path, and an error in a user's file is reported with its line."""

import pytest

from imettk.cli.main import main
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
        ("from imettk.config import *\ndef recipe():\n    return Recipe(train=TrainConfig(seed='x'))", "train.seed"),
    ],
)
def test_a_bad_python_recipe(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(tmp_path / "mine.py"))
    assert message in str(caught.value)


def test_no_recipe(tmp_path):
    with pytest.raises(ConfigError, match="'digitz' is not a recipe: give digits"):
        load_recipe("digitz")
    with pytest.raises(ConfigError, match="missing"):
        load_recipe(str(tmp_path / "absent.py"))
    with pytest.raises(MissingFileError):
        load_recipe(str(tmp_path / "absent.json"))


OWN_FAULTS = {
    "values = {}\n\n\ndef recipe():\n    return values['lr']\n": ", line 5: KeyError: 'lr'",
    "def recipe():\n    return 1 / 0\n": ", line 2: ZeroDivisionError: division by zero",
    "import sys\n\nsys.exit(0)\n": ", line 3: SystemExit: 0",
    "def recipe():\n    raise SystemExit\n": ", line 2: SystemExit\n",
    "def recipe(:\n    pass\n": ", line 1: SyntaxError: ",
    "import no_such_module\n": ", line 1: ModuleNotFoundError: No module named 'no_such_module'",
    "def recipe(one):\n    pass\n": ": TypeError: recipe() missing 1 required positional argument: 'one'",
    "from imettk.config import StageConfig\n\n\ndef recipe():\n    return StageConfig(lr=(-1.0,))\n": (
        ", line 5: `lr` of StageConfig must be one or more values of 0 or above, got (-1.0,)"
    ),
    "import json\n\n\ndef helper():\n    return json.loads('{')\n\n\ndef recipe():\n    return helper()\n": (
        ", line 5: JSONDecodeError: "
    ),
    "recipe = None\n": " has no function recipe()",
    "x = 1\n": " has no function recipe()",
    "def recipe():\n    raise ValueError('two\\nlines')\n": ", line 2: ValueError: two lines",
    "def recipe():\n    return 3\n": ": recipe() must return a Recipe, got int",
    "from pathlib import Path\n\nfrom imettk.config import ModelConfig, Recipe\n\n\ndef recipe():\n"
    "    return Recipe(model=ModelConfig(weights=Path('w.pth')))\n": (
        ": `model.weights` must be a plain value, got PosixPath('w.pth'), a PosixPath"
    ),
}


@pytest.mark.parametrize("text", OWN_FAULTS, ids=lambda text: OWN_FAULTS[text].partition(": ")[2][:30])
def test_an_error_in_a_recipes_code_is_reported_with_its_line(text, tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(SystemExit) as ending:
        main(["train", str(path), "--fields"])
    printed = capsys.readouterr().err
    assert (
        ending.value.code == 2 and printed.startswith(f"imettk: {path}{OWN_FAULTS[text]}") and printed.count("\n") == 1
    )


def test_ctrl_c_in_a_recipe_stops_and_is_no_fault_of_it(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("def recipe():\n    raise KeyboardInterrupt\n")
    with pytest.raises(SystemExit) as ending:
        main(["train", str(tmp_path / "mine.py"), "--fields"])
    assert ending.value.code == 1 and capsys.readouterr().err == "imettk: stopped\n"
