"""Pseudo labels are found by their content: where a run folder is moved, and where labels were written over."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from imettk.commands.pseudo_label import add_pseudo_table
from imettk.config import Recipe, differences, fingerprint, read_recipe, to_json
from imettk.recipes.digits import digits
from imettk.tracking.pseudo_files import copy_file, keep_pseudo, locate_pseudo
from imettk.tracking.run_dir import RunDir


def labels(folder: Path, text: str = "a") -> Path:
    folder.mkdir()
    for name in ("pseudo.csv", "pseudo.safetensors"):
        (folder / name).write_text(text)
    return folder


def paths(recipe: Recipe) -> list[Path]:
    (extra,) = recipe.table.extra
    assert extra.predictions is not None
    return [Path(extra.csv), Path(extra.predictions)]


def test_a_run_that_moved_learns_the_labels_in_its_new_folder_and_is_the_same_recipe(tmp_path):
    recipe = add_pseudo_table(digits(), labels(tmp_path / "old"), 1.0)
    (tmp_path / "old/recipe.json").write_text(to_json(recipe))
    new = (tmp_path / "old").rename(tmp_path / "new")
    moved = RunDir(new).recipe()
    assert paths(moved) == [new / "pseudo.csv", new / "pseudo.safetensors"]
    assert fingerprint(moved) == fingerprint(recipe) and differences(moved, recipe) == []
    assert paths(RunDir(tmp_path / "next", [new]).recipe()) == paths(moved)
    assert add_pseudo_table(recipe, new, 1.0) == moved, "as --pseudo gives it again"


def test_other_labels_of_the_same_name_are_not_taken(tmp_path):
    recipe = add_pseudo_table(digits(), labels(tmp_path / "old"), 1.0)
    other = labels(tmp_path / "other", "b")
    assert locate_pseudo(recipe, [other]) == recipe
    changed = add_pseudo_table(digits(), other, 1.0)
    assert fingerprint(changed) != fingerprint(recipe)
    assert ["content" in line for line in differences(recipe, changed)].count(True) == 1


def test_a_recipe_of_an_earlier_version_keeps_its_paths_and_fingerprint(tmp_path):
    recipe = add_pseudo_table(digits(), labels(tmp_path / "old"), 1.0)
    (extra,) = recipe.table.extra
    earlier = replace(recipe, table=replace(recipe.table, extra=(replace(extra, content=""),)))
    new = shutil.copytree(tmp_path / "old", tmp_path / "new")
    assert locate_pseudo(earlier, [new]) == earlier == keep_pseudo(earlier, new)
    assert add_pseudo_table(earlier, tmp_path / "old", 1.0) == earlier
    (tmp_path / "run").mkdir()
    RunDir(tmp_path / "run").save_recipe(earlier)  # a training goes on where RECIPE and --pseudo are given again
    saved = RunDir(tmp_path / "next", [tmp_path / "run"]).saved_extra()
    assert add_pseudo_table(digits(), tmp_path / "old", 1.0, saved=saved) == earlier
    assert add_pseudo_table(digits(), tmp_path / "old", 1.0) == recipe


def test_a_run_folder_keeps_a_copy_of_labels_of_another_run(tmp_path):
    recipe = add_pseudo_table(digits(), labels(tmp_path / "teacher"), 1.0)
    kept = keep_pseudo(recipe, tmp_path / "student")
    assert [path.parent for path in paths(kept)] == [tmp_path / "student"] * 2
    assert keep_pseudo(kept, tmp_path / "student") == kept and fingerprint(kept) == fingerprint(recipe)
    shutil.rmtree(tmp_path / "teacher")
    RunDir(tmp_path / "student").save_recipe(kept)
    new = (tmp_path / "student").rename(tmp_path / "new")
    assert paths(RunDir(new).recipe()) == [new / path.name for path in paths(kept)]
    RunDir(new).carry_prepared(tmp_path / "soup")
    assert paths(locate_pseudo(read_recipe(new / "recipe.json"), [tmp_path / "soup"]))[0].is_file()


def test_a_kill_while_a_file_is_copied_leaves_none(tmp_path, monkeypatch):
    def part(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"a")
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", part)
    (tmp_path / "source").write_text("abc")
    with pytest.raises(KeyboardInterrupt):
        copy_file(tmp_path / "source", tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
