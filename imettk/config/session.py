"""Settings of a session, and what the processes of one hand to each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from imettk.config.section import Section

MOST_PROCESSES = 256
# Environment variables of a session's processes. The session's start as `time.monotonic()` has it, which no change of
# the clock moves; set by a kernel, and by `imettk train` for its processes.
SESSION_START = "IMETTK_SESSION_START"
# The number of pieces to cut micro-batches into; set when several processes start again because memory ran out.
SPLIT = "IMETTK_SPLIT"
HINTS = "IMETTK_HINTS"  # 0 leaves out the lines about what to do next
EXIT_OUT_OF_MEMORY = 75  # exit code of a process that needs this


@dataclass(frozen=True, kw_only=True)
class SessionConfig(Section):
    """A session on one machine: how long it may run and how it works. None of this changes what is computed.

    Attributes:
        limit_seconds: from the session's start until the platform would kill it.
        margin_seconds: time kept free at the end; a step that hangs is ended in its last quarter.
        limit_steps: stop after this many optimizer steps, whatever the clock shows.
        checkpoint_seconds: longest time between checkpoints.
        nonfinite_steps: number of steps in a row with a loss that is not finite that are skipped; after them training
            goes back to the last good checkpoint once, and the next time it stops.
        device: `auto` takes the GPU if there is one.
        num_processes: processes that share each batch on one machine; None is one for each GPU.
        num_workers: loader processes, over all of these.
        num_threads: threads of torch on the CPU; None is one for each core. Fewer leave cores to loaders and other
            processes: in bfloat16 the threads of an operation spin until the last one is done, and beside two busy
            neighbours a step with two threads takes over ten times as long as with one. Another number adds in another
            order, so a training keeps the number that it began with to end with the same bits.
        recompute_activations: keep only the inputs of the backbone's blocks for the backward pass, and compute the rest
            again there (gradient checkpointing): the same bits, less memory, a third more time.
        compile: train with `torch.compile`, for long runs: each session and stage begins with a minute or more of
            compilation. A change gives other bits, and is told.
        tensorboard: write scalars for TensorBoard beside the journal.
    """

    limit_seconds: float = 9 * 3600.0
    margin_seconds: float = 300.0
    limit_steps: int | None = None
    checkpoint_seconds: float = 600.0
    nonfinite_steps: int = 10
    device: Literal["auto", "cpu", "cuda"] = "auto"
    num_processes: int | None = None
    num_workers: int = 2
    num_threads: int | None = None
    recompute_activations: bool = False
    compile: bool = False
    tensorboard: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most(num_processes=MOST_PROCESSES, num_workers=MOST_PROCESSES, num_threads=MOST_PROCESSES)
        self._require(self.limit_seconds > 0, "limit_seconds", "above 0")
        self._require(0 <= self.margin_seconds < self.limit_seconds, "margin_seconds", "in [0, limit_seconds)")
        self._require(self.limit_steps is None or self.limit_steps >= 1, "limit_steps", "at least 1, or none")
        self._require(self.checkpoint_seconds >= 0, "checkpoint_seconds", "0 or above")
        self._require(self.nonfinite_steps >= 1, "nonfinite_steps", "at least 1")
        self._require(self.num_processes is None or self.num_processes >= 1, "num_processes", "at least 1, or none")
        self._require(self.num_workers >= 0, "num_workers", "0 or above")
        self._require(  # the compiler decides what it computes again, and would give other bits
            not (self.compile and self.recompute_activations),
            "recompute_activations",
            "False with `compile`, which decides by itself what is computed again",
        )
        self._require(self.num_threads is None or self.num_threads >= 1, "num_threads", "at least 1, or none")


def duration(text: str) -> float:
    """Parse a duration such as `90s`, `45m` or `6h`, in seconds; raise ValueError for any other text."""
    number = float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}.get(text[-1:], math.nan)
    if not 0 < number < math.inf:
        raise ValueError
    return number
