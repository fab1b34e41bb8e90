"""Hard-example mining: the samples with the largest losses of an epoch are added to the next.

The losses seen so far and the choice made from them are in every checkpoint: no step could give them back.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from imettk.data.sampling import derive_seed
from imettk.training.process_group import Compute


class Mining:
    """Largest loss of each sample in the current epoch, and the samples that the next one repeats.

    Args:
        rows: the training samples' positions in the table, int64 (N,).
        seed: draws the extra samples of the first epoch, before there are losses.
    """

    def __init__(self, rows: np.ndarray, *, seed: int, compute: Compute) -> None:
        self._rows, self._seed, self._processes = rows, seed, compute.processes
        self._losses = torch.full((int(rows.max()) + 1,), -torch.inf, device=compute.device)
        self._epoch = -1
        self._extra = np.zeros(0, np.int64)

    def record(self, rows: Tensor, losses: Tensor) -> None:
        """Note the losses, float32 (B,), of these rows, int64 (B,), on the device; the largest loss of a row counts."""
        self._losses.scatter_reduce_(0, rows, losses.detach(), "amax")

    def extra_rows(self, epoch: int, share: float) -> np.ndarray:
        """Return the rows that are added to `epoch`, int64 (round(share * N),).

        The first call for a new epoch makes the selection and clears the losses; later calls return it.

        Of equal losses the first row wins. Rows whose loss was not seen come last.
        """
        if epoch != self._epoch:
            losses = self._shared_losses()[torch.from_numpy(self._rows)].numpy()
            count = round(share * len(self._rows))
            if np.isneginf(losses).all():
                generator = np.random.Generator(np.random.Philox(key=derive_seed(self._seed, epoch, 1)))
                self._extra = generator.choice(self._rows, count, replace=False)
            else:
                self._extra = self._rows[np.argsort(-losses, kind="stable")[:count]]
            self._epoch = epoch
            self._losses.fill_(-torch.inf)
        return self._extra

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint has to keep; all processes must call this at the same step."""
        return {
            "losses": self._shared_losses(),
            "extra": torch.from_numpy(self._extra),
            "epoch": torch.tensor(self._epoch),
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Continue from what `tensors` returned."""
        self._losses.copy_(tensors["losses"])
        self._extra, self._epoch = tensors["extra"].numpy(), int(tensors["epoch"])

    def _shared_losses(self) -> Tensor:
        """Return the losses that any process has seen, on the CPU."""
        return self._processes.all_reduce_max(self._losses.cpu())
