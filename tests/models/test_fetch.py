"""Downloads of pretrained weights, from local servers that answer like the real ones."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import huggingface_hub
import pretrainedmodels
import pytest
import timm
import torch
from safetensors.torch import load_file, save

from imettk.errors import ConfigError, UserError
from imettk.models.backbones import make_backbone
from imettk.models.fetch import fetch_weights
from imettk.models.weights_file import read_weights_info


class Server(BaseHTTPRequestHandler):
    """A server of files by path, with the headers of the Hugging Face hub."""

    files: ClassVar[dict[str, bytes]] = {}
    refused: ClassVar[dict[str, tuple[int, str]]] = {}  # by OWNER/NAME: the code, and the hub's word for it

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        content = self.files.get(self.path)
        code, word = self.refused.get("/".join(self.path.split("/")[1:3]), (404, "EntryNotFound"))
        self.send_response(code if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        if content is None:
            self.send_header("X-Error-Code", word)
        else:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.files.get(self.path, b""))


@pytest.fixture
def server() -> Iterator[str]:
    Server.files, Server.refused = {}, {}
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    running.server_close()


@pytest.mark.slow
def test_of_timm_through_the_hub(server, tmp_path):
    """The command runs in a process of its own, because the hub's library reads its address at import."""
    torch.manual_seed(1)
    body = timm.create_model("test_resnet", pretrained=False)
    name, tagged = (timm.get_pretrained_cfg(model).hf_hub_id for model in ("test_resnet", "test_resnet.r160_in1k"))
    assert name == tagged
    Server.files = {f"/{name}/resolve/main/model.safetensors": save(body.state_dict())}
    environment = os.environ | {"HF_ENDPOINT": server, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_DISABLE_XET": "1"}
    words = [sys.executable, "-m", "imettk", "weights", "timm:test_resnet", "timm:test_resnet.r160_in1k"]
    words += ["--out", str(tmp_path / "weights")]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "timm:test_resnet, trained with mean 0.5 0.5 0.5 and std 0.5 0.5 0.5, of 160 x 160 pixels" in done.stdout
    for stem in ("test_resnet", "test_resnet.r160_in1k"):
        path = tmp_path / "weights" / f"{stem}.safetensors"
        fetched, about = load_file(path), read_weights_info(path)
        assert all(torch.equal(fetched[key], value) for key, value in body.state_dict().items())
        assert (about.architecture, about.source) == ("timm:test_resnet", "timm:test_resnet.r160_in1k")
        assert about.mean == about.std == (0.5,) * 3 and about.size == (160, 160)
        make_backbone(f"timm:{stem}", channels=3, weights=str(tmp_path / "weights"))
    Server.files = {}
    words[4:6] = ["timm:test_vit"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("imettk: timm:test_vit cannot be fetched")


@pytest.mark.parametrize("damaged", [False, True])
def test_of_pretrainedmodels_against_the_hash_in_the_name(server, tmp_path, monkeypatch, damaged):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    torch.manual_seed(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's, about how pretrainedmodels calls it
        body = pretrainedmodels.resnet18(num_classes=1000, pretrained=None)
    state = {key.replace("last_linear", "fc"): value for key, value in body.state_dict().items()}
    file = io.BytesIO()
    torch.save(state, file)
    digest = hashlib.sha256(file.getvalue()).hexdigest()[:8]
    path = f"/resnet18-{digest}.pth"
    Server.files = {path: file.getvalue() + (b"x" if damaged else b"")}
    monkeypatch.setitem(pretrainedmodels.pretrained_settings["resnet18"]["imagenet"], "url", server + path)
    if damaged:
        with pytest.raises(UserError, match="invalid hash value"):
            fetch_weights(["pretrainedmodels:resnet18"], tmp_path / "weights")
        assert list((tmp_path / "weights").iterdir()) == []
        return
    with monkeypatch.context() as killed:
        replace = Path.replace
        killed.setattr(Path, "replace", lambda part, to: _die() if to.suffix == ".safetensors" else replace(part, to))
        with pytest.raises(KeyboardInterrupt):
            fetch_weights(["pretrainedmodels:resnet18"], tmp_path / "weights")
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["weights.json"]  # no file without its hash
    fetch_weights(["pretrainedmodels:resnet18"], tmp_path / "weights")
    fetched = load_file(tmp_path / "weights" / "resnet18.safetensors")
    listed = json.loads((tmp_path / "weights" / "weights.json").read_text())["resnet18.safetensors"]
    assert listed["source"] == "pretrainedmodels:resnet18"
    assert listed["sha256"] == hashlib.sha256((tmp_path / "weights" / "resnet18.safetensors").read_bytes()).hexdigest()
    assert torch.equal(fetched["layer4.0.conv1.weight"], body.state_dict()["layer4.0.conv1.weight"])
    Server.files = {}
    fetch_weights(["pretrainedmodels:resnet18"], tmp_path / "weights")  # it is there


@pytest.fixture
def hub(server, tmp_path, monkeypatch):
    """Replace the hub by a local server, with the hub's own client: OWNER/NAME -> its files."""
    client = functools.partial(huggingface_hub.hf_hub_download, endpoint=server, cache_dir=tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", client)

    def hold(name: str, **files: bytes) -> None:
        Server.files |= {f"/{name}/resolve/main/{file.replace('__', '.')}": held for file, held in files.items()}

    return hold


CONFIG = {
    "architecture": "test_vit",
    "num_classes": 10,
    "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3, "input_size": [3, 192, 160], "tag": "x"},
}


def in_bytes(state: dict) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["model__safetensors", "pytorch_model__bin"])
def test_of_a_repository_in_the_format_of_timm(hub, tmp_path, capsys, monkeypatch, kind):
    torch.manual_seed(3)
    body = timm.create_model("test_vit", num_classes=10)
    content = save(body.state_dict()) if kind == "model__safetensors" else in_bytes({"state_dict": body.state_dict()})
    hub("Owner/Some-L.1", config__json=json.dumps(CONFIG).encode(), **{kind: content})
    fetch_weights(["hf-hub:Owner/Some-L.1"], tmp_path / "weights")
    path = tmp_path / "weights" / "Owner--Some-L.1.safetensors"
    about = read_weights_info(path)
    assert (about.architecture, about.source) == ("timm:test_vit", "hf-hub:Owner/Some-L.1")
    assert (about.mean, about.std, about.size) == ((0.5,) * 3, (0.25,) * 3, (192, 160))
    assert json.loads((tmp_path / "weights" / "weights.json").read_text())[path.name]["source"] == about.source
    backbone = make_backbone("hf-hub:Owner/Some-L.1", channels=3, weights=str(tmp_path / "weights"))
    assert torch.equal(backbone.body.cls_token, body.cls_token)
    # What lies on this machine as the hub's library or timm leaves it needs no hub.
    shutil.rmtree(tmp_path / "weights")
    offline = functools.partial(huggingface_hub.hf_hub_download, local_files_only=True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    fetch_weights(["hf-hub:Owner/Some-L.1"], tmp_path / "weights")
    assert read_weights_info(path) == about
    (snapshot,) = (tmp_path / "hub").glob("models--Owner--Some-L.1/snapshots/*")
    backbone = make_backbone("hf-hub:Owner/Some-L.1", channels=3, weights=str(snapshot))
    assert torch.equal(backbone.body.cls_token, body.cls_token)
    assert "mean 0.5 0.5 0.5 and std 0.25 0.25 0.25, of 192 x 160 pixels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "hf-hub:a/b is not in timm's format: it has no config.json"),
        (
            {"architectures": ["ViTModel"]},
            "hf-hub:a/b is not in timm's format: its config.json names no `architecture`",
        ),
        (
            CONFIG | {"architecture": "vit_of_tomorrow"},
            f"hf-hub:a/b is of vit_of_tomorrow, which timm {timm.__version__}",
        ),
        (CONFIG, "hf-hub:a/b holds neither model.safetensors nor pytorch_model.bin"),
    ],
)
def test_of_a_repository_of_another_kind_is_one_line(hub, tmp_path, config, message):
    hub("a/b", **({} if config is None else {"config__json": json.dumps(config).encode()}))
    with pytest.raises(ConfigError, match="^" + re.escape(message)):
        fetch_weights(["hf-hub:a/b"], tmp_path / "weights")


@pytest.mark.parametrize(
    ("code", "word", "message"),
    [
        (
            403,
            "GatedRepo",
            r"^hf-hub:a/b is gated: agree to its terms at https://huggingface\.co/a/b, and set HF_TOKEN$",
        ),
        (401, "RepoNotFound", r"^hf-hub:a/b: the hub has no such repository, or it is private \(then set HF_TOKEN\)$"),
    ],
)
def test_of_a_repository_that_is_not_given_is_one_line(hub, tmp_path, code, word, message):
    Server.refused = {"a/b": (code, word)}
    with pytest.raises(UserError, match=message):
        fetch_weights(["hf-hub:a/b"], tmp_path / "weights")


def test_a_hub_that_cannot_be_reached_is_one_line(hub, tmp_path, monkeypatch):
    offline = functools.partial(huggingface_hub.hf_hub_download, local_files_only=True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(UserError, match=r"^hf-hub:a/b is not on this machine, and the hub cannot be reached$"):
        fetch_weights(["hf-hub:a/b"], tmp_path / "weights")


def test_weights_that_do_not_fit_their_own_network_get_no_name(hub, tmp_path):
    other = save(timm.create_model("test_resnet").state_dict())
    hub("a/b", config__json=json.dumps(CONFIG).encode(), model__safetensors=other)
    with pytest.raises(ConfigError, match="does not fit a/b: 78 of its 78 tensors are missing"):
        fetch_weights(["hf-hub:a/b"], tmp_path / "weights")
    assert list((tmp_path / "weights").iterdir()) == []


def _die():
    raise KeyboardInterrupt


def test_a_network_that_is_not_there_is_told_before_any_download(tmp_path):
    with pytest.raises(ConfigError, match="has no network 'no_such_net'"):
        fetch_weights(["timm:test_resnet", "timm:no_such_net"], tmp_path / "weights")
    for name in ("hf-hub:name", "hf-hub:a/b/c", "hf-hub:../b/c"):
        with pytest.raises(ConfigError, match="is not a repository: write hf-hub:OWNER/NAME"):
            fetch_weights(["timm:test_resnet", name], tmp_path / "weights")
    with pytest.raises(ConfigError, match="timm has no weights 'in2k' of test_resnet; it has r160_in1k"):
        fetch_weights(["timm:test_resnet.in2k"], tmp_path / "weights")
    assert not (tmp_path / "weights").exists()
