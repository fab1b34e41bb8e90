"""The README is true: its recipe and its commands run, its tree is the tree."""

from __future__ import annotations

import re
import shlex
import subprocess

import pages
import pytest
from pages import PROJECT, commands_in_blocks
from places import SHARED

from imettk.cli.main import main
from imettk.cli.options import STAGES

CLOTHING = SHARED / "data" / "clothing"
TEXT = (PROJECT / "README.md").read_text()


def block(mark: str) -> str:
    return pages.block(TEXT, mark)


def test_a_first_own_competition_runs_as_written(own_data, tmp_path, monkeypatch, imettk):
    monkeypatch.chdir(tmp_path)  # `own_data` is ./data here
    (tmp_path / "mine.py").write_text(block("mine.py"))
    commands = [shlex.split(line) for line in block("commands").splitlines()]
    assert [words[:2] for words in commands] == [
        ["imettk", stage] for stage in ("prepare", "train", "validate", "infer")
    ]
    for words in commands:
        text = imettk(*words[1:]).stdout
    assert "24 answers, mean of 2 folds, checked" in text
    assert "--stages.0.num-epochs" in imettk("train", "mine.py", "--fields").stdout


@pytest.mark.skipif(not CLOTHING.is_dir(), reason="needs the real clothing photos in ../shared/data")
def test_a_folder_becomes_a_competition_as_written(tmp_path, monkeypatch, capsys):
    """The first command is run; it prints the others, which tests/commands/test_new.py runs on a smaller folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clothing").symlink_to(CLOTHING)
    first, *others = block("new").splitlines()
    main(shlex.split(first)[1:])
    text = capsys.readouterr().out
    assert [line.strip() for line in text.partition("next:\n")[2].splitlines()] == others
    for line in block("found").splitlines():
        assert re.search(rf"^{re.escape(line)}", text, re.MULTILINE), line


@pytest.mark.parametrize("line", sorted(set(commands_in_blocks(TEXT))))
def test_every_command_is_understood(line):
    """Its words and fields are those of the command line; the tests of each stage run it."""
    pages.understand(line)


def test_there_are_many_commands_and_none_is_passed_over():
    commands = set(commands_in_blocks(TEXT))
    assert len(commands) > 35
    for name in (*STAGES, "kaggle chain", "kaggle pull", "log compare", "report", "weights", "new"):
        assert any(line.startswith(f"imettk {name}") for line in commands), name


def test_messages_that_are_explained_are_still_said():
    """Each is a piece of text that stands in the code as it is."""
    assert pages.check_messages(TEXT.split("## When it says")[1].split("\n## ")[0]) > 12


def test_the_recipe_has_about_ten_lines():
    body = block("mine.py").split("def recipe")[1]
    assert len(body.strip().splitlines()) <= 11


@pytest.mark.parametrize("script", ["demo.sh", "test.sh", "pack.sh", "common.sh"])
def test_the_shell_scripts_are_there_and_parse(script):
    subprocess.run(["bash", "-n", PROJECT / "tools" / script], check=True)


def test_every_script_that_is_named_exists():
    for name in re.findall(r"tools/[\w/]+\.(?:sh|py)", TEXT):
        assert (PROJECT / name).is_file(), name


def test_the_tree_lists_every_module_and_wing():
    tree = TEXT.split("## The tree")[1].split("```")[1]
    package = PROJECT / "imettk"
    wing, listed = "", set()
    for line in tree.split("kernels/")[0].splitlines()[2:]:
        if folder := re.match(r"  (\w+)/", line):
            wing = folder[1]
        elif folder := re.match(r"    (\w+)/", line):
            wing = f"{wing.split('/')[0]}/{folder[1]}"
        elif not line.startswith(" " * 6) and "/" in wing and line.startswith("    "):
            wing = wing.split("/")[0]
        if not folder:
            listed |= {f"{wing}/{name}" if line.startswith("    ") else name for name in re.findall(r"\w+\.py", line)}
    there = {str(path.relative_to(package)) for path in package.rglob("*.py") if not path.stem.startswith("__")}
    assert listed == there
