"""Inside a kernel: the list of its output, missing inputs, and accelerators that it refuses before hours are spent."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from session_folders import attach

from imettk.config import SESSION_START, to_json
from imettk.errors import DeviceError, MismatchError, MissingFileError
from imettk.kaggle import environment
from imettk.kaggle.environment import Order, Session, open_session, run_stage
from imettk.kaggle.mounts import find_outputs
from imettk.kaggle.outputs import read_output_list
from imettk.recipes import load_recipe

ORDER = Order("train", "digits", "cells", push="p9", after=["p1", "p2"])


@pytest.fixture
def run_kernel(root, monkeypatch) -> Callable[..., int]:
    """A function that runs a kernel with a callable as its command, and returns the exit code."""

    def run(command: Callable[[], int], order: Order = ORDER) -> int:
        monkeypatch.setattr(environment, "_run", lambda *_: command())
        return run_stage(order, root=root, pack=root, code=root, started=0.0)

    return run


def test_a_list_without_a_code_is_written_before_anything_can_fail(run_kernel, root):
    """A killed session leaves only this list, which shows the push that its output belongs to."""
    lists = []

    def look() -> int:
        lists.append(read_output_list(root / "working"))
        (root / "working" / "journal.jsonl").write_text("{}")
        return 0

    (root / "working" / "early.txt").write_text("x")
    assert run_kernel(look) == 0
    assert (lists[0]["push"], lists[0]["stage"], lists[0]["code"], lists[0]["files"]) == ("p9", "train", None, {})
    ended = read_output_list(root / "working")
    assert ended["code"] == 0 and set(ended["files"]) == {"early.txt", "journal.jsonl"} and "lacks" not in ended


@pytest.mark.parametrize("push", ["p9", ""])
def test_a_full_disk_is_one_line_and_the_list_is_written(run_kernel, root, capsys, push):
    def fail() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "/kaggle/temp/imettk-site")

    (root / "working" / "kept.txt").write_text("x")
    assert run_kernel(fail, Order("train", "digits", "cells", push=push)) == (0 if push else 1)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "imettk: /kaggle/temp/imettk-site: No space left on device: free some space, or use another disk, and run the "
        "same command again"
    ]
    ended = read_output_list(root / "working")
    assert ended["code"] == 1 and set(ended["files"]) == {"kept.txt"}


def test_a_list_that_cannot_be_written_is_one_line(run_kernel, root, capsys, monkeypatch):
    def fill() -> int:
        monkeypatch.setattr(environment, "write_output_list", full)
        return 0

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert run_kernel(fill) == 0  # otherwise the platform would not attach its checkpoints
    output = capsys.readouterr()
    assert "No space left on device" in output.err and "train ended with code 1" in output.out
    assert read_output_list(root / "working")["code"] is None


def test_the_list_names_missing_inputs(run_kernel, root, capsys):
    attach(root, "a", "p1")
    attach(root, "b", "p0")  # an older output in place of p2
    assert run_kernel(lambda: len(find_outputs(root, ["p1", "p2", "p3"]))) == 0
    assert "the output of push p2 is not attached (there: p0, p1)" in capsys.readouterr().err
    ended = read_output_list(root / "working")
    assert (ended["code"], ended["lacks"]) == (2, ["p2", "p3"])


def test_a_session_finds_inputs_in_fields_and_keeps_finished_folds(root, tmp_path):
    """The next session may be given this one's output alone."""
    (root / "input" / "weights").mkdir(parents=True)
    for name, folds in (("a", (0, 1)), ("b", (1,))):
        for fold in folds:
            folder = tmp_path / name / f"fold{fold}"
            (folder / "checkpoints").mkdir(parents=True)
            (folder / "status.json").write_text(name)
            (folder / "checkpoints" / "step-1.safetensors").write_text("x")
            if name == "b" or fold == 0:
                (folder / "model.safetensors").write_text(name)
    session = Session(ORDER, root, 0.0, "digits", root, (tmp_path / "a", tmp_path / "b"), root)
    path = str(root / "temp" / "inputs" / "weights")
    fields = {"a": "input:weights/x", "b": ("input:weights", "c"), "d": 7, "e": ()}
    assert session.resolve(fields) == {"a": f"{path}/x", "b": (path, "c"), "d": 7, "e": ()}
    session.keep_models()
    session.close()
    kept = {f"fold{fold}/{name}" for fold in (0, 1) for name in ("model.safetensors", "status.json")}
    ended = read_output_list(root / "working")
    assert set(ended["files"]) == kept and (ended["code"], ended["push"]) == (0, "p9")
    assert (session.run_dir / "fold1" / "model.safetensors").read_text() == "b"


def test_inputs_of_another_recipe_are_refused_before_anything_runs(root, tmp_path):
    """Else a fork with changed settings would train some folds, and score them with the others."""
    recipe = load_recipe("digits")
    for number, name in enumerate("ab"):
        (tmp_path / name / f"fold{number}").mkdir(parents=True)
        (tmp_path / name / f"fold{number}" / "model.safetensors").touch()
        (tmp_path / name / "recipe.json").write_text(to_json(recipe))
        (tmp_path / name / "rule.json").write_text(f"{number}")
    session = Session(ORDER, root, 0.0, "digits", root, (tmp_path / "a", tmp_path / "b"), root)
    session.check_inputs(replace(recipe, session=replace(recipe.session, limit_seconds=700.0)))
    with pytest.raises(
        MismatchError, match=r"a holds the training of .*: train.seed: 0 -> 7. Undo the change of KNOBS"
    ):
        session.check_inputs(replace(recipe, train=replace(recipe.train, seed=7)))
    assert not session.agree() and replace(session, inputs=session.inputs[:1]).agree()


def test_a_cell_that_opens_a_session_again_lets_its_clock_go_on(root, monkeypatch):
    session = Session(ORDER, root, 0.0, "digits", root, (), root)
    opened = []
    monkeypatch.setattr(
        environment, "_open", lambda *words: (opened.append(words[-1]), (session, {SESSION_START: "5.0"}))[1]
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv(SESSION_START, "")
    monkeypatch.delenv(SESSION_START)
    for started in (5.0, 3600.0):
        open_session(ORDER, root=root, pack=root, code=root, started=started)
    assert opened == [5.0, 5.0]


def test_a_pack_without_the_recipe_is_named(root):
    (root / "other.py").touch()
    with pytest.raises(
        MissingFileError, match=r"no recipe my one\.py \(there: other\.py\): .*pack 'my one\.py' --upload"
    ):
        environment._own_recipe(root, "my one.py")


def test_a_command_in_a_notebook_prints_its_lines(monkeypatch, capsys):
    """There, what a process writes by itself may not be shown."""
    monkeypatch.setattr(environment, "in_notebook", lambda: True)
    code = "import sys; print('a', flush=True); print('b', file=sys.stderr); sys.exit(3)"
    assert environment._call([sys.executable, "-c", code], os.environ) == 3
    assert capsys.readouterr().out == "a\nb\n"


TORCH = """
__version__ = "2.10"
class cuda:
    is_available = staticmethod(lambda: {seen})
    get_device_capability = staticmethod(lambda: (6, 0))
    get_arch_list = staticmethod(lambda: ["sm_70", "sm_{arch}"])
    get_device_name = staticmethod(lambda: "Tesla P100")
"""


@pytest.mark.parametrize(
    ("seen", "arch", "says"),
    [(True, 75, "has no code for Tesla P100"), (False, 75, "torch sees no GPU"), (True, 60, "")],
)
@pytest.mark.skipif(os.name != "posix", reason="a script in the place of nvidia-smi")
def test_a_gpu_that_torch_cannot_use_is_refused_at_once(tmp_path, monkeypatch, capfd, seen, arch, says):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(TORCH.format(seen=seen, arch=arch))
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho Tesla P100, 16384 MiB\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    paths = os.pathsep.join([str(tmp_path), str(Path(environment.__file__).parents[2]), *sys.path])
    surroundings = os.environ | {"PYTHONPATH": paths}
    if says:
        with pytest.raises(DeviceError, match=rf"{says}.*; push it with --accelerator NvidiaTeslaT4"):
            environment._check_accelerator(ORDER, surroundings)
    else:
        environment._check_accelerator(ORDER, surroundings)
    for order in (Order("prepare", "digits", "x"), Order("train", "digits", "x", ["--session.device", "cpu"])):
        environment._check_accelerator(order, surroundings)
    assert "accelerator: Tesla P100, 16384 MiB" in capfd.readouterr().out
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho NVIDIA-SMI has failed\nexit 9\n")
    environment._check_accelerator(ORDER, surroundings)
    assert capfd.readouterr().out == "accelerator: none\n"
