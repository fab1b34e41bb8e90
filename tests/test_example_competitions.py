"""Each example of a competition: its commands, then its notebook in the same run folder, on a miniature of its data."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import pages
import pandas as pd
import pytest
import timm
from nbclient import NotebookClient
from places import PROJECT
from tiny import run as command

from imettk.config import to_json
from imettk.config.overrides import apply_overrides
from imettk.experiment.network_check import check_network
from imettk.kaggle.names import name_of
from imettk.notebook import run as notebook_run
from imettk.recipes import load_recipe
from imettk.starter.starting_points import PASSES, T4_RATE
from imettk.synthetic.artworks import make_artworks
from imettk.synthetic.leaves import SHARES, make_leaves
from imettk.synthetic.lesions import make_lesions
from imettk.synthetic.pets import make_pets
from imettk.synthetic.whales import UNKNOWN, WhalesSize, make_whales

EXAMPLES = PROJECT / "examples"
STORY = ["prepare", "train", "validate", "infer", "report"]
# In place of a copied recipe.py, whose fields are in small.json: commands and cells stay as they are written.
STAND_IN = """
from dataclasses import replace
from pathlib import Path

from torch import nn

from imettk.config import from_json


class Tiny(nn.Sequential):
    def __init__(self, channels):
        super().__init__(nn.Conv2d(channels, 8, 3, stride=4, padding=1), nn.BatchNorm2d(8), nn.ReLU())


def recipe():
    whole = from_json(Path("small.json").read_text())
    return replace(whole, model=replace(whole.model, backbone="recipe:Tiny"))
"""
SMALL = "--folds.num-folds 2 --model.weights none --model.layer-groups 1"
SMALL += " --images.image-size 32 32 --predict.views plain hflip --session.num-workers 0 --session.tensorboard false"
STAGE = "--stages.{0}.num-epochs 1 --stages.{0}.batch-size 16 --stages.{0}.warmup-epochs 0.25"


class Competition(NamedTuple):
    """A competition, and what the test asks of it.

    Attributes:
        make: lays out a miniature: its data folder, and a file for the answers.
        columns: of the submission.
        small: options beside `SMALL`.
        stages: of the recipe.
    """

    make: Callable[[Path, Path], None]
    columns: tuple[str, ...]
    small: str = ""
    stages: int = 1


def make_cassava(data: Path, answers: Path) -> None:
    """Lay out drawn leaves as Cassava 2020 has them: ids are file names, and classes are numbers."""
    make_leaves(data, answers, num_train=40, num_test=8, image_size=(48, 64))
    for name, part in (("train.csv", "train_images"), (answers, "test_images")):
        table = pd.read_csv(data / name)
        (data / part).mkdir()
        for image in table["image_id"]:
            (data / "images" / f"{image}.jpg").rename(data / part / f"{image}.jpg")
        classes = table[list(SHARES)].to_numpy().argmax(1)
        pd.DataFrame({"image_id": table["image_id"] + ".jpg", "label": classes}).to_csv(data / name, index=False)
    (data / "images").rmdir()
    (data / "test.csv").unlink()
    (data / "label_num_to_disease_map.json").write_text(json.dumps(dict(enumerate(SHARES))))
    pd.read_csv(answers).assign(label=4).to_csv(data / "sample_submission.csv", index=False)


def make_happywhale(data: Path, answers: Path) -> None:
    """Lay out drawn flukes as Happywhale 2022 has them: no training row is unknown, and each has a species."""
    size = WhalesSize(
        whales=14, most_images=6, singletons=4, unknown_train=0, test=10, unknown_test=2, merged=0, width=64
    )
    make_whales(data, answers, size=size)
    train = pd.read_csv(data / "train.csv").rename(columns={"Image": "image", "Id": "individual_id"})
    train.assign(species="humpback_whale").to_csv(data / "train.csv", index=False)
    sample = pd.read_csv(data / "sample_submission.csv").set_axis(["image", "predictions"], axis=1)
    sample["predictions"] = sample["predictions"].str.replace(UNKNOWN, "new_individual")
    sample.to_csv(data / "sample_submission.csv", index=False)
    for part in ("train", "test"):
        (data / part).rename(data / f"{part}_images")
    for name in ("boxes.csv", "turned.csv", "left_out.csv", "duplicate_ids.csv"):
        (data / name).unlink()


COMPETITIONS = {
    "cassava2020": Competition(make_cassava, ("image_id", "label")),
    "plant2020": Competition(
        lambda data, answers: make_leaves(data, answers, num_train=40, num_test=8, image_size=(48, 64)),
        ("image_id", *SHARES),
    ),
    "melanoma2020": Competition(
        lambda data, answers: make_lesions(data, answers, num_train=60, num_external=27, num_test=8, side=48),
        ("image_name", "target"),
        "--images.load-size 40 40",
    ),
    "pawpularity2021": Competition(
        lambda data, answers: make_pets(data, answers, num_train=40, num_test=8),
        ("Id", "Pawpularity"),
        "--images.load-size 40 40",
    ),
    "imet2019": Competition(
        lambda data, answers: make_artworks(data, answers, num_train=48, num_test=8),
        ("id", "attribute_ids"),
        "--model.layer-groups 2 --train.validate-epochs 1",
        2,
    ),
    "happywhale2022": Competition(make_happywhale, ("image", "predictions"), "--folds.unknown-identities 0.1"),
}


def page_of(name: str) -> str:
    """Return the README of an example."""
    return (EXAMPLES / name / "README.md").read_text(encoding="utf-8")


def words_of(name: str) -> list[list[str]]:
    """List the commands of an example's README, without `imettk`."""
    lines = pages.block(page_of(name), "commands").splitlines()
    return [shlex.split(re.split(r" {2,}", line)[0])[1:] for line in lines]


def cells_of(name: str) -> list[str]:
    """List the code cells of an example's notebook."""
    notebook = nbformat.read(EXAMPLES / name / "notebook.ipynb", as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a function that copies an example beside a miniature of its data, and goes there."""

    def copy(name: str) -> Path:
        competition = COMPETITIONS[name]
        folder = Path(shutil.copytree(EXAMPLES / name, tmp_path / name))
        competition.make(folder / "data", tmp_path / "answers.csv")
        words = [*SMALL.split(), *competition.small.split()]
        words += [word for stage in range(competition.stages) for word in STAGE.format(stage).split()]
        small = apply_overrides(load_recipe(str(folder / "recipe.py")), words)
        (folder / "small.json").write_text(to_json(replace(small, source_sha256="")))
        (folder / "recipe.py").write_text(STAND_IN)
        monkeypatch.chdir(folder)
        return folder

    return copy


@pytest.fixture
def here(monkeypatch):
    """Run the commands of cells in this process."""
    monkeypatch.setattr(notebook_run, "run_command", lambda words, environment: command(*words))


def play(cells: list[str]) -> list[Any]:
    """Run cells, and return the value of each one's last line if it is an expression, shown as a notebook shows it."""
    names: dict[str, Any] = {}
    shown = []
    for cell in cells:
        *body, last = ast.parse(cell).body
        if not isinstance(last, ast.Expr):
            body, last = [*body, last], ast.Expr(ast.Constant(None))
        exec(compile(ast.Module(body, []), "cell", "exec"), names)
        shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
        assert getattr(shown[-1], "_repr_html_", shown[-1].__repr__)()
    return shown


@pytest.mark.usefixtures("no_charts", "here")
@pytest.mark.parametrize("name", COMPETITIONS)
def test_commands_then_cells(name, place):
    folder = place(name)
    for words in words_of(name)[1:]:  # the first one downloads weights
        command(*words)
    submission = folder / "runs" / name / "submission.csv"
    written = submission.read_bytes()
    table = pd.read_csv(submission)
    assert tuple(table.columns) == COMPETITIONS[name].columns
    shown = play(cells_of(name))
    assert shown[1]["state"].tolist() == ["done", "done"] and shown[1]["sessions"].tolist() == [1, 1]
    assert submission.read_bytes() == written and len(shown[3]) and "<iframe" in shown[-1]._repr_html_()


@pytest.mark.slow
def test_a_notebook_alone_is_a_whole_competition(place, warm_python):
    """Run one in a kernel of its own, each command in a process of its own, which need not import torch again."""
    folder = place("pawpularity2021")
    notebook = nbformat.read(folder / "notebook.ipynb", as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    first.source = f"import sys\n\nsys.executable = {str(warm_python)!r}\n{first.source}"
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert "done" in outputs[1][-1].data["text/html"] and "<svg" in outputs[2][-1].data["text/html"]
    assert "missed" in outputs[3][-1].data["text/html"] and "<iframe" in outputs[-1][-1].data["text/html"]


def calls(cells: list[str]) -> list[str]:
    """List the methods of `run` that cells call, in order."""
    return [
        node.func.attr
        for node in ast.walk(ast.parse("\n".join(cells)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "run"
    ]


@pytest.mark.parametrize("name", COMPETITIONS)
def test_readme_notebook_and_recipe_tell_one_story(name):
    weights, *others = words_of(name)
    recipe = load_recipe(str(EXAMPLES / name / "recipe.py"))
    assert weights == ["weights", recipe.model.backbone] and recipe.model.weights == "weights"
    assert [words[0] for words in others] == STORY == calls(cells_of(name))
    assert others[0] == ["prepare", "recipe.py", "--run-dir", f"runs/{name}"] and others[-1] == [
        "report",
        f"runs/{name}",
    ]
    assert all(words[1:] == ["--run-dir", f"runs/{name}"] for words in others[1:-1])
    assert f'imettk.open_run("runs/{name}", "recipe.py", data="data")' in cells_of(name)[0]
    text = (EXAMPLES / name / "notebook.ipynb").read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook, version=4, version_minor=5)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if "outputs" in cell)
    assert not re.search(r"[\"' ]/\w", text)
    # On Kaggle: one competition, all folds, the same weights, and the models and the kernel that these commands make.
    page = page_of(name)
    slug, *same = re.findall(r"(?:--competition|kaggle submit) ([\w-]+)", page)
    assert set(same) == {slug} and f"(https://www.kaggle.com/competitions/{slug})" in page
    assert f"--folds {','.join(map(str, range(recipe.folds.num_folds)))} --attach" in page
    assert f"imettk weights {recipe.model.backbone} --upload" in page
    if "push infer" in page:
        made = name_of(recipe.name)
        assert f"--attach me/imettk-{made}-models\n" in page and f"--kernel me/imettk-{made}-infer\n" in page


@pytest.mark.parametrize("name", COMPETITIONS)
def test_what_to_change_for_a_medal_can_be_changed(name):
    recipe = load_recipe(str(EXAMPLES / name / "recipe.py"))
    section = page_of(name).split("## For a medal")[1].split("\n## ")[0]
    steps = [" ".join(text.split()) for text in re.findall(r"`(--[^`]+|imettk validate [^`]+)`", section)]
    assert steps and len(re.findall(r"^\d\. ", section, re.MULTILINE)) >= 5
    for step in steps:
        changed = apply_overrides(recipe, step.removeprefix("imettk validate ").split())
        assert changed != recipe, step
        if changed.model.backbone != recipe.model.backbone:
            library, _, network = changed.model.backbone.partition(":")
            assert library == "pretrainedmodels" or timm.is_model_pretrained(network), step
            check_network(changed, num_labels=5)


@pytest.mark.parametrize("name", COMPETITIONS)
def test_costs_are_counted_as_imettk_counts_them(name):
    recipe = load_recipe(str(EXAMPLES / name / "recipe.py"))
    rows = re.findall(
        r"^\| (.+) \| ([\d,]+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", page_of(name), re.MULTILINE
    )
    for _, images, folds, gflop, epochs, hours in rows:
        trained = int(images.replace(",", "")) * (int(folds) - 1)  # by all folds together
        exact = trained * float(epochs) * float(gflop) * 1e9 * PASSES / T4_RATE / 3600
        assert float(hours) == pytest.approx(exact, abs=0.051 if exact < 10 else 0.51)
    first = rows[0]
    assert first[0] == "`recipe.py`" and f"{first[1]} " in page_of(name).split("## From data")[0]
    assert int(first[2]) == recipe.folds.num_folds
    assert float(first[4]) == sum(stage.num_epochs for stage in recipe.stages)
    assert re.search(rf"\({name}/README.md\) .* \| {first[5]} \|$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)


def test_every_example_is_played_and_listed():
    folders = {path.parent.name for path in EXAMPLES.glob("*/recipe.py")}
    assert folders == set(COMPETITIONS)
    links = set(pages.links((EXAMPLES / "README.md").read_text(encoding="utf-8")))
    assert {f"{name}/README.md" for name in folders} | {path.name for path in EXAMPLES.glob("*.py")} <= links
