"""The processes that train together: one on a CPU or GPU of its own, started by `imettk train` or by `torchrun`.

With one process everything here answers at once and nothing of `torch.distributed` is used. What the processes tell
each other about their way (stop, save, scores) goes over gloo, so that no step waits for a GPU to say it.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

PATIENCE = timedelta(hours=3)  # a process may write a checkpoint or score while the others wait
T = TypeVar("T")


class Team:
    """This process among `size` ones; `rank` 0 is the one that writes."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._control: Any = None

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def gather(self, part: Tensor) -> Tensor:
        """Every process's `part`, joined along the first dimension in order of rank, on the CPU."""
        if self.size == 1:
            return part
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, part.cpu(), group=self._control)
        return torch.cat(parts)

    def gather_live(self, part: Tensor) -> Tensor:
        """The same on the device, equal shapes only; gradients flow through this process's own part.

        The gradients of all processes, averaged and times `size`, are then those of the whole batch.
        """
        if self.size == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.size)]
        dist.all_gather(parts, part.detach().contiguous())
        parts[self.rank] = part
        return torch.cat(parts)

    def share(self, value: T) -> T:
        """What the first process says."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0, group=self._control)
        return box[0]

    def agree(self, flags: list[int]) -> list[int]:
        """The largest value of each flag over all processes."""
        if self.size == 1:
            return flags
        shared = torch.tensor(flags)
        dist.all_reduce(shared, dist.ReduceOp.MAX, group=self._control)
        return shared.tolist()

    def largest(self, values: Tensor) -> Tensor:
        """The largest of each value over all processes, on the CPU."""
        if self.size > 1:
            dist.all_reduce(values, dist.ReduceOp.MAX, group=self._control)
        return values

    def copy_first(self, tensors: list[Tensor]) -> None:
        """Give all processes the first one's tensors, in place, on the device."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def sum(self, value: float) -> float:
        """The sum over all processes."""
        if self.size > 1:
            shared = torch.tensor(value, dtype=torch.float64)
            dist.all_reduce(shared, group=self._control)
            value = float(shared)
        return value

    def leave(self) -> None:
        """Part from the others, at the end; else their connections' threads may abort the process that ends."""
        if self.size > 1:
            dist.destroy_process_group()

    def wrap(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network as all processes train it: gradients are averaged, BatchNorm statistics are the first one's."""
        if self.size == 1:
            return network
        devices = [device] if device.type == "cuda" else None
        # Stages freeze and unfreeze, and a network is wrapped anew for each; an unused head must not stop the rest.
        # DDP lays its buckets anew after the first backward pass, and a sum over three or more depends on its order:
        # a run that starts again would add up in another one. Looking for unused parameters keeps it from doing so.
        unused = self.size > 2 or bool(getattr(network, "may_leave_unused", False))
        return DistributedDataParallel(network, device_ids=devices, find_unused_parameters=unused)


def join_team(device: torch.device) -> Team:
    """Meet the other processes, as the environment that the launcher made says; alone without one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Team()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    team = Team(dist.get_rank(), dist.get_world_size())
    team._control = dist.new_group(backend="gloo", timeout=PATIENCE)
    return team


def local_rank() -> int:
    """Which of the processes on this machine this is."""
    return int(os.environ.get("LOCAL_RANK", "0"))
