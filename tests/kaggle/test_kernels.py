"""The four kernel scripts, run one after another in the platform's layout and without network."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from forked import PATIENCE
from places import KERNELS

from imettk.kaggle.sandbox import Mounts, run_session


def run_kernel(
    script: str, root: Path, python: Path, mounts: Mounts, *, code: int = 0, isolate: bool | None = None
) -> str:
    """Run a kernel as `imettk kaggle run-local` does, and return what it prints."""
    shutil.rmtree(root, ignore_errors=True)
    lines: list[str] = []
    ending = run_session(
        script, root, mounts, python=[str(python)], line=lines.append, limit_seconds=PATIENCE, isolate=isolate
    )
    assert ending.code == code, "\n".join(lines)
    return "\n".join(lines)


def text_of(command: str, **settings: object) -> str:
    """Return the script of a command with other constants, by which a kernel is configured."""
    lines = (KERNELS / command / f"{command}.py").read_text().splitlines()
    for name, value in settings.items():
        (number,) = [number for number, line in enumerate(lines) if line.startswith((f"{name} =", f"{name}: "))]
        lines[number] = f"{name} = {value!r}"
    return "\n".join(lines)


def hashes(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["older", "newer"])
def test_the_four_kernels_one_after_another(pack, python, warm_python, digits_data, tmp_path, layout):
    """The older layout has the pack as it was uploaded, the newer one has its zip unpacked, as on the platform.

    Sessions of the newer layout really start Python, and are isolated.
    """
    if layout == "newer":
        shutil.copytree(pack, tmp_path / "pack")
        pack = tmp_path / "pack"
        with zipfile.ZipFile(pack / "imettk.zip") as archive:
            archive.extractall(pack / "imettk")
        (pack / "imettk.zip").unlink()
    outputs: dict[str, Path] = {}

    def kernel(script: str, output: str, *, code: int = 0) -> str:
        mounts = Mounts(
            datasets={"me/imettk-pack": pack, "me/imettk-digits": digits_data / "data"},
            notebooks=outputs,
            older=layout == "older",
        )
        before = [hashes(folder) for folder in mounts.places().values()]
        how = (python, None) if layout == "newer" else (warm_python, False)
        text = run_kernel(script, tmp_path / output, how[0], mounts, code=code, isolate=how[1])
        assert [hashes(folder) for folder in mounts.places().values()] == before  # inputs are only read
        outputs[f"me/{output}"] = tmp_path / output / "working"
        return text

    digest = json.loads((pack / "imettk-pack.json").read_text())["pack"]
    text = kernel(text_of("prepare", PACK=digest, PUSH="p1"), "imettk-digits-prepare")
    assert "72 rows in 12 groups" in text and "pip install" in text
    first = text_of("train", ARGUMENTS=["--fold", "0", "--session.limit-steps", "4"], PUSH="p2", AFTER=["p1"])
    assert "fold 0: paused at step 4 of 11" in kernel(first, "imettk-digits-train-s1")
    text = kernel(text_of("train", PUSH="p3", AFTER=["p1", "p2"]), "imettk-digits-train")
    assert "fold 0: continues at step 4 of 11" in text and "fold 0: done" in text
    listed = json.loads((outputs["me/imettk-digits-train"] / "imettk-output.json").read_text())
    assert (listed["push"], listed["stage"], listed["code"]) == ("p3", "train", 0) and 0 < listed["seconds"] < PATIENCE
    digests = hashes(outputs["me/imettk-digits-train"])
    assert {file["sha256"] for file in listed["files"].values()} | {
        digests[str(outputs["me/imettk-digits-train"] / "imettk-output.json")]
    } == set(digests.values())
    if layout == "older":
        return  # the rest is the same in both layouts
    text = kernel((KERNELS / "validate" / "validate.py").read_text(), "imettk-digits-validate")
    assert "1 of 3 folds are there" in text and "OOF" in text
    kernel((KERNELS / "infer" / "infer.py").read_text(), "imettk-digits-infer")
    submission = pd.read_csv(outputs["me/imettk-digits-infer"] / "submission.csv", dtype=str)
    sample = pd.read_csv(digits_data / "data" / "sample_submission.csv", dtype=str)
    assert list(submission.columns) == list(sample.columns) and list(submission["id"]) == list(sample["id"])


def test_lines_of_a_command_reach_the_log_as_they_come(pack, python, digits_data, tmp_path):
    """Otherwise they would come at its end, nine hours later."""
    cancel, seen = threading.Event(), []

    def line(text: str) -> None:
        seen.append(text)
        if text.startswith("72 rows"):
            cancel.set()

    mounts = Mounts({"me/imettk-pack": pack, "me/imettk-digits": digits_data / "data"})
    script = text_of("prepare", PUSH="p1")
    ending = run_session(script, tmp_path / "kaggle", mounts, python=[str(python)], line=line, cancel=cancel)
    assert "72 rows in 12 groups, 15 labels, 0 of them without a row" in seen
    assert ending.status == "CANCEL_ACKNOWLEDGED"  # it was still working when the line came
    listed = json.loads((ending.working / "imettk-output.json").read_text())
    assert (listed["push"], listed["stage"], listed["code"], listed["files"]) == ("p1", "prepare", None, {})


def test_weights_of_the_platform_have_one_path_whatever_is_mounted(pack, warm_python, digits_data, tmp_path):
    """The training itself fails, since nothing is prepared."""
    root, weights = tmp_path / "kaggle", "timm/resnet/pyTorch/resnet18/1"
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").write_bytes(b"x")
    script = text_of("train", ARGUMENTS=["--fold", "0", "--model.weights", f"kaggle-model:{weights}"])
    mounts = Mounts({"me/imettk-pack": pack, "me/imettk-digits": digits_data / "data"})
    text = run_kernel(script, root, warm_python, mounts, code=2, isolate=False)
    assert f"the model {weights} is not under" in text
    mounts = replace(mounts, models={weights: tmp_path / "weights"})
    text = run_kernel(script, root, warm_python, mounts, code=2, isolate=False)
    assert f"--model.weights {root}/temp/inputs/models/{weights}/model.safetensors" in text
    assert text.count("imettk: ") == 1 and "accelerator: " in text


def test_missing_and_wrong_sources_are_named(pack, python, digits_data, tmp_path):
    """A kernel exits with one line and code 2; in a chain it records the code in its list, and exits with 0."""
    script, root = text_of("prepare"), tmp_path / "kaggle"
    assert "0 packs under" in run_kernel(script, root, python, Mounts(), code=1)
    only_pack = Mounts({"me/imettk-pack": pack})
    text = run_kernel(script, root, python, only_pack, code=2)
    assert "'imettk-digits' is not under" in text and "there: datasets" in text
    both = Mounts({"me/imettk-pack": pack, "me/imettk-digits": digits_data / "data"})
    text = run_kernel(text_of("prepare", PACK="0123"), root, python, both, code=2)
    assert "but this kernel was written for 0123: attach that version" in text
    text = run_kernel(text_of("train", PUSH="p9", AFTER=["p1"]), root, python, both, code=0)
    assert "the output of push p1 is not attached (there: none)" in text and "ended with code 2" in text
    assert json.loads((root / "working" / "imettk-output.json").read_text())["code"] == 2
