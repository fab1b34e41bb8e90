"""Attached sources are found in every layout of the platform."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from session_folders import attach

from imettk.errors import DataError, MismatchError, MissingFileError, UserError
from imettk.kaggle.mounts import MissingOutputs, find_outputs, read_model, resolve
from imettk.kaggle.outputs import OUTPUT
from imettk.kaggle.sandbox import Mounts


def test_the_output_of_a_killed_session_is_found(root):
    killed = attach(root, "killed", "p1", code=None)
    other = attach(root, "other", "p2")
    attach(root, "by-hand", None)
    assert find_outputs(root, ["p2", "p1"]) == [other, killed]
    assert json.loads((killed / OUTPUT).read_text())["files"] == {}
    with pytest.raises(MissingOutputs) as error:
        find_outputs(root, ["p1", "p3"])
    assert error.value.pushes == ("p3",) and isinstance(error.value, MismatchError)


@pytest.mark.parametrize(
    ("text", "source", "file"),
    [
        ("timm/resnet/pyTorch/resnet18/1", "timm/resnet/pyTorch/resnet18/1", ""),
        ("timm/resnet/pyTorch/resnet18", "timm/resnet/pyTorch/resnet18", ""),
        ("timm/resnet/pyTorch/resnet18/12/a/b.safetensors", "timm/resnet/pyTorch/resnet18/12", "a/b.safetensors"),
        ("timm/resnet/pyTorch/resnet18/model.pth", "timm/resnet/pyTorch/resnet18", "model.pth"),
        ("timm/resnet/pyTorch/resnet18/1/2", "timm/resnet/pyTorch/resnet18/1", "2"),
    ],
)
def test_a_model_is_named_without_ambiguity(text, source, file):
    model = read_model(f"kaggle-model:{text}")
    assert (model.source, model.file) == (source, file)


@pytest.mark.parametrize(
    "text",
    ["", "timm", "timm/resnet/pyTorch", "timm//pyTorch/a", "a/b/c/d/", "a/b/c/../1", "a/b/c/d/1/../x", "a/b/c/ d"],
)
def test_a_malformed_model_is_one_line(text):
    with pytest.raises(UserError, match="it is written kaggle-model:OWNER/MODEL/FRAMEWORK/VARIATION/VERSION") as error:
        read_model(f"kaggle-model:{text}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("older", [False, True])
def test_a_model_has_one_path_in_both_layouts(root, tmp_path, older):
    """The path is part of the recipe's fingerprint, by which a session recognises an earlier one's training."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "model.safetensors").write_text(version)
    (tmp_path / "2" / "other.pth").write_text("x")
    sources = {f"timm/resnet/pyTorch/resnet18/{version}": tmp_path / version for version in ("1", "2")}

    def mount(**models: Path) -> None:
        for place, folder in Mounts(models=models, older=older).places().items():
            (root / "input" / place).parent.mkdir(parents=True, exist_ok=True)
            (root / "input" / place).symlink_to(folder)

    name, place = "kaggle-model:timm/resnet/pyTorch/resnet18", root / "temp/inputs/models/timm/resnet/pyTorch/resnet18"
    with pytest.raises(MissingFileError, match="the model timm/resnet/pyTorch/resnet18/1 is not under"):
        resolve([f"{name}/1"], root)
    mount(**{"timm/resnet/pyTorch/resnet18/1": sources["timm/resnet/pyTorch/resnet18/1"]})
    assert resolve(["--model.weights", name, f"--model.weights={name}/1", f"{name}/1/model.safetensors"], root) == [
        "--model.weights", str(place / "any" / "model.safetensors"),
        f"--model.weights={place / '1' / 'model.safetensors'}", str(place / "1" / "model.safetensors"),
    ]  # fmt: skip
    assert (place / "any" / "model.safetensors").read_text() == "1"
    mount(**{"timm/resnet/pyTorch/resnet18/2": sources["timm/resnet/pyTorch/resnet18/2"]})
    assert resolve([f"{name}/2"], root) == [str(place / "2")]  # the backbone chooses among its several files
    with pytest.raises(MismatchError, match="is mounted in versions 1, 2: name one of them"):
        resolve([name], root)
    with pytest.raises(MissingFileError, match=r"has no file 'a\.pth' \(there: model\.safetensors, other\.pth\)"):
        resolve([f"{name}/2/a.pth"], root)


@pytest.mark.parametrize("place", ["imettk-weights", "datasets/me/imettk-weights"])
def test_a_dataset_has_one_path_in_both_layouts(tmp_path, place):
    """The path is part of the recipe's fingerprint, by which a session recognises an earlier one's training."""
    folder = tmp_path / "input" / place
    folder.mkdir(parents=True)
    (folder / "resnet18.safetensors").write_bytes(b"x")
    words = ["--model.weights", "input:imettk-weights", "--x", "input:imettk-weights/resnet18.safetensors"]
    resolved = resolve(words, tmp_path)
    assert resolved[1] == str(tmp_path / "temp" / "inputs" / "imettk-weights") and resolved[0] == "--model.weights"
    assert Path(resolved[3]).read_bytes() == b"x"
    listed = {"resnet18.safetensors": {"source": "timm:resnet18", "sha256": hashlib.sha256(b"y").hexdigest()}}
    (folder / "weights.json").write_text(json.dumps(listed))
    with pytest.raises(DataError, match=r"resnet18\.safetensors is damaged: upload the weights again"):
        resolve(words, tmp_path)
    (tmp_path / "input" / "competitions" / "whales").mkdir(parents=True)
    with pytest.raises(MissingFileError, match=rf"'other' is not under .* \(there: competitions/whales, {place}\)"):
        resolve(["input:other"], tmp_path)
