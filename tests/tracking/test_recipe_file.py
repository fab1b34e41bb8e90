"""Commands without RECIPE run the recipe's own file again, but no other file and no copy of the folder."""

import json
import shutil

import pytest

from imettk.config import own
from imettk.errors import ConfigError
from imettk.recipes import load_recipe
from imettk.tracking.recipe_file import RECORD
from imettk.tracking.run_dir import RunDir

SOURCE = """
from dataclasses import replace
from imettk.recipes.digits import digits

def read(path):
    return {value}

def recipe():
    base = digits()
    return replace(base, images=replace(base.images, reader="recipe:read"))
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE.format(value=1))
    return path


@pytest.fixture
def run(tmp_path, file, monkeypatch):
    """Return a run folder of this recipe in a process that has not run the recipe's file."""
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    run.save_recipe(load_recipe(str(file)))
    monkeypatch.setattr(own, "_SOURCES", {})
    return run


def test_the_file_is_run_again(run):
    recipe = run.recipe()
    assert own.load_own(recipe.images.reader, recipe.source_sha256)("x") == 1


def test_from_another_working_folder_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SOURCE.format(value=2))
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    run.save_recipe(load_recipe("mine.py"))
    monkeypatch.setattr(own, "_SOURCES", {})
    monkeypatch.chdir("/")
    assert own.load_own("recipe:read", run.recipe().source_sha256)("x") == 2


def test_another_file_is_not_run(run, file, tmp_path):
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ConfigError, match=r"mine\.py has changed since it was used: give it as RECIPE"):
        run.recipe()
    file.unlink()
    with pytest.raises(
        ConfigError, match=r"names recipe:read of the recipe's own file, and .*mine\.py is gone: give its new path"
    ):
        run.recipe()
    assert not (tmp_path / "ran").exists()


def test_a_copy_of_the_folder_runs_nothing(run, tmp_path):
    """Somebody else's folder may name any file of this machine, with its hash."""
    shutil.copytree(run.path, tmp_path / "copy")
    for folder in (RunDir(tmp_path / "copy"), RunDir(tmp_path / "new", [tmp_path / "copy"])):
        with pytest.raises(ConfigError, match=r"recipe:read of the recipe's own file: give that \.py file as RECIPE"):
            folder.recipe()


@pytest.mark.parametrize("damage", ["{", "[]", '{"path": 3}', '{"path": "/x", "sha256": 1, "folder": 2}'])
def test_a_damaged_record_is_none(run, damage):
    (run.path / RECORD).write_text(damage)
    with pytest.raises(ConfigError, match=r"give that \.py file as RECIPE"):
        run.recipe()


def test_recipes_that_take_nothing_from_their_file_leave_no_record(tmp_path):
    (tmp_path / "plain.py").write_text("from imettk.recipes.digits import digits as recipe\n")
    for name in ("digits", str(tmp_path / "plain.py")):
        run = RunDir(tmp_path)
        run.save_recipe(load_recipe(name))
        assert not (tmp_path / RECORD).exists() and run.recipe() == load_recipe(name)


def test_the_record_is_no_part_of_the_recipe(run):
    record = json.loads((run.path / RECORD).read_text())
    assert set(record) == {"path", "sha256", "folder"}
    assert "mine.py" not in (run.path / "recipe.json").read_text()
