"""The processes that train together, each on its own CPU or GPU, started by `imettk train` or by `torchrun`.

A single process returns its own values and never touches `torch.distributed`. Decisions (stop, save, scores) go over
gloo even where gradients go over NCCL, so that no step waits for the GPU's queue to learn of one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from imettk.errors import DeviceError

PATIENCE = timedelta(hours=3)  # one process may score a large validation set while the others wait
T = TypeVar("T")


class ProcessGroup:
    """This process, number `rank` of `size`; rank 0 alone writes files."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._control: Any = None

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def all_gather(self, part: Tensor) -> Tensor:
        """Return every process's `part`, joined along the first dimension in order of rank, on the CPU."""
        if self.size == 1:
            return part
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, part.cpu(), group=self._control)
        return torch.cat(parts)

    def all_gather_with_grad(self, part: Tensor) -> Tensor:
        """Gather parts of equal shape on their device; gradients flow through this process's own part.

        The gradients of all processes, averaged and times `size`, are then those of the whole batch.
        """
        if self.size == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.size)]
        dist.all_gather(parts, part.detach().contiguous())
        parts[self.rank] = part  # the gathered copy has no graph; this one does
        return torch.cat(parts)

    def broadcast_object(self, value: T) -> T:
        """Return the value that the first process passes."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0, group=self._control)
        return box[0]

    def all_reduce_max(self, values: Tensor) -> Tensor:
        """Return the largest of each value over all processes; `values` lies on the CPU and is overwritten."""
        if self.size > 1:
            dist.all_reduce(values, dist.ReduceOp.MAX, group=self._control)
        return values

    def all_reduce_flags(self, flags: list[int]) -> list[int]:
        """Return the largest value of each flag over all processes."""
        return flags if self.size == 1 else self.all_reduce_max(torch.tensor(flags)).tolist()

    def broadcast(self, tensors: list[Tensor]) -> None:
        """Give all processes the first one's tensors, in place, on the device."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def all_reduce_sum(self, value: float) -> float:
        """Return the sum over all processes."""
        if self.size > 1:
            shared = torch.tensor(value, dtype=torch.float64)
            dist.all_reduce(shared, group=self._control)
            value = float(shared)
        return value

    def shutdown(self) -> None:
        """Close the connections at the end: their threads may otherwise abort the process as it exits."""
        if self.size > 1:
            dist.destroy_process_group()

    def wrap(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Wrap a network for training by all processes: gradients are averaged, BatchNorm statistics are rank 0's."""
        if self.size == 1:
            return network
        devices = [device] if device.type == "cuda" else None
        # Stages freeze and unfreeze, so a network is wrapped again for each; an unused head must not stop the rest.
        # DDP rebuilds its buckets after the first backward pass, and a sum over three or more depends on its order:
        # a run that starts again would add up in another order. Looking for unused parameters keeps it from doing so.
        unused = self.size > 2 or bool(getattr(network, "may_leave_unused", False))
        return DistributedDataParallel(network, device_ids=devices, find_unused_parameters=unused)


@dataclass(frozen=True)
class Compute:
    """Device, precision, and the processes that share the work.

    Attributes:
        dtype: of the forward pass: float32, or bfloat16 or float16 under autocast.
        processes: this one alone, unless a launcher started several.
        split: least number of pieces that each micro-batch is cut into; the launcher doubles it when memory runs out.
    """

    device: torch.device
    dtype: torch.dtype
    processes: ProcessGroup = field(default_factory=ProcessGroup)
    split: int = 1


def place_network(network: nn.Module, compute: Compute, *, sync_batchnorm: bool) -> nn.Module:
    """Return a network on its device, channels-last.

    Args:
        sync_batchnorm: compute BatchNorm's statistics over the batches of all processes.

    Raises:
        DeviceError: `sync_batchnorm` is set for several processes on CPUs.
    """
    if sync_batchnorm and compute.processes.size > 1:
        if compute.device.type == "cpu":
            raise DeviceError("`train.sync_batchnorm` needs GPUs: torch has it for no CPU; set it to False")
        network = convert_sync_batchnorm(network)
    moved: nn.Module = network.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def join_process_group(device: torch.device) -> ProcessGroup:
    """Join the processes named by the launcher's environment variables; without them this process is alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ProcessGroup()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    processes = ProcessGroup(dist.get_rank(), dist.get_world_size())
    processes._control = dist.new_group(backend="gloo", timeout=PATIENCE)
    return processes


def local_rank() -> int:
    """Return the number of this process among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))
