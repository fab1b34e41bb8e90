"""Memory and operations of the networks that `imettk new --start strong` offers: the figures in its table.

For each, what autograd keeps for the backward pass of an image under autocast in bfloat16, as bytes of the tensors'
storages (fused attention keeps no matrix of weights, on a CPU as on a GPU), and the operations of a forward pass. No
GPU is needed: the figures are counted, not timed. Workspace of cuDNN and the caching allocator's waste come on top, for
which the table leaves a fifth of a T4's memory free.

`python tools/bench/activations.py [--check] [--quick]`
"""

from __future__ import annotations

from collections.abc import Sequence

import timm
import torch
from table import Row, arguments_of, finish, print_machine
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from imettk.starter.starting_points import STARTING_POINTS, StartingPoint

OFF = 0.15  # by which the table's figures may be off
BATCH = 2


def make(point: StartingPoint) -> nn.Module:
    sizes = {"img_size": point.side} if point.square else {}
    return timm.create_model(point.network, pretrained=False, num_classes=10, **sizes)


def count_activations(network: nn.Module, side: int) -> float:
    """Return the memory kept for the backward pass of an image, in 1e6 bytes."""
    own = {value.untyped_storage().data_ptr() for value in [*network.parameters(), *network.buffers()]}
    kept: dict[int, Tensor] = {}

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = value
        return value

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value),
        torch.autocast("cpu", torch.bfloat16),
    ):
        network.train()(torch.rand(BATCH, 3, side, side)).float().sum()
    # Weights that autocast has cast to bfloat16 are kept once, whatever the batch.
    cast = 2 * sum(value.numel() for value in network.parameters())
    return (sum(value.untyped_storage().nbytes() for value in kept.values()) - cast) / BATCH / 1e6


def count_gflop(network: nn.Module, side: int) -> float:
    """Return the 1e9 operations of an image's forward pass; a multiplication and its addition are two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.rand(1, 3, side, side))
    return counter.get_total_flops() / 1e9


def main(argv: Sequence[str] | None = None) -> None:
    """Print the counted figures beside those that imettk shows."""
    arguments = arguments_of(__doc__).parse_args(argv)
    print_machine()
    rows = []
    for point in [point for point in STARTING_POINTS if point.activation_mb][: 1 if arguments.quick else None]:
        network = make(point)
        name = f"{point.network.partition('.')[0]}, {point.side} px"
        mb, gflop = count_activations(network, point.side), count_gflop(network, point.side)
        # Told figures may be too high, never too low: a batch must fit.
        rows.append(Row(f"{name}: MB", [mb], "", [point.activation_mb], 1 + OFF))
        rows.append(Row(f"{name}: GFLOP", [gflop], "", [point.gflop], 1 + OFF))
    finish(rows, arguments)


if __name__ == "__main__":
    main()
