"""A kernel's script and metadata equal those in the folder `kernels`, and contain its settings unchanged."""

from __future__ import annotations

import ast
import json
from dataclasses import replace

import nbformat
import pytest
from places import KERNELS

from imettk.errors import UserError
from imettk.kaggle.cells import source_of
from imettk.kaggle.kernel import GPU, MACHINES, Kernel, check_machine, push_in

COMMANDS = ("prepare", "train", "validate", "infer")


def test_the_scripts_in_kernels_are_those_that_imettk_pushes():
    mine = "your-name"
    for number, command in enumerate(COMMANDS):
        kernel = Kernel(
            reference=f"{mine}/imettk-digits-{command}",
            command=command,
            recipe="digits",
            competition="imettk-digits",
            arguments=("--fold", "0") if command == "train" else (),
            datasets=(f"{mine}/imettk-pack", f"{mine}/imettk-digits"),
            kernels=tuple(f"{mine}/imettk-digits-{before}" for before in COMMANDS[:number]),
            gpu=command != "prepare",
        )
        assert (KERNELS / command / f"{command}.py").read_text() == kernel.text()
        assert json.loads((KERNELS / command / "kernel-metadata.json").read_text()) == kernel.metadata()


@pytest.mark.parametrize(
    "text",
    ["mein \U0001f600.py", "ä\u20ac\u0301", "\"quoted\" 'twice'", "back\\slash\\n", "two\nlines\r\t",
     "{recipe} {{x}} %s", "\udcff", "\ud83d\ude00", "\x7f\x00\x1b", "\U0010ffff\uffff", "#\"\"\""],
)  # fmt: skip
def test_every_text_arrives_in_a_script_unchanged(text):
    script = Kernel(
        reference="me/imettk-digits-train", command="train", recipe=text, competition=text,
        arguments=(text, "--a", text), pack=text, push=text, after=(text,),
    ).text()  # fmt: skip
    assert script.isascii()
    constants = {
        (node.targets[0] if isinstance(node, ast.Assign) else node.target).id: ast.literal_eval(node.value)
        for node in ast.parse(script).body
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, (ast.Constant, ast.List))
    }
    assert constants["ARGUMENTS"] == [text, "--a", text] and constants["AFTER"] == [text]
    assert [constants[name] for name in ("RECIPE", "COMPETITION", "PACK", "PUSH")] == [text] * 4


@pytest.mark.parametrize("command", COMMANDS)
def test_a_script_is_thin_and_its_metadata_complete(command):
    assert len((KERNELS / command / f"{command}.py").read_text().splitlines()) <= 40
    metadata = json.loads((KERNELS / command / "kernel-metadata.json").read_text())
    assert metadata["code_file"] == f"{command}.py" and (metadata["language"], metadata["kernel_type"]) == (
        "python",
        "script",
    )
    assert metadata["enable_internet"] is False  # the client reads a missing value as true
    assert metadata["is_private"] is True and metadata["enable_gpu"] is (command != "prepare")
    slug = metadata["id"].split("/")[1]
    assert slug == metadata["title"].lower().replace(" ", "-") and len(slug) >= 5  # the slug follows from the title
    assert any(source.endswith("/imettk-pack") for source in metadata["dataset_sources"])


def test_a_notebook_has_the_code_of_the_script():
    script = Kernel(
        reference="me/imettk-digits-train", command="train", recipe="m\u00e4in.py", competition="cells", push="p1"
    )
    notebook = replace(script, notebook=True)
    assert (script.kind, notebook.kind, notebook.metadata()["code_file"]) == ("script", "notebook", "train.ipynb")
    content = nbformat.reads(notebook.text(), as_version=4)
    nbformat.validate(content)
    assert notebook.text().isascii() and push_in(script.text()) == push_in(notebook.text()) == "p1"
    source = source_of(notebook.text())
    # All but the docstring and the end: a notebook takes an exit, even with code 0, for an error.
    assert [line for line in script.text().splitlines()[1:] if line and line not in source] == [
        "sys.exit(run_stage(order, root=ROOT, pack=pack, code=code, started=STARTED))"
    ]


def test_machine_and_models_are_in_the_metadata():
    kernel = Kernel(
        reference="me/imettk-digits-train", command="train", recipe="digits", competition="cells", machine="NvidiaL4",
        models=("timm/resnet/pyTorch/resnet18/1",),
    )  # fmt: skip
    metadata = kernel.metadata()
    assert (metadata["machine_shape"], metadata["model_sources"]) == ("NvidiaL4", ["timm/resnet/pyTorch/resnet18/1"])
    without = Kernel(reference="me/imettk-digits-train", command="train", recipe="digits", competition="x", gpu=False)
    assert "machine_shape" not in without.metadata() and MACHINES[0] == GPU


def test_an_accelerator_is_known_or_marked_as_new():
    assert [check_machine(name) for name in MACHINES] == list(MACHINES)
    assert check_machine("nvidial4") == "NvidiaL4" and check_machine("any:NvidiaB200") == "NvidiaB200"
    for name, says in [
        ("NvidiaTeslaP100", "is retired"), ("P100", "is retired"), ("any:nvidiateslap100", "sm_60"),
        ("TpuV5E8", "no code"),
        ("any:TpuV6E8", "is a TPU"), ("NvidiaTelsaT4", "is none of NvidiaTeslaT4, "), ("any:", "any:NAME"),
        ("any:a b", "any:NAME"), ("", "none of"),
    ]:  # fmt: skip
        with pytest.raises(UserError, match=says) as error:
            check_machine(name)
        assert str(error.value).startswith("--accelerator: ") and "\n" not in str(error.value)
