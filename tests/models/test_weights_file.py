"""Files of weights from any source are found and read, and no code in them runs."""

import argparse
import json
import pickle
import warnings

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from imettk.errors import ConfigError, MissingFileError
from imettk.models.weights_file import (
    WeightsInfo,
    find_weights,
    info_of_training,
    read_header,
    read_hub_config,
    read_weights,
    read_weights_info,
    save_weights,
)

ONE = {"conv.weight": torch.arange(6.0).reshape(1, 6)}
ABOUT = WeightsInfo(architecture="timm:test_vit", mean=(0.5,) * 3, std=(0.25,) * 3, size=(160, 160), source="timm:x.y")


def touched(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("files", "model", "found"),
    [
        (["a.pth", "a.safetensors", "a.tag.safetensors"], "a", "a.safetensors"),
        (["a.pth", "a.tag.safetensors"], "a", "a.pth"),
        (["a.tag.safetensors", "ab.tag.safetensors"], "a", "a.tag.safetensors"),
        (["a.tag.safetensors", "a.other.safetensors"], "a.other", "a.other.safetensors"),
        (["owner--name.safetensors", "name.safetensors"], "owner/name", "owner--name.safetensors"),
        (["config.json", "model.safetensors", "pytorch_model.bin"], "a", "model.safetensors"),
        (["config.json", "pytorch_model.bin"], "a", "pytorch_model.bin"),
    ],
)
def test_a_folder_holds_the_weights_of_a_network(tmp_path, files, model, found):
    assert find_weights(touched(tmp_path, *files), model) == tmp_path / found


@pytest.mark.parametrize("files", [[], ["b.safetensors"], ["model.safetensors"], ["ab.safetensors"]])
def test_missing_weights_are_named(tmp_path, files):
    touched(tmp_path, *files)
    message = r"a\.safetensors and .*a\.pth not found; attach the weights or set it to none"
    with pytest.raises(MissingFileError, match=message):
        find_weights(tmp_path, "a")
    with pytest.raises(MissingFileError, match=r"gone\.pth not found; attach the weights or set it to none"):
        find_weights(tmp_path / "gone.pth", "a")


def test_of_two_tags_one_has_to_be_named(tmp_path):
    touched(tmp_path, "a.x.safetensors", "a.y.safetensors")
    with pytest.raises(ConfigError, match=r"holds a\.x\.safetensors, a\.y\.safetensors: set it to one of them"):
        find_weights(tmp_path, "a")


def test_dicts_in_dicts_are_read_with_dots_and_what_is_no_tensor_is_named(tmp_path):
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}
    best, options = np.float64(0.75), argparse.Namespace(model="test_vit", lr=0.1)
    saved = {"state_dict": ONE, "epoch": 3, "best": best, "args": options, "optimizer": optimizer}
    torch.save(saved, tmp_path / "checkpoint-3.pth.tar")
    content = read_weights(tmp_path / "checkpoint-3.pth.tar")
    assert list(content.tensors) == ["state_dict.conv.weight", "optimizer.state.0.step"]
    assert torch.equal(content.tensors["state_dict.conv.weight"], ONE["conv.weight"])
    assert content.others == ("epoch", "best", "args", "optimizer") and content.architecture == "test_vit"


def test_safetensors_under_another_ending_are_known_by_their_content(tmp_path):
    save_file(ONE, tmp_path / "w.bin")
    assert torch.equal(read_weights(tmp_path / "w.bin").tensors["conv.weight"], ONE["conv.weight"])


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path):
    canary, path = tmp_path / "ran", tmp_path / "w.pth"
    torch.save(ONE | {"extra": Harmful(str(canary))}, path)
    with pytest.raises(ConfigError, match=r"w\.pth needs \w+\.open unpickled, .*not loaded: .*only its state dict"):
        read_weights(path)
    assert not canary.exists()
    torch.load(path, weights_only=False)["extra"].close()
    assert canary.exists()  # it would have run


def test_a_whole_module_and_a_program_are_refused_in_a_line_each(tmp_path):
    torch.save({"model": timm.create_model("test_vit")}, tmp_path / "module.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that TorchScript is of yesterday
        torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "program.pt")
    with pytest.raises(ConfigError, match=r"needs timm\.models\.vision_transformer\.VisionTransformer unpickled"):
        read_weights(tmp_path / "module.pt")
    with pytest.raises(ConfigError, match=r"program\.pt is TorchScript, a program") as error:
        read_weights(tmp_path / "program.pt")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"broken", b"", pickle.dumps({"a": object}), b"\x08\0\0\0\0\0\0\0{broken}"])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_broken_file_is_named(tmp_path, suffix, content):
    (tmp_path / f"w.{suffix}").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"w\.{suffix} is not a weights file \(\w+: .*\)$") as error:
        read_weights(tmp_path / f"w.{suffix}")
    assert "\n" not in str(error.value)


def test_a_file_of_one_tensor_is_refused(tmp_path):
    torch.save(torch.zeros(2), tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="holds a Tensor instead of tensors by name"):
        read_weights(tmp_path / "w.pth")


def test_what_was_written_is_read_back(tmp_path):
    save_weights(tmp_path / "w.safetensors", ONE, ABOUT)
    assert read_weights_info(tmp_path / "w.safetensors") == ABOUT
    assert json.loads(read_header(tmp_path / "w.safetensors")["pretrained"])["source"] == "timm:x.y"
    assert torch.equal(read_weights(tmp_path / "w.safetensors").tensors["conv.weight"], ONE["conv.weight"])
    save_file(ONE, tmp_path / "plain.safetensors", {"format": "pt"})
    torch.save(ONE, tmp_path / "plain.pth")
    assert (
        read_weights_info(tmp_path / "plain.safetensors") == read_weights_info(tmp_path / "plain.pth") == WeightsInfo()
    )


@pytest.mark.parametrize("header", ["[", "[]", '{"mean": [0.5]}', '{"mean": [0.5], "std": [0]}', '{"size": 3}'])
def test_a_header_that_cannot_be_read_is_named(tmp_path, header):
    save_file(ONE, tmp_path / "w.safetensors", {"pretrained": header})
    with pytest.raises(ConfigError, match=r"w\.safetensors has an invalid description of its weights"):
        read_weights_info(tmp_path / "w.safetensors")


def test_a_training_says_what_it_is_of():
    images = {"mean": [0.2], "std": [0.3], "image_size": [32, 48]}
    model = {"backbone": "timm:test_vit"}
    expected = WeightsInfo(
        architecture="timm:test_vit", mean=(0.2,), std=(0.3,), size=(32, 48), source="a training of imettk"
    )
    assert info_of_training({"images": images, "model": model}) == expected
    # A checkpoint of an earlier version says it in its recipe alone; a newer one beside that.
    assert info_of_training({"recipe": {"images": images, "model": model}}) == expected
    left_open = {"images": images | {"mean": None, "std": None}, "model": {"backbone": "hf-hub:a/b"}}
    assert info_of_training({"recipe": left_open, "images": images, "model": model}) == expected


def test_a_config_of_the_hub_says_what_its_weights_are_of(tmp_path):
    cfg = {"input_size": [3, 384, 320], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "num_classes": 0}
    expected = WeightsInfo(architecture="timm:test_vit", mean=(0.5,) * 3, std=(0.25,) * 3, size=(384, 320), source="")
    for settings in ({"pretrained_cfg": cfg}, cfg):  # today's form, and timm's first
        (tmp_path / "some.json").write_text(json.dumps({"architecture": "test_vit"} | settings))
        assert read_hub_config(tmp_path / "some.json") == expected
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "test_vit", "pretrained_cfg": cfg}))
    torch.save(ONE, tmp_path / "pytorch_model.bin")
    assert read_weights_info(tmp_path / "pytorch_model.bin") == expected


@pytest.mark.parametrize(
    "text", ['{"architectures": ["ViTForImageClassification"]}', "[]", "{", '{"architecture": "a", "mean": 3}']
)
def test_a_config_of_another_format_is_one_line(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"^hf-hub:a/b is not in timm's format: its config\.json names no"):
        read_hub_config(tmp_path / "config.json", "hf-hub:a/b")
