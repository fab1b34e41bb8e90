"""Adapters learn in place of a backbone's weights, and the merged network is peft's."""

from __future__ import annotations

import importlib.util
import re

import pytest
import torch
from torch import Tensor, nn

from imettk.config import ModelConfig
from imettk.errors import ConfigError
from imettk.models.lora import add_adapters, is_adapter, merge_adapters, require_adapters
from imettk.models.network import Network

needs_peft = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs pip install -e .[lora]")
SIZE = (64, 64)
LORA = ModelConfig(backbone="timm:test_vit", lora_rank=4, lora_alpha=6.0)


def make(backbone: str = "timm:test_vit") -> Network:
    torch.manual_seed(0)
    return Network(backbone=backbone, num_classes=3, mean=(0.5,) * 3, std=(0.3,) * 3, image_size=SIZE)


def adapted() -> Network:
    """Return a network whose adapters have learned something."""
    network = make()
    add_adapters(network, LORA, SIZE)
    for name, value in network.named_parameters():
        if is_adapter(name):
            torch.nn.init.normal_(value, std=0.1)
    return network


@pytest.fixture
def peft_or_not(monkeypatch):
    """Pretend that peft is there, for a test that only asks for it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)


@needs_peft
def test_merged_weights_are_those_of_peft_and_predict_the_same():
    network, images = adapted().eval(), torch.randint(0, 256, (2, *SIZE, 3), dtype=torch.uint8)
    merged = merge_adapters(network.state_dict(), rank=LORA.lora_rank, alpha=LORA.lora_alpha)
    plain = make().eval()
    assert list(merged) == list(plain.state_dict())
    plain.load_state_dict(merged)
    torch.testing.assert_close(plain(images).logits, network(images).logits, rtol=1e-4, atol=1e-5)
    layer = network.backbone.body.blocks[1].attn.qkv
    layer.merge()
    torch.testing.assert_close(plain.backbone.body.blocks[1].attn.qkv.weight, layer.base_layer.weight)


@needs_peft
def test_adapters_begin_as_no_change_and_are_all_that_learns_beside_the_head():
    images = torch.randint(0, 256, (2, *SIZE, 3), dtype=torch.uint8)
    network, plain = make(), make()
    text = add_adapters(network, LORA, SIZE)
    assert re.fullmatch(r"LoRA of rank 4 on \d+ linear layers: \d+\.\d% of the backbone learns", text)
    assert torch.equal(network.eval()(images).logits, plain.eval()(images).logits)
    groups = network.layer_groups(3)
    assert groups[-1] == [f"head.{name}" for name, _ in network.head.named_parameters()]
    assert all(is_adapter(name) for group in groups[:-1] for name in group)
    blocks = [{int(name.split(".")[3]) for name in group} for group in groups[:-1]]  # backbone.body.blocks.N
    assert blocks == [{0, 1}, {2, 3}, {4, 5}] or max(blocks[1]) < min(blocks[2])


@needs_peft
def test_a_network_at_another_size_has_the_same_adapters():
    network, images = adapted(), torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8)
    network(images).logits.sum().backward()
    assert all(value.grad is not None for name, value in network.named_parameters() if is_adapter(name))


class ReadsWeight(nn.Module):
    """A linear layer whose weight is read, as BEiT, EVA and Swin V2 do with their `qkv`: no adapter is asked there."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tokens: Tensor) -> Tensor:
        return nn.functional.linear(tokens, self.inner.weight, self.inner.bias)


@needs_peft
def test_layers_whose_weight_is_only_read_are_left_and_named():
    network = make()
    block = network.backbone.body.blocks[1].attn
    block.proj = ReadsWeight(block.proj)
    text = add_adapters(network, LORA, SIZE)
    assert text.endswith("; it passes over 1, whose weight the network reads itself: blocks.1.attn.proj.inner")
    assert not any(is_adapter(name) and ".proj.inner." in name for name, _ in network.named_parameters())


@pytest.mark.usefixtures("peft_or_not")
@pytest.mark.parametrize(
    ("backbone", "layers", "line"),
    [
        ("timm:test_resnet", "", r"`model.lora_rank` must be 0: timm:test_resnet has no linear layers"),
        ("timm:test_vit", "no_such", r"`model.lora_layers` 'no_such' matches no linear layer .* blocks.0.attn.qkv"),
    ],
)
def test_networks_and_patterns_without_linear_layers_are_refused(backbone, layers, line):
    with torch.device("meta"):
        network = make(backbone)
    with pytest.raises(ConfigError, match=line) as caught:
        require_adapters(network, ModelConfig(backbone=backbone, lora_rank=4, lora_layers=layers), SIZE)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("peft_or_not")
def test_a_pattern_chooses_layers_by_their_names():
    with torch.device("meta"):
        network = make()
    chosen = require_adapters(network, ModelConfig(lora_rank=4, lora_layers=r"\.attn\."), SIZE)
    assert chosen[:2] == ["body.blocks.0.attn.qkv", "body.blocks.0.attn.proj"]
    assert all(".attn." in name for name in chosen)


def test_without_peft_a_line_says_so(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"`model.lora_rank` needs peft; set it to 0, or pip install 'peft>=0.12'"):
        require_adapters(make(), LORA, SIZE)


def test_merging_is_a_sum_of_the_weight_and_the_scaled_product():
    tensors: dict[str, Tensor] = {
        "a.base_layer.weight": torch.ones(3, 5),
        "a.base_layer.bias": torch.arange(3.0),
        "a.lora_A.default.weight": torch.rand(2, 5),
        "a.lora_B.default.weight": torch.rand(3, 2),
        "b.weight": torch.rand(4),
    }
    merged = merge_adapters(tensors, rank=2, alpha=3.0)
    up, down = tensors["a.lora_B.default.weight"], tensors["a.lora_A.default.weight"]
    expected = [[1 + 1.5 * sum(up[i, k] * down[k, j] for k in range(2)) for j in range(5)] for i in range(3)]
    torch.testing.assert_close(merged["a.weight"], torch.tensor(expected))
    assert list(merged) == ["a.weight", "a.bias", "b.weight"] and merged["b.weight"] is tensors["b.weight"]
    assert merge_adapters(merged, rank=2, alpha=3.0) == merged


@pytest.mark.parametrize(
    "wrong", [{"lora_rank": -1}, {"lora_alpha": 3.0}, {"lora_layers": "attn"}, {"lora_rank": 2, "lora_layers": "("}]
)
def test_settings_that_do_nothing_or_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match="`lora_"):
        ModelConfig(**wrong)
