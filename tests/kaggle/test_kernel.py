"""A kernel's script and metadata are those of the folder `kernels`, with its settings as they were given."""

from __future__ import annotations

import ast
import json

import pytest
from places import KERNELS

from imettk.errors import UserError
from imettk.kaggle.kernel import GPU, MACHINES, Kernel, check_machine

STAGES = ("prepare", "train", "validate", "infer")


def test_the_scripts_are_those_that_imettk_pushes():
    mine = "your-name"
    for number, stage in enumerate(STAGES):
        kernel = Kernel(
            reference=f"{mine}/imettk-digits-{stage}",
            stage=stage,
            recipe="digits",
            competition="imettk-digits",
            arguments=("--fold", "0") if stage == "train" else (),
            datasets=(f"{mine}/imettk-pack", f"{mine}/imettk-digits"),
            kernels=tuple(f"{mine}/imettk-digits-{before}" for before in STAGES[:number]),
            gpu=stage != "prepare",
        )
        assert (KERNELS / stage / f"{stage}.py").read_text() == kernel.text()
        assert json.loads((KERNELS / stage / "kernel-metadata.json").read_text()) == kernel.metadata()


@pytest.mark.parametrize(
    "text",
    ["mein \U0001f600.py", "ä\u20ac\u0301", "\"quoted\" 'twice'", "back\\slash\\n", "two\nlines\r\t",
     "{recipe} {{x}} %s", "\udcff", "\ud83d\ude00", "\x7f\x00\x1b", "\U0010ffff\uffff", "#\"\"\""],
)  # fmt: skip
def test_every_text_arrives_in_a_script_as_it_was(text):
    script = Kernel(
        reference="me/imettk-digits-train", stage="train", recipe=text, competition=text, arguments=(text, "--a", text),
        pack=text, push=text, after=(text,),
    ).text()  # fmt: skip
    assert script.isascii()
    found = {
        (node.targets[0] if isinstance(node, ast.Assign) else node.target).id: ast.literal_eval(node.value)
        for node in ast.parse(script).body
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, (ast.Constant, ast.List))
    }
    assert found["ARGUMENTS"] == [text, "--a", text] and found["AFTER"] == [text]
    assert [found[name] for name in ("RECIPE", "COMPETITION", "PACK", "PUSH")] == [text] * 4


@pytest.mark.parametrize("stage", STAGES)
def test_a_script_is_thin_and_its_metadata_complete(stage):
    assert len((KERNELS / stage / f"{stage}.py").read_text().splitlines()) <= 40
    metadata = json.loads((KERNELS / stage / "kernel-metadata.json").read_text())
    assert metadata["code_file"] == f"{stage}.py" and (metadata["language"], metadata["kernel_type"]) == (
        "python",
        "script",
    )
    assert metadata["enable_internet"] is False  # the client takes a missing one as true
    assert metadata["is_private"] is True and metadata["enable_gpu"] is (stage != "prepare")
    slug = metadata["id"].split("/")[1]
    assert slug == metadata["title"].lower().replace(" ", "-") and len(slug) >= 5  # the slug follows from the title
    assert any(source.endswith("/imettk-pack") for source in metadata["dataset_sources"])


def test_a_kernel_says_which_machine_and_models_it_wants():
    kernel = Kernel(
        reference="me/imettk-digits-train", stage="train", recipe="digits", competition="cells", machine="NvidiaL4",
        models=("timm/resnet/pyTorch/resnet18/1",),
    )  # fmt: skip
    found = kernel.metadata()
    assert (found["machine_shape"], found["model_sources"]) == ("NvidiaL4", ["timm/resnet/pyTorch/resnet18/1"])
    without = Kernel(reference="me/imettk-digits-train", stage="train", recipe="digits", competition="x", gpu=False)
    assert "machine_shape" not in without.metadata() and MACHINES[0] == GPU


def test_an_accelerator_is_known_or_meant():
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
