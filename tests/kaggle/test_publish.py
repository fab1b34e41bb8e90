"""Trained models as a flat dataset, and the run folder that a kernel makes of it again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from imettk.config import to_json
from imettk.errors import DataError, MissingFileError
from imettk.kaggle.mounts import resolve
from imettk.kaggle.publish import make_models, unfold_models
from imettk.recipes import load_recipe
from imettk.tracking.run_dir import RunDir


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    for fold in (0, 2):
        (folder / f"fold{fold}" / "checkpoints").mkdir(parents=True)
        (folder / f"fold{fold}" / "model.safetensors").write_bytes(b"weights %d" % fold)
        (folder / f"fold{fold}" / "checkpoints" / "last.safetensors").write_bytes(b"large")
    (folder / "recipe.json").write_text(to_json(load_recipe("digits")))
    (folder / "rule.json").write_text("{}")
    return folder


def test_there_and_back(run, tmp_path):
    names = make_models(run, tmp_path / "out", owner="me", slug="imettk-digits-models")
    assert names == ["fold0/model.safetensors", "fold2/model.safetensors", "recipe.json", "rule.json"]
    assert all(path.is_file() for path in (tmp_path / "out").iterdir())  # the platform drops folders
    metadata = json.loads((tmp_path / "out" / "dataset-metadata.json").read_text())
    assert metadata["id"] == "me/imettk-digits-models" and metadata["title"] == "imettk digits models"
    (tmp_path / "working").mkdir()
    found = RunDir(tmp_path / "working", [unfold_models(tmp_path / "out", tmp_path / "temp")])
    assert found.trained_folds() == [0, 2] and found.recipe() == load_recipe("digits")
    assert found.model(2).read_bytes() == b"weights 2"
    assert unfold_models(tmp_path / "out", tmp_path / "temp")  # again, in the same folder


def test_damage_is_named(run, tmp_path):
    make_models(run, tmp_path / "out", owner="me", slug="imettk-digits-models")
    path = tmp_path / "out" / "run--fold0--model.safetensors"
    path.write_bytes(b"others")
    with pytest.raises(DataError, match=r"run--fold0--model\.safetensors is damaged"):
        unfold_models(tmp_path / "out", tmp_path / "temp")
    path.unlink()
    with pytest.raises(DataError, match="is missing: publish the run again"):
        unfold_models(tmp_path / "out", tmp_path / "temp")


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "fold0/../../evil"])
def test_nothing_is_laid_out_outside(run, tmp_path, name):
    make_models(run, tmp_path / "out", owner="me", slug="imettk-digits-models")
    manifest = json.loads((tmp_path / "out" / "imettk-run.json").read_text())
    manifest["files"] = {name: manifest["files"]["rule.json"]}
    (tmp_path / "out" / "imettk-run.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="lies outside"):
        unfold_models(tmp_path / "out", tmp_path / "temp" / "deep")
    assert not list(tmp_path.rglob("evil"))


def test_a_run_without_models_and_a_folder_in_use(run, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match="is not empty and holds no models"):
        make_models(run, tmp_path / "used", owner="me", slug="imettk-digits-models")
    for path in run.glob("fold*/model.safetensors"):
        path.unlink()
    with pytest.raises(MissingFileError, match="has no trained fold"):
        make_models(run, tmp_path / "out", owner="me", slug="imettk-digits-models")


@pytest.mark.parametrize("place", ["imettk-weights", "datasets/me/imettk-weights"])
def test_what_is_attached_has_one_path_in_both_layouts(tmp_path, place):
    """It is part of the recipe's fingerprint, by which a session knows the training of the one before."""
    folder = tmp_path / "input" / place
    folder.mkdir(parents=True)
    (folder / "resnet18.safetensors").write_bytes(b"x")
    words = ["--model.weights", "input:imettk-weights", "--x", "input:imettk-weights/resnet18.safetensors"]
    found = resolve(words, tmp_path)
    assert found[1] == str(tmp_path / "temp" / "inputs" / "imettk-weights") and found[0] == "--model.weights"
    assert Path(found[3]).read_bytes() == b"x"
    listed = {"resnet18.safetensors": {"source": "timm:resnet18", "sha256": hashlib.sha256(b"y").hexdigest()}}
    (folder / "weights.json").write_text(json.dumps(listed))
    with pytest.raises(DataError, match=r"resnet18\.safetensors is damaged: upload the weights again"):
        resolve(words, tmp_path)
    with pytest.raises(MissingFileError, match="'other' is not under"):
        resolve(["input:other"], tmp_path)
