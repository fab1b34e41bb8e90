"""Pretrained weights fetched from servers on this machine that speak like the real ones."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pretrainedmodels
import pytest
import timm
import torch
from safetensors.torch import load_file, save

from imettk.errors import ConfigError, UserError
from imettk.models.backbones import make_backbone
from imettk.models.fetch import fetch_weights


class Server(BaseHTTPRequestHandler):
    """Gives files by their address, with the headers that the Hugging Face hub sends."""

    files: ClassVar[dict[str, bytes]] = {}

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        content = self.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        else:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.files.get(self.path, b""))


@pytest.fixture
def server() -> Iterator[str]:
    Server.files = {}
    one = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=one.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{one.server_address[1]}"
    one.shutdown()
    one.server_close()


@pytest.mark.slow
def test_of_timm_through_the_hub(server, tmp_path):
    """In a process of its own: the hub's library reads its address when it is imported."""
    torch.manual_seed(1)
    body = timm.create_model("test_resnet", pretrained=False)
    name = timm.get_pretrained_cfg("test_resnet").hf_hub_id
    Server.files = {f"/{name}/resolve/main/model.safetensors": save(body.state_dict())}
    environment = os.environ | {"HF_ENDPOINT": server, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_DISABLE_XET": "1"}
    words = [sys.executable, "-m", "imettk", "weights", "timm:test_resnet", "--out", tmp_path / "weights"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found = load_file(tmp_path / "weights" / "test_resnet.safetensors")
    assert all(torch.equal(found[key], value) for key, value in body.state_dict().items())
    make_backbone("timm:test_resnet", channels=3, weights=str(tmp_path / "weights"))
    Server.files = {}
    words[4] = "timm:test_vit"
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
        killed.setattr(Path, "replace", lambda one, to: _die() if to.suffix == ".safetensors" else replace(one, to))
        with pytest.raises(KeyboardInterrupt):
            fetch_weights(["pretrainedmodels:resnet18"], tmp_path / "weights")
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["weights.json"]  # no file without its hash
    fetch_weights(["pretrainedmodels:resnet18"], tmp_path / "weights")
    found = load_file(tmp_path / "weights" / "resnet18.safetensors")
    listed = json.loads((tmp_path / "weights" / "weights.json").read_text())["resnet18.safetensors"]
    assert listed["source"] == "pretrainedmodels:resnet18"
    assert listed["sha256"] == hashlib.sha256((tmp_path / "weights" / "resnet18.safetensors").read_bytes()).hexdigest()
    assert torch.equal(found["layer4.0.conv1.weight"], body.state_dict()["layer4.0.conv1.weight"])
    Server.files = {}
    fetch_weights(["pretrainedmodels:resnet18"], tmp_path / "weights")  # it is there


def _die():
    raise KeyboardInterrupt


def test_a_network_that_is_not_there_is_told_before_any_download(tmp_path):
    with pytest.raises(ConfigError, match="has no network 'no_such_net'"):
        fetch_weights(["timm:test_resnet", "timm:no_such_net"], tmp_path / "weights")
    assert not (tmp_path / "weights").exists()
