"""The four kernel scripts, one after another, in the platform's layout and without network."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from imettk.errors import UserError
from imettk.kaggle.pack import make_pack

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
STAGES = ("prepare", "train", "validate", "infer")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pack") / "pack"
    try:
        make_pack(folder, owner="me")
    except UserError as error:
        if "could not be built" in str(error) and "CI" not in os.environ:
            pytest.skip(f"no package index here: {error}")
        raise
    return folder


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the libraries of this one, but without imettk: it has to come from the pack."""
    folder = tmp_path_factory.mktemp("python")
    venv.create(folder, with_pip=False, symlinks=True)
    interpreter = folder / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # A path in a .pth file is added to sys.path, but .pth files in it (imettk's editable install) are not read.
    (folder / "lib" / version / "site-packages" / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    probe = [interpreter, "-c", "import torch, imettk"]
    missing = subprocess.run(probe, cwd=folder, capture_output=True, text=True, check=False)
    assert "No module named 'imettk'" in missing.stderr
    return interpreter


def without_network() -> list[str]:
    """A prefix that takes the network away, where the system allows it."""
    allowed = subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0
    return ["unshare", "-rn"] if allowed else []


def run_kernel(script: Path, root: Path, python: Path, *, code: int = 0) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "IMETTK"))}
    shutil.rmtree(root / "working", ignore_errors=True)
    (root / "working").mkdir(parents=True)
    done = subprocess.run(
        [*without_network(), str(python), str(script)],
        cwd=root / "working",
        env=environment | {"IMETTK_KAGGLE_ROOT": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def with_arguments(stage: str, arguments: str, folder: Path) -> Path:
    """A kernel is configured by its text: the same script with other arguments."""
    text = (KERNELS / stage / f"{stage}.py").read_text()
    line = next(line for line in text.splitlines() if line.startswith("ARGUMENTS"))
    (folder / f"{stage}.py").write_text(text.replace(line, f"ARGUMENTS: list[str] = {arguments}"))
    return folder / f"{stage}.py"


def hashes(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("layout", ["older", "newer"])
def test_the_four_kernels_one_after_another(pack, python, digits_data, tmp_path, layout):
    """The older layout with the pack as it was uploaded, the newer one with its zip unpacked, as the platform does."""
    root = tmp_path / "kaggle"
    datasets, notebooks = (root / "input",) * 2 if layout == "older" else (
        root / "input" / "datasets" / "me", root / "input" / "notebooks" / "me"
    )  # fmt: skip
    shutil.copytree(pack, datasets / "imettk-pack")
    shutil.copytree(digits_data / "data", datasets / "imettk-digits")
    if layout == "newer":
        with zipfile.ZipFile(pack / "imettk.zip") as archive:
            archive.extractall(datasets / "imettk-pack" / "imettk")
        (datasets / "imettk-pack" / "imettk.zip").unlink()

    def kernel(script: Path, output: str) -> str:
        before = hashes(root / "input")
        text = run_kernel(script, root, python)
        assert hashes(root / "input") == before  # inputs are only read
        shutil.copytree(root / "working", notebooks / output)
        return text

    text = kernel(KERNELS / "prepare" / "prepare.py", "imettk-digits-prepare")
    assert "72 rows in 12 groups" in text and "pip install" in text
    first = with_arguments("train", '["--fold", "0", "--session.limit-steps", "4"]', tmp_path)
    assert "fold 0: paused at step 4 of 11" in kernel(first, "imettk-digits-train-s1")
    text = kernel(KERNELS / "train" / "train.py", "imettk-digits-train")
    assert "fold 0: continues at step 4 of 11" in text and "fold 0: done" in text
    if layout == "older":
        return  # what is left is the same there
    text = kernel(KERNELS / "validate" / "validate.py", "imettk-digits-validate")
    assert "1 of 3 folds are trained" in text and "OOF" in text
    kernel(KERNELS / "infer" / "infer.py", "imettk-digits-infer")
    submission = pd.read_csv(notebooks / "imettk-digits-infer" / "submission.csv", dtype=str)
    sample = pd.read_csv(digits_data / "data" / "sample_submission.csv", dtype=str)
    assert list(submission.columns) == list(sample.columns) and list(submission["id"]) == list(sample["id"])


def test_lines_of_a_stage_reach_the_log_as_they_come(pack, python, digits_data, tmp_path):
    """Not at its end, nine hours later."""
    root = tmp_path / "kaggle"
    shutil.copytree(pack, root / "input" / "imettk-pack")
    shutil.copytree(digits_data / "data", root / "input" / "imettk-digits")
    (root / "working").mkdir()
    process = subprocess.Popen(
        [str(python), str(KERNELS / "prepare" / "prepare.py")], env=os.environ | {"IMETTK_KAGGLE_ROOT": str(root)},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append((line, process.poll() is None))
        if line.startswith("72 rows"):
            break
    process.communicate()
    assert seen[-1] == ("72 rows in 12 groups, 15 labels, 0 of them without a row\n", True)


def test_what_is_not_attached_is_named(pack, python, tmp_path):
    root = tmp_path / "kaggle"
    (root / "input").mkdir(parents=True)
    script = KERNELS / "prepare" / "prepare.py"
    assert "0 packs under" in run_kernel(script, root, python, code=1)
    shutil.copytree(pack, root / "input" / "imettk-pack")
    text = run_kernel(script, root, python, code=2)
    assert "'imettk-digits' is not under" in text and "there: imettk-pack" in text


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


def test_the_scripts_differ_in_their_stage_alone():
    """They cannot share code before the pack is found, so nothing may hide in one of them."""

    def body(stage: str) -> str:
        module = ast.parse((KERNELS / stage / f"{stage}.py").read_text())
        statements = [node for node in module.body[1:] if not isinstance(node, ast.AnnAssign)]
        return ast.unparse(ast.Module(statements, [])).replace(f"'{stage}'", "STAGE")

    assert len({body(stage) for stage in STAGES}) == 1
