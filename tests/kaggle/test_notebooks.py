"""Notebooks to fork: valid, complete, and without anything of the machine that wrote them."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from imettk.config.overrides import apply_overrides
from imettk.errors import DataError
from imettk.kaggle import pack
from imettk.kaggle.cells import source_of
from imettk.kaggle.contents import find_secret
from imettk.kaggle.kernel import FIND_PACK, Kernel
from imettk.kaggle.notebooks import KNOBS, Draft, knobs_of, write_notebooks
from imettk.kaggle.outputs import OUTPUT
from imettk.kaggle.sandbox import Mounts, run_session
from imettk.recipes import load_recipe
from imettk.tracking.tensors import read_tensors

DIGITS = load_recipe("digits")
DRAFT = Draft(
    recipe="mine.py", name="cells", competition="cells", knobs=knobs_of(DIGITS, DIGITS), folds=(0, 2),
    sources=[("competition", "cells"), ("dataset", "me/weights")], owner="me",
)  # fmt: skip


@pytest.mark.parametrize("name", ["train.ipynb", "infer.ipynb"])
def test_a_notebook_is_valid_and_says_what_to_attach(tmp_path, name):
    write_notebooks(tmp_path / "out", DRAFT)
    path = tmp_path / "out" / name
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    text, source = path.read_text(), source_of(path.read_text())
    for word in ("`me/imettk-pack`", "`cells` (accept its rules first)", "`me/weights`", "internet off"):
        assert word in notebook.cells[0].source
    for cell in notebook.cells:
        if cell.cell_type == "code":
            ast.parse(cell.source)
            assert not cell.outputs
    script = Kernel(reference="me/imettk-x", command="train", recipe="mine.py", competition="cells").text()
    assert FIND_PACK in source and FIND_PACK in script  # the same code finds the pack
    assert find_secret(path) is None and not re.search(r"/(home|root|tmp|work)\b", text) and str(Path.cwd()) not in text


def test_knobs_are_the_main_fields_and_those_that_were_changed():
    knobs = knobs_of(apply_overrides(DIGITS, ["--train.loss", "focal", "--stages.0.lr", "0.01"]), DIGITS)
    assert {re.sub(r"\.\d+\.", ".", name) for name in knobs} == {*KNOBS, "train.loss"}
    assert (knobs["train.loss"], knobs["stages.0.lr"]) == ("focal", (0.01,))
    source = source_of(replace(DRAFT, knobs=knobs).texts()["train.ipynb"])
    assignments = {node.targets[0].id: node.value for node in ast.parse(source).body if isinstance(node, ast.Assign)}
    assert ast.literal_eval(assignments["KNOBS"]) == knobs and ast.literal_eval(assignments["FOLDS"]) == [0, 2]
    assert ast.literal_eval(assignments["MESSAGES"]) is False


def test_an_edited_notebook_is_not_overwritten(tmp_path):
    paths = write_notebooks(tmp_path, DRAFT)
    assert [path.name for path in paths] == ["train.ipynb", "infer.ipynb"]
    write_notebooks(tmp_path, DRAFT)
    edited = json.loads(paths[1].read_text())
    edited["cells"][0]["source"] = "# Mine"
    paths[1].write_text(json.dumps(edited))
    with pytest.raises(DataError, match=r"infer\.ipynb exists, and differs: give another --out"):
        write_notebooks(tmp_path, DRAFT)
    paths[1].unlink()
    with pytest.raises(DataError, match=r"train\.ipynb exists, and differs"):
        write_notebooks(tmp_path, replace(DRAFT, competition="whales"))
    assert not paths[1].exists()


# A recipe of one's own. The notebook's process draws no charts, which would take half of the test's time.
UNDRAWN = """
from matplotlib.figure import Figure
from PIL import Image
from imettk.pictures import charts
from imettk.recipes.digits import digits as recipe

charts.to_svg = lambda figure, legend_of, **how: "<svg></svg>"
Figure.savefig = lambda figure, file, **how: Image.new("RGB", (1, 1)).save(file, "PNG")
"""


@pytest.mark.slow
def test_a_fork_trains_over_two_sessions_and_infers(warm_python, zip_again, digits_data, imettk, tmp_path, monkeypatch):
    """The second session goes on from the output of the first to the bits of the command line."""
    monkeypatch.setattr(pack, "_zip_package", zip_again)
    (tmp_path / "mine.py").write_text(UNDRAWN)
    pack.make_pack(tmp_path / "pack", pack.PackOrder(recipe=tmp_path / "mine.py", wheels=False), owner="me")
    data, outputs = digits_data / "data", dict[str, Path]()

    def session(name: str, text: str) -> str:
        lines: list[str] = []
        mounts = Mounts({"me/imettk-pack": tmp_path / "pack"}, outputs, {"cells": data})
        ending = run_session(text, tmp_path / name, mounts, python=[str(warm_python)], line=lines.append, isolate=False)
        assert ending.code == 0, "\n".join(lines)
        outputs["me/fork"] = ending.working  # of the last version alone, as for a notebook's own output
        return "\n".join(lines)

    knobs = knobs_of(DIGITS, DIGITS) | {"session.device": "cpu"}
    forked = replace(DRAFT, knobs=knobs | {"session.limit_steps": 6}, folds=(0,))
    text = session("first", forked.texts()["train.ipynb"])
    assert "paused: add this notebook's output as an input" in text and "report.html" in text
    text = session("second", replace(forked, knobs=knobs).texts()["train.ipynb"])
    assert "fold 0: continues at step 6 of 11" in text and "OOF" in text
    session("infer", forked.texts()["infer.ipynb"])
    listed = json.loads((outputs["me/fork"] / OUTPUT).read_text())
    assert listed["code"] == 0 and "submission.csv" in listed["files"]
    at = ["--data", data, "--run-dir", tmp_path / "local", "--session.device", "cpu"]
    imettk("prepare", "digits", *at)
    imettk("train", "digits", *at, "--fold", 0)
    ours, theirs = (
        read_tensors(tmp_path / name / "fold0" / "model.safetensors").tensors for name in ("second/working", "local")
    )
    assert ours.keys() == theirs.keys() and len(ours) > 10
    assert all(ours[name].numpy().tobytes() == theirs[name].numpy().tobytes() for name in ours)
