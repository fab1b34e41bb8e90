"""Trained models as a flat dataset, and the run folder that a kernel restores from it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from kaggle_box import fast_patience

from imettk.cli import kaggle as platform
from imettk.config import to_json
from imettk.errors import DataError, MissingFileError, UserError
from imettk.kaggle import client
from imettk.kaggle.publish import make_models, unfold_models, upload_models, upload_weights
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


def test_a_published_run_is_restored(run, tmp_path):
    names = make_models(run, tmp_path / "out", owner="me", slug="imettk-digits-models")
    assert names == ["fold0/model.safetensors", "fold2/model.safetensors", "recipe.json", "rule.json"]
    assert all(path.is_file() for path in (tmp_path / "out").iterdir())  # the platform drops folders
    metadata = json.loads((tmp_path / "out" / "dataset-metadata.json").read_text())
    assert metadata["id"] == "me/imettk-digits-models" and metadata["title"] == "imettk digits models"
    (tmp_path / "working").mkdir()
    restored = RunDir(tmp_path / "working", [unfold_models(tmp_path / "out", tmp_path / "temp")])
    assert restored.trained_folds() == [0, 2] and restored.recipe() == load_recipe("digits")
    assert restored.model(2).read_bytes() == b"weights 2"
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
def test_no_link_is_made_outside_the_folder(run, tmp_path, name):
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
    with pytest.raises(DataError, match="is not empty and contains no published models"):
        make_models(run, tmp_path / "used", owner="me", slug="imettk-digits-models")
    for path in run.glob("fold*/model.safetensors"):
        path.unlink()
    with pytest.raises(MissingFileError, match="has no trained fold"):
        make_models(run, tmp_path / "out", owner="me", slug="imettk-digits-models")


def test_models_that_the_platform_has_are_not_uploaded_again(kaggle, run, tmp_path):
    box, account = kaggle
    for _ in range(2):
        uploaded = upload_models(account, run, tmp_path / "out", slug="imettk-digits-models", notes="models")
        assert uploaded == ("me/imettk-digits-models", 1)
    (run / "rule.json").write_text('{"other": 1}')
    uploaded = upload_models(account, run, tmp_path / "out", slug="imettk-digits-models", notes="models")
    assert uploaded == ("me/imettk-digits-models", 2)
    sent = box.datasets["me/imettk-digits-models"].versions[1]
    assert unfold_models(sent, tmp_path / "temp") and (tmp_path / "temp" / "rule.json").read_text() == '{"other": 1}'


def test_the_users_title_and_licence_are_kept(run, tmp_path):
    path = tmp_path / "out" / "dataset-metadata.json"
    for slug in ("imettk-a-models", "imettk-b-models"):  # unedited metadata of another run are replaced
        make_models(run, tmp_path / "out", owner="me", slug=slug)
        assert json.loads(path.read_text())["id"] == f"me/{slug}"
    edited = json.loads(path.read_text()) | {"title": "Mine", "licenses": [{"name": "CC0-1.0"}]}
    path.write_text(json.dumps(edited))
    make_models(run, tmp_path / "out", owner="me", slug="imettk-b-models")
    assert json.loads(path.read_text()) == edited
    with pytest.raises(DataError, match=r"belongs to dataset me/imettk-b-models, not to me/imettk-a-models"):
        make_models(run, tmp_path / "out", owner="me", slug="imettk-a-models")
    assert json.loads(path.read_text()) == edited


WEIGHTS = "me/imettk-weights"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    listed = {}
    for name in ("resnet18", "resnet34"):
        (folder / f"{name}.safetensors").write_bytes(name.encode())
        digest = hashlib.sha256(name.encode()).hexdigest()
        listed[f"{name}.safetensors"] = {"source": f"timm:{name}", "sha256": digest}
    (folder / "weights.json").write_text(json.dumps(listed))
    return folder


def sent(box, version: int = 1) -> list[str]:
    return sorted(path.name for path in box.datasets[WEIGHTS].versions[version - 1].iterdir())


def test_listed_weights_become_a_dataset(kaggle, weights, capsys):
    box, account = kaggle
    for name in (".env", "kaggle.json", "old.pth", "thesis.tex", "other.safetensors"):
        (weights / name).write_text("private")
    (weights / "inside").mkdir()
    assert upload_weights(account, weights) == (WEIGHTS, 1)
    assert sent(box) == ["resnet18.safetensors", "resnet34.safetensors", "weights.json"]
    lines = [line for line in capsys.readouterr().out.splitlines() if "not sent" in line]
    others = ".env, inside, kaggle.json, old.pth, other.safetensors, thesis.tex"
    assert lines == [f"{weights}: not sent, because weights.json does not list them: {others}"]
    create = next(request for method, request in box.requests if method == "CreateDataset")
    assert create["title"] == "imettk weights" and create["isPrivate"] is True
    assert upload_weights(account, weights) == (WEIGHTS, 1)  # they are there already


def test_weights_by_command(kaggle, weights, capsys, monkeypatch):
    monkeypatch.setattr(client, "Patience", fast_patience)
    platform.upload_weights(weights)
    assert "--model.weights input:imettk-weights`" in capsys.readouterr().out


def test_another_dataset_of_the_user_is_not_overwritten_with_weights(kaggle, weights):
    """A private dataset would otherwise get the weights as a new version, or their licence."""
    box, account = kaggle
    path = weights / "dataset-metadata.json"
    edited = json.dumps({"title": "My private thing", "id": "me/private-thing", "licenses": [{"name": "CC0-1.0"}]})
    path.write_text(edited)
    with pytest.raises(
        DataError, match=rf"{path} belongs to dataset me/private-thing, not to {WEIGHTS}: nothing is sent"
    ):
        upload_weights(account, weights)
    assert path.read_text() == edited and box.requests == []
    edited = json.dumps({"title": "Weights of ours", "id": WEIGHTS, "licenses": [{"name": "apache-2.0"}]})
    path.write_text(edited)
    upload_weights(account, weights)
    create = next(request for method, request in box.requests if method == "CreateDataset")
    assert path.read_text() == edited and (create["title"], create["licenseName"]) == ("Weights of ours", "apache-2.0")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Kaggle.JSON", "looks like credentials"),
        ("old.PTH", "weights travel as .safetensors"),
        ("../recipe.json", "which is not a file of this folder"),
        ("none.safetensors", "is missing, but weights.json lists it"),
    ],
)
def test_listed_files_are_checked(kaggle, weights, name, says):
    box, account = kaggle
    path = weights / name
    path.write_text("x")
    listed = json.loads((weights / "weights.json").read_text())
    listed[name] = {"source": "x", "sha256": hashlib.sha256(b"x").hexdigest()}
    (weights / "weights.json").write_text(json.dumps(listed))
    if name.startswith("none"):
        path.unlink()
    with pytest.raises(DataError, match=says):
        upload_weights(account, weights)
    assert box.requests == [] and not (weights / "dataset-metadata.json").exists()


def test_damaged_or_unlisted_weights_are_not_sent(kaggle, weights):
    box, account = kaggle
    (weights / "resnet18.safetensors").write_bytes(b"other")
    with pytest.raises(DataError, match=r"resnet18\.safetensors does not match its hash in weights\.json: remove it"):
        upload_weights(account, weights)
    (weights / "weights.json").write_text("damaged")
    with pytest.raises(UserError, match=r"weights\.json is damaged"):
        upload_weights(account, weights)
    (weights / "weights.json").unlink()
    with pytest.raises(
        UserError, match=r"weights\.json lists no weights: fetch some with `imettk weights BACKBONE --out"
    ):
        upload_weights(account, weights)
    shutil.rmtree(weights)
    with pytest.raises(UserError, match="lists no weights"):
        upload_weights(account, weights)
    assert box.requests == []
