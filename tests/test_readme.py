"""README, CONTRIBUTING and docs: their recipes and commands run, their links, names, fields and messages exist."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
import subprocess

import pages
import pytest
from pages import PAGES, PATHS
from places import PROJECT, SHARED

import imettk.config
from imettk.cli.main import main
from imettk.cli.options import COMMANDS
from imettk.config import choices
from imettk.config.fields import leaves
from imettk.metrics import METRICS
from imettk.recipes import RECIPES, load_recipe
from imettk.tasks import TASKS

CLOTHING = SHARED / "data" / "clothing"
MOST_BYTES = 16_000
EVERYWHERE = "\n".join(PAGES.values())
CODE = "\n".join(
    path.read_text(encoding="utf-8")
    for folder in ("imettk", "kernels", "tools", "examples")
    for path in (PROJECT / folder).rglob("*")
    if path.suffix in (".py", ".sh")
)
WORDS = set(re.findall(r"\w+", CODE))


# Blocks that run.


def test_a_first_own_competition_runs_as_written(own_data, tmp_path, monkeypatch, imettk, capsys):
    monkeypatch.chdir(tmp_path)  # `own_data` is ./data here
    start = PAGES["docs/start.md"]
    (tmp_path / "mine.py").write_text(pages.block(start, "mine.py"))
    commands = [shlex.split(line) for line in pages.block(start, "commands").splitlines()]
    assert [words[:2] for words in commands] == [
        ["imettk", command] for command in ("prepare", "train", "validate", "infer")
    ]
    following = shlex.join(commands[0])
    for words in commands:  # each is also what the one before it has printed
        assert shlex.split(following) == words
        text = imettk(*words[1:]).stdout
        following = text.partition("\nnext: ")[2]
    assert following.startswith("submit runs/mine/submission.csv ")
    assert "24 answers, mean of 2 folds, checked" in text
    assert "--stages.0.num-epochs" in imettk("train", "mine.py", "--fields").stdout
    exec(pages.block(PAGES["docs/extending.md"], "api"), {})
    assert re.search(r"^focal 36 rows\nviews, rows, labels: \(2, 36, \d+\)\nlabels per", capsys.readouterr().out)


@pytest.mark.skipif(not CLOTHING.is_dir(), reason="needs the real clothing photos in ../shared/data")
def test_a_folder_becomes_a_competition_as_written(tmp_path, monkeypatch, capsys):
    """Run the first command; it prints the others, which tests/commands/test_new.py runs on a smaller folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clothing").symlink_to(CLOTHING)
    first, *others = pages.block(PAGES["README.md"], "new").splitlines()
    main(shlex.split(first)[1:])
    text = capsys.readouterr().out
    assert [line.strip() for line in text.partition("next:\n")[2].splitlines()] == others
    for line in pages.block(PAGES["README.md"], "found").splitlines():
        assert re.search(rf"^{re.escape(line)}", text, re.MULTILINE), line


def test_an_own_loss_is_taken_as_written(tmp_path):
    (tmp_path / "mine.py").write_text(pages.block(PAGES["docs/extending.md"], "own loss"))
    assert load_recipe(str(tmp_path / "mine.py")).train.loss == "recipe:weighted"


def test_tables_and_stages_are_valid_as_written():
    names = vars(imettk.config).copy()
    exec(pages.block(PAGES["docs/data.md"], "tables"), names)
    for page, title in (("docs/training.md", "stages"), ("docs/techniques.md", "staging")):
        exec(pages.block(PAGES[page], title), names)
        imettk.config.Recipe(stages=names["stages"])


def test_the_recipe_has_about_ten_lines():
    body = pages.block(PAGES["docs/start.md"], "mine.py").split("def recipe")[1]
    assert len(body.strip().splitlines()) <= 11


# Commands and options.


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_understood(page):
    """Parse each with its fields; the tests of each command run it."""
    for line in {*pages.commands_in_blocks(PAGES[page]), *pages.commands_in_words(PAGES[page])}:
        pages.understand(line)


def test_there_are_many_commands_and_none_is_missing():
    commands = set(pages.commands_in_blocks(EVERYWHERE))
    assert len(commands) > 60
    kaggle = [
        "pack",
        "notebook",
        "preflight",
        "publish",
        "push",
        "chain",
        "status",
        "follow",
        "pull",
        "submit",
        "run-local",
    ]
    log = ("import", "compare", "note", "lb")
    for name in (
        *COMMANDS,
        "completion",
        *(f"kaggle {action}" for action in kaggle),
        *(f"log {action}" for action in log),
    ):
        assert any(line.startswith(f"imettk {name}") for line in [*commands, *pages.commands_in_words(EVERYWHERE)]), (
            name
        )
    for name in ("new", "demo", "doctor", "weights", "report", "log"):
        assert any(line.startswith(f"imettk {name}") for line in commands), name


@pytest.mark.parametrize("page", PAGES)
def test_every_option_exists(page):
    known = pages.known_options()
    fields = field_names()
    for option in set(re.findall(r"`(--[\w.-]+)", PAGES[page])):
        name = generic(option.removeprefix("--").replace("-", "_"))
        assert option in known or name in fields or f'"{option}"' in CODE, option


def test_every_script_that_is_run_takes_its_options():
    commands = re.findall(r"(?:bash|python) (tools/[\w/]+\.(?:sh|py))((?: [\w.<>/-]+)*)", EVERYWHERE)
    assert len(commands) > 20
    shared = (PROJECT / "tools" / "bench" / "table.py").read_text() + (PROJECT / "tools" / "common.sh").read_text()
    for script, words in commands:
        text = (PROJECT / script).read_text() + shared
        for option in re.findall(r"--[\w-]+", words):
            assert option in text or script.endswith("pack.sh"), f"{script} {option}"


def test_the_tools_of_contributors_are_installed():
    extra = (PROJECT / "setup.py").read_text()
    for tool in {*re.findall(r"^\.venv/bin/(?:python -m )?(\w+)", EVERYWHERE, re.MULTILINE)}:
        assert f'"{tool}"' in extra, tool


@pytest.mark.parametrize("script", ["demo.sh", "test.sh", "pack.sh", "package.sh", "common.sh"])
def test_the_shell_scripts_exist_and_parse(script):
    subprocess.run(["bash", "-n", PROJECT / "tools" / script], check=True)


# Links, paths, sizes.


@pytest.mark.parametrize("path", [*PATHS, PROJECT / "CHANGELOG.md"], ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_link_leads_somewhere(path):
    text = path.read_text(encoding="utf-8")
    wrong = {target: fault for target in pages.links(text) if (fault := pages.follow(path, target))}
    assert not wrong


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_is_named_exists(page):
    for name in re.findall(r"(?<![\w./-])(?:tools|docs|tests|imettk|examples|kernels)/[\w/]+(?:\.\w+)?", PAGES[page]):
        assert "NAME" in name or (PROJECT / name).exists(), name


def test_every_page_is_short_and_in_the_table_of_contents():
    for page, text in PAGES.items():
        assert len(text.encode()) <= MOST_BYTES, page
    for contents in ("README.md", "docs/README.md"):
        folder = (PROJECT / contents).parent
        listed = {(folder / target).resolve() for target in pages.links(PAGES[contents])}
        first = PROJECT / "examples" / "README.md"  # which lists the other pages of its folder
        assert {path for path in PATHS if path.name != "README.md"} | {first} <= listed, contents


# Names.


def generic(name: str) -> str:
    """Return a field's name without the number of a stage: `stages.0.lr` and `stages.N.lr` are `stages.lr`."""
    return re.sub(r"\.(\d+|N)(?=\.|$)", "", name)


def field_names() -> set[str]:
    return {generic(name) for name, _ in leaves(load_recipe("digits"))} | {"table.extra"}


@pytest.mark.parametrize("page", PAGES)
def test_every_field_of_a_recipe_exists(page):
    sections = {name.split(".")[0] for name in field_names()} - {"name"}
    fields, files = field_names(), (".csv", ".ipynb", ".json", ".py", ".safetensors")
    for name in re.findall(rf"`((?:{'|'.join(sections)})\.[\w.-]+)", PAGES[page]):
        assert name.endswith(files) or generic(name) in fields, name


@pytest.mark.parametrize("page", PAGES)
def test_every_name_with_an_underscore_stands_in_the_code(page):
    for name in set(re.findall(r"`([a-z]+_[a-z0-9_]+)(?:=[^`]*)?`", PAGES[page])):
        assert name in WORDS or re.sub(r"\d+$", "k", name) in METRICS, name


@pytest.mark.parametrize(
    ("page", "rows"),
    [
        ("competitions", TASKS), ("competitions", choices.LOSSES), ("competitions", choices.RULES),
        ("competitions", METRICS), ("competitions", RECIPES), ("data", choices.UNIT_POOLS),
        ("training", choices.AUGMENTATIONS), ("training", choices.SAMPLERS), ("networks", choices.HEADS),
        ("networks", choices.POOLS), ("networks", choices.BACKBONES),
    ],
)  # fmt: skip
def test_every_row_that_a_recipe_can_name_is_documented(page, rows):
    text = PAGES[f"docs/{page}.md"] + PAGES["docs/techniques.md"]
    quoted = set(re.findall(r"`([\w-]+)(?::[^`]*)?`", pages.without_blocks(text)))
    assert set(rows) <= quoted


def test_defaults_of_tasks_are_as_documented():
    rows = re.findall(
        r"^\| `(\w+)` \| [^|`]+ \| `(\w+)` \| `(\w+)` \| `(\w+)` \|$", PAGES["docs/competitions.md"], re.M
    )
    defaults = {name: (task.loss, task.rule, choices.RULES[task.rule].metric) for name, task in TASKS.items()}
    assert {name: tuple(row) for name, *row in rows} == defaults


def test_messages_that_are_explained_stand_in_the_code():
    assert pages.check_messages(PAGES["docs/troubleshooting.md"]) > 30


# The house.


def house_table(heading: str, header: str) -> list[list[list[str]]]:
    """Return the names in the cells of a table of docs/house.md: the backticked ones, and groups in italics."""
    section = PAGES["docs/house.md"].split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = section.split(f"| {header} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[re.findall(r"[`*](\w+)[`*]", cell) for cell in row.strip("|").split("|")] for row in rows]


def test_the_house_lists_every_wing():
    wings = {path.parent.name for path in (PROJECT / "imettk").glob("*/__init__.py")}
    listed = [name for (name,), *_ in house_table("Wings", "wing | what it is")]
    assert sorted(listed) == sorted(wings)
    for wing in wings:
        assert ast.get_docstring(ast.parse((PROJECT / "imettk" / wing / "__init__.py").read_text())), wing
    modules = {path.stem for path in (PROJECT / "imettk").glob("*.py") if not path.stem.startswith("__")}
    assert modules <= set(re.findall(r"`(\w+)`\s\(", PAGES["docs/house.md"]))


def test_the_house_has_the_import_table_that_a_test_keeps():
    kept = runpy.run_path(str(PROJECT / "tests" / "test_imports.py"))["ALLOWED"]
    groups = {group: set(members) for (group,), members in house_table("Who may import whom", "group | members")}
    allowed: dict[str, set[str]] = {}
    for wings, imports in house_table("Who may import whom", "wing | may import"):
        for wing in (member for name in wings for member in groups.get(name, {name})):
            allowed[wing] = {member for name in imports for member in groups.get(name, {name})}
    assert allowed == {name: wings for name, wings in kept.items() if not name.startswith("__")}
