"""Families of timm at two image sizes, with three heads and images of 1 and 4 channels.

Each combination is made as a recipe would have it, with random weights; it runs forward and backward, at another size
of a stage too where the family can be told one, its layer groups hold each parameter once, and its state is saved and
loaded to the same outputs. The table says of each family which sizes its small member takes.

`python tools/bench/backbones.py --check` exits 1 where a combination fails. `--markdown` prints the table of
docs/networks.md.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load, save
from table import arguments_of, print_machine

from imettk.errors import ConfigError
from imettk.memory import keep_freed_memory
from imettk.models.backbones import make_backbone
from imettk.models.network import Network

Size = tuple[int, int]
HEADS = ("linear", "wide", "embedding")
CHANNELS = (1, 4)
NUM_CLASSES, NUM_GROUPS = 5, 2
GRAINS = (1, 2, 4, 8, 14, 16, 28, 32)  # of sizes, for the table


@dataclass(frozen=True)
class Family:
    """A family with a small member, its pretraining's size, and a second size; `stage` is a third one, if it can be
    told to run at one."""

    name: str
    model: str
    sizes: tuple[Size, Size]
    stage: Size | None = None


FAMILIES = (
    Family("ViT", "vit_tiny_patch16_224", ((224, 224), (96, 64)), (64, 64)),
    Family("DeiT", "deit_tiny_distilled_patch16_224", ((224, 224), (96, 64)), (64, 64)),
    Family("DINOv2", "vit_small_patch14_dinov2", ((518, 518), (98, 70)), (70, 70)),
    Family("DINOv3", "vit_tiny_patch16_dinov3_qkvb", ((256, 256), (96, 64)), (64, 64)),
    Family("EVA02", "eva02_tiny_patch14_224", ((224, 224), (98, 70)), (70, 70)),
    Family("BEiT", "beit_base_patch16_224", ((224, 224), (96, 64)), (64, 64)),
    Family("SigLIP", "vit_base_patch16_siglip_gap_224", ((224, 224), (96, 64)), (64, 64)),
    Family("Swin", "swin_tiny_patch4_window7_224", ((224, 224), (96, 64)), (64, 64)),
    Family("Swin V2", "swinv2_tiny_window8_256", ((256, 256), (96, 64)), (64, 64)),
    Family("MaxViT", "test_maxvit", ((160, 160), (96, 64)), (64, 64)),
    Family("CoAtNet", "test_coatnet", ((160, 160), (96, 64)), (64, 64)),
    Family("Hiera", "hiera_tiny_224", ((224, 224), (96, 64))),
    Family("MViTv2", "mvitv2_tiny", ((224, 224), (96, 96))),
    Family("GCViT", "gcvit_xxtiny", ((224, 224), (96, 64))),
    Family("CaiT", "cait_xxs24_224", ((224, 224), (96, 64))),
    Family("XCiT", "xcit_nano_12_p8_224", ((224, 224), (96, 64)), (64, 64)),
    Family("PVT v2", "pvt_v2_b0", ((224, 224), (96, 64)), (64, 64)),
    Family("TinyViT", "tiny_vit_5m_224", ((224, 224), (96, 64)), (64, 64)),
    Family("LeViT", "levit_128s", ((224, 224), (96, 64))),
    Family("ConvNeXt", "test_convnext", ((160, 160), (96, 64)), (64, 64)),
    Family("ResNet", "test_resnet", ((160, 160), (96, 64)), (64, 64)),
    Family("EfficientNet", "test_efficientnet", ((160, 160), (96, 64)), (64, 64)),
    Family("MobileNetV4", "mobilenetv4_conv_small_035", ((224, 224), (96, 64)), (64, 64)),
    Family("NFNet", "test_nfnet", ((160, 160), (96, 64)), (64, 64)),
)
QUICK = ("CoAtNet", "ConvNeXt", "ResNet")


def make(family: Family, size: Size, head: str, channels: int, *, seed: int) -> Network:
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"hidden": 16, "embedding_size": 8, "dropout": 0.1}
    mean, std = (0.5,) * channels, (0.25,) * channels
    backbone, last_levels = f"timm:{family.model}", 2 if head == "wide" else 1
    return Network(backbone=backbone, num_classes=NUM_CLASSES, mean=mean, std=std, head=head, last_levels=last_levels,
                   image_size=size, **settings)  # fmt: skip


def fault_of(family: Family, size: Size, head: str, channels: int) -> str:
    """Return the fault of a combination; empty if there is none."""
    network = make(family, size, head, channels, seed=0).train()
    for images_size in (size, *((family.stage,) if family.stage else ())):
        network.zero_grad()
        outputs = network(pixels(images_size, channels))
        if outputs.logits.shape != (2, NUM_CLASSES):
            return f"logits {tuple(outputs.logits.shape)} at {images_size}"
        outputs.logits.float().square().sum().backward()
        grads = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
        if not math.isfinite(sum(float(grad.sum()) for grad in grads.values())):
            return f"a gradient that is not finite at {images_size}"
        unused = sum(parameter.numel() for name, parameter in network.named_parameters() if name not in grads)
        if unused and not network.may_leave_unused:
            return f"{unused} parameters without a gradient at {images_size}"
    groups = network.layer_groups(NUM_GROUPS)
    names = sorted(name for group in groups for name in group)
    if names != sorted(name for name, _ in network.named_parameters()) or not all(groups):
        return "layer groups that are empty, or lack parameters"
    with torch.no_grad():
        images = pixels(family.stage or size, channels)  # the smaller ones are as good
        wanted = network.eval()(images).logits
        state = load(save({name: value.contiguous() for name, value in network.state_dict().items()}))
        again = make(family, size, head, channels, seed=1)
        again.load_state_dict(state)
        if not torch.equal(again.eval()(images).logits, wanted):
            return "other outputs after saving and loading"
    return ""


def pixels(size: Size, channels: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, *size, channels), dtype=torch.uint8, generator=generator)


def taken_sizes(family: Family) -> str:
    """Describe the sizes around 64 pixels that the small member takes."""

    def takes(size: Size) -> bool:
        try:
            with torch.device("meta"):
                make_backbone(f"timm:{family.model}", channels=3, size=size)
        except Exception:
            return False
        return True

    for grain in GRAINS:
        sides = [grain * (math.ceil(64 / grain) + more) for more in range(3)]
        if all(takes((side, side)) for side in sides):
            alone = "" if takes((sides[0], 2 * sides[0])) else ", squares only"
            return ("any" if grain == 1 else f"multiples of {grain}") + alone
    return "its own"


def start_worker() -> None:
    keep_freed_memory()
    torch.set_num_threads(1)  # most of the time goes into drawing weights, which is done by one


def play(family: Family, combinations: Sequence[tuple[Size, str, int]]) -> list[str]:
    """Try a family, print its row, and return what fails."""
    started, faults = time.perf_counter(), []
    for size, head, channels in combinations:
        what = f"{family.name}: {family.model} at {size[0]} x {size[1]}, {head}, {channels} channels"
        try:
            fault = fault_of(family, size, head, channels)
        except ConfigError as error:
            fault = str(error)
        except Exception as error:  # one that fails is a row: the others go on
            fault = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        if fault:
            faults.append(f"{what}: {fault}")
        gc.collect()
    passed = f"{len(combinations) - len(faults)} of {len(combinations)}"
    stage = "yes" if family.stage else "no"
    seconds = time.perf_counter() - started
    print(
        f"{family.name:<14}{family.model:<34}{passed:>9}{stage:>7}  {taken_sizes(family):<24}{seconds:>7.1f}",
        flush=True,
    )
    return faults


def print_markdown() -> None:
    """Print the table of docs/networks.md."""
    print("| family | small member | its own size | possible sizes | another size per stage |\n|" + " --- |" * 5)
    for family in FAMILIES:
        (height, width), _ = family.sizes
        stage = "yes" if family.stage else "no"
        print(f"| {family.name} | `{family.model}` | {height} x {width} | {taken_sizes(family)} | {stage} |")


def run(arguments: argparse.Namespace) -> int:
    print_machine("safetensors")
    families = [family for family in FAMILIES if not arguments.quick or family.name in QUICK]
    print(f"{'family':<14}{'member':<34}{'passed':>9}{'stage':>7}  {'sizes':<24}{'seconds':>7}")
    heads, started = HEADS[1:2] if arguments.quick else HEADS, time.perf_counter()
    tasks = [list(itertools.product(family.sizes[arguments.quick :], heads, CHANNELS)) for family in families]
    if arguments.quick:  # processes would import for longer than they try
        faults = list(itertools.chain.from_iterable(map(play, families, tasks)))
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(os.cpu_count(), mp_context=context, initializer=start_worker) as pool:
            faults = list(itertools.chain.from_iterable(pool.map(play, families, tasks)))
    for fault in faults:
        print(f"FAILED {fault}")
    print(f"{len(families)} families, {len(faults)} failures, {time.perf_counter() - started:.0f} seconds in all")
    return len(faults)


def main() -> None:
    parser = arguments_of(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/networks.md alone")
    arguments = parser.parse_args()
    if arguments.markdown:
        print_markdown()
        return
    faults = run(arguments)
    sys.exit(1 if arguments.check and faults else 0)


if __name__ == "__main__":
    main()
