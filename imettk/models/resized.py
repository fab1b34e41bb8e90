"""A timm network at another image size than the one it was built for.

Convolutional networks do not depend on the size. Transformers hold positions: of an image's patches, or of a window's
pixels. timm resamples them once, when a network is given its size (`set_input_size`). A training whose stages have
several sizes has one set of weights, so at a stage of another size they are resampled in every step, and what the
positions learn there is learned by the original weights.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from imettk.device import without_autocast
from imettk.models.image_sizes import Size, SizeMisfit, one_line, run_on_shapes


def set_size(body: Any, channels: int, size: Size) -> None:
    """Set the image size of a timm network that has `set_input_size`, in place: its positions are resampled.

    Raises:
        SizeMisfit: the size does not fit.
    """
    _set_input_size(body, size)
    run_on_shapes(require_whole_patches, body, channels=channels, size=size)


def _set_input_size(body: Any, size: Size) -> None:
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about the way timm resamples tables
            body.set_input_size(size)
    except Exception as error:
        raise SizeMisfit(one_line(error)) from None


def require_whole_patches(body: nn.Module, images: Tensor) -> None:
    """Run a network; raise `SizeMisfit` if its patches leave out the last rows or columns of pixels."""

    def check(module: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
        size, patch = tuple(inputs[0].shape[-2:]), module.kernel_size
        cuts = patch == module.stride and module.padding in ((0, 0), "valid") and size == tuple(images.shape[-2:])
        if cuts and any(side % length for side, length in zip(size, patch, strict=True)):
            raise SizeMisfit(f"its patches are {patch[0]} x {patch[1]} pixels")

    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(check)
    body(images)


class Resized:
    """A timm network at another size, on the weights of the original.

    Resampling is a matrix product, because the backward pass of torch's own interpolation is not deterministic on a
    GPU.

    Args:
        body: the original, which stays unchanged.

    Raises:
        SizeMisfit: see `set_size`.
    """

    def __init__(self, body: nn.Module, channels: int, size: Size) -> None:
        shared = [*body.parameters(), *body.buffers()]
        self._original, self._body = body, copy.deepcopy(body, {id(tensor): tensor for tensor in shared})
        set_size(self._body, channels, size)
        before, after = dict(body.named_parameters()), dict(self._body.named_parameters())
        changed = {name: after[name].shape for name in before if after[name] is not before[name]}
        matrices = _find_matrices(body, size, changed) if changed else {}  # Swin V2's tables are buffers
        self._resampled: list[_Resampled] = []
        for name, shape in changed.items():
            parent, _, leaf = name.rpartition(".")
            module = self._body.get_submodule(parent)
            delattr(module, leaf)  # no longer a parameter: `body` sets a computed tensor
            matrix = matrices[name].to(before[name].device)
            self._resampled.append(_Resampled(before[name], module, leaf, matrix, shape))

    def body(self) -> Any:
        """Return the network with the original's current weights and modes."""
        for original, module in zip(self._original.modules(), self._body.modules(), strict=True):
            module.training = original.training
            if "grad_checkpointing" in vars(original):
                module.grad_checkpointing = original.grad_checkpointing
        for positions in self._resampled:
            setattr(positions.module, positions.leaf, positions.resample())
        return self._body


class _Resampled(NamedTuple):
    """Positions at another size: the module and name that hold them, and how to compute them.

    Attributes:
        matrix: weights of the original positions in each new one, float32 (N', N).
        shape: shape of the new positions; see `_channel_axis`.
    """

    original: nn.Parameter
    module: nn.Module
    leaf: str
    matrix: Tensor
    shape: torch.Size

    def resample(self) -> Tensor:
        """Return the positions at the other size, in float32 like the originals."""
        with without_autocast(self.matrix.device):
            return _from_rows(self.matrix @ _to_rows(self.original), self.shape)


def _find_matrices(body: nn.Module, size: Size, changed: dict[str, torch.Size]) -> dict[str, Tensor]:
    """Return the matrix by which timm resamples each of these parameters: its result for an identity matrix."""
    originals = dict(body.named_parameters())
    # Tables of the same form have the same matrix, so only one of them is resampled here.
    forms = {
        name: (name.rpartition(".")[2], _grid(originals[name].shape), _grid(shape)) for name, shape in changed.items()
    }
    chosen = {form: name for name, form in forms.items()}
    memo: dict[int, Any] = {id(buffer): buffer for buffer in body.buffers()}
    for name, original in originals.items():
        value = original.data.to("meta")
        if name in chosen.values():
            num_positions = len(_to_rows(value))
            value = _from_rows(torch.eye(num_positions, device="cpu"), original.shape)
        memo[id(original)] = nn.Parameter(value)
    resized = copy.deepcopy(body, memo)
    _set_input_size(resized, size)
    return {name: _to_rows(resized.get_parameter(chosen[form]).data) for name, form in forms.items()}


def _channel_axis(shape: torch.Size) -> int:
    """Return the axis of channels: the first of (heads, H, W), the last of (1, N, F), (1, H, W, F) and (N, heads)."""
    return 0 if len(shape) == 3 and shape[0] != 1 else len(shape) - 1


def _grid(shape: torch.Size) -> tuple[int, ...]:
    axis = _channel_axis(shape)
    return tuple(shape[:axis]) + tuple(shape[axis + 1 :])


def _to_rows(value: Tensor) -> Tensor:
    """Return one row per position, (N, channels)."""
    return value.movedim(_channel_axis(value.shape), -1).flatten(0, -2)


def _from_rows(rows: Tensor, shape: torch.Size) -> Tensor:
    """Return rows of positions in the layout of a shape, with the rows' number of channels."""
    return rows.view(*_grid(shape), rows.shape[1]).movedim(-1, _channel_axis(shape))
