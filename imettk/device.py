"""Device and precision, by what the hardware can really do rather than what it reports."""

from __future__ import annotations

import functools
import os
import re
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from typing import Literal

import cv2
import torch

from imettk.errors import DeviceError


def choose_device(wanted: Literal["auto", "cpu", "cuda"], rank: int = 0) -> torch.device:
    """Return the device to work on; process `rank` of several gets the GPU of that number.

    Raises:
        DeviceError: a GPU is asked for and there is none, there are fewer than processes, or this torch was not built
            for it.
    """
    if "TPU_NAME" in os.environ or "TPU_WORKER_ID" in os.environ:
        raise DeviceError("this machine is a TPU host; imettk needs a CPU or an NVIDIA GPU: choose another accelerator")
    if wanted == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        if wanted == "cuda":
            raise DeviceError("--session.device cuda: torch sees no GPU here; use auto or cpu")
        return torch.device("cpu")
    if rank > 0:
        if rank >= (count := torch.cuda.device_count()):
            raise DeviceError(f"process {rank} has no GPU of its own, since there are only {count}: lower --processes")
        torch.cuda.set_device(rank)
    # torch reports a GPU that it was not built for as available, and then fails in the first operation.
    if fault := unsupported_gpu():
        raise DeviceError(f"{fault}; choose another accelerator (NvidiaTeslaT4 on Kaggle), or --session.device cpu")
    return torch.device("cuda", torch.cuda.current_device())


def unsupported_gpu() -> str | None:
    """Return why this torch cannot use the current GPU, or None."""
    major, minor = torch.cuda.get_device_capability()
    # Binary code runs on GPUs of the same major number and the same or a later minor one; PTX on any later GPU.
    for arch in torch.cuda.get_arch_list():
        named = re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", arch)
        if named is None:  # as AMD's gfx90a, which says nothing about capabilities
            return None
        kind, built = named[1], (int(named[2]), int(named[3]))
        if (kind == "sm" and built[0] == major and built[1] <= minor) or (
            kind == "compute" and built <= (major, minor)
        ):
            return None
    name = torch.cuda.get_device_name()
    built_for = ", ".join(torch.cuda.get_arch_list())
    return f"torch {torch.__version__} has no code for {name} (sm_{major}{minor}; it has {built_for})"


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """Return the dtype to compute in: float32, bfloat16 or float16.

    `auto` chooses bfloat16 only if the hardware supports it: emulated, it is several times slower than float32.
    """
    if wanted != "auto":
        return getattr(torch, wanted)
    if _has_bfloat16(device):
        return torch.bfloat16
    return torch.float16 if device.type == "cuda" else torch.float32


def fast_precisions(device: torch.device) -> list[str]:
    """Return the names of the precisions that the hardware computes in, without those that it only emulates.

    `tf32` is float32 with 10 bits of fraction, in which cuDNN's convolutions compute where the GPU has it.
    """
    names = ["float32"]
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability()
        names += ["tf32"] if capability >= (8, 0) else []
        # Before tensor cores, GPUs for games computed 64 times slower in float16 than in float32.
        names += ["float16"] if capability >= (7, 0) else []
    return [*names, "bfloat16"] if _has_bfloat16(device) else names


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Private names of torch: a name that this version lacks counts as unsupported.
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in tests)


@functools.cache
def bfloat16_convolutions_fail() -> bool:
    """Return whether bfloat16 convolutions on maps of one pixel have wrong gradients on this CPU.

    In the backward pass of a 3 x 3 convolution of stride 2 on such maps, torch 2.14.1 reads uninitialised memory if the
    CPU supports bfloat16: the gradients differ each time, and are sometimes NaN.
    """
    generator = torch.Generator().manual_seed(0)
    convolution = torch.nn.Conv2d(16, 16, 3, stride=2, padding=1, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(torch.randn(convolution.weight.shape, generator=generator))
    maps = torch.randn((4, 16, 1, 1), generator=generator).requires_grad_()
    exact = torch.autograd.grad(convolution(maps).square().sum(), [maps, convolution.weight])
    for _ in range(8):
        # Fill memory with NaN and free it, so that a read of uninitialised memory shows.
        litter = [torch.full((1 << 12,), float("nan")) for _ in range(64)]
        del litter
        with torch.autocast("cpu", torch.bfloat16):
            loss = convolution(maps).float().square().sum()
        gradients = torch.autograd.grad(loss, [maps, convolution.weight])
        # bfloat16 has 8 bits of precision: a wrong gradient is off by far more than rounding.
        pairs = zip(gradients, exact, strict=True)
        if not all(torch.allclose(gradient, expected, rtol=0.2, atol=1.0) for gradient, expected in pairs):
            return True
    return False


def meets_single_pixels(network: torch.nn.Module, image: torch.Tensor) -> bool:
    """Return whether a convolution larger than 1 x 1 in the network gets a map of one pixel, for an image like this."""
    has_met = False

    def look(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal has_met
        has_met |= max(module.kernel_size) > 1 and max(inputs[0].shape[2:]) == 1  # type: ignore[arg-type]

    hooks = [
        module.register_forward_pre_hook(look) for module in network.modules() if isinstance(module, torch.nn.Conv2d)
    ]
    try:
        with torch.inference_mode():
            network.eval()(image)
    finally:
        for hook in hooks:
            hook.remove()
    return has_met


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context that computes in the tensors' own precision; the meta device has no other."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def use_deterministic_algorithms() -> None:
    """Make CUDA compute the same bits each time, or raise in operations that cannot."""
    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # cuBLAS reads it when it starts: set before any operation
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False  # it chooses algorithms by their measured time, which differs between runs


def describe(device: torch.device) -> dict[str, str]:
    """Return hardware and versions, which must stay the same for a run to give the same bits."""
    on_gpu = device.type == "cuda"
    machine = torch.cuda.get_device_name(device) if on_gpu else torch.backends.cpu.get_cpu_capability()
    versions = {name: version(name) for name in ("torch", "timm", "numpy", "albumentations")}
    # By its module: OpenCV comes in distributions of several names.
    return {"device": machine, "threads": str(torch.get_num_threads()), **versions, "opencv": cv2.__version__}
