"""Network and images -> `Predictions`, and the files that hold them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imettk.data.dataset import Batch
from imettk.errors import CheckpointError, MismatchError
from imettk.inference.tta import apply_view, crop
from imettk.models.heads import Outputs
from imettk.progress import progress_bar
from imettk.tracking.tensors import TensorFile, read_tensors, save_tensors


@dataclass(frozen=True)
class Predictions:
    """Outputs of one model for N samples in V views.

    Attributes:
        ids: str (N,).
        probs: float32 (V, N, C); C is 0 where only embeddings count.
        values: further content of the file, as JSON.
        targets: of these samples, if known, int64 (N,) or uint8 (N, C): scoring then needs no table.
        embeddings: of unit norm, float32 (V, N, D), or None; NaN where the image cannot be read.
    """

    ids: np.ndarray
    probs: np.ndarray
    values: dict[str, Any]
    targets: np.ndarray | None = None
    embeddings: np.ndarray | None = None

    @property
    def merged(self) -> np.ndarray:
        """Prediction over all views, float32 (N, C): their mean or maximum, as the file says."""
        return self.probs.max(0) if self.values.get("merge") == "max" else self.probs.mean(0)

    @property
    def merged_embeddings(self) -> np.ndarray:
        """Mean over all views, of unit norm, float32 (N, D).

        Raises:
            MismatchError: there are none.
        """
        if self.embeddings is None:
            raise MismatchError("these predictions hold no embeddings: they are of a classifier")
        mean = self.embeddings.mean(0)
        return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)


def mean_of_folds(parts: Iterable[Predictions]) -> np.ndarray:
    """Return the mean of several models' predictions of the same rows, each merged over its views, float32 (N, C)."""
    total, count = np.zeros(()), 0
    for predictions in parts:
        total, count = total + predictions.merged.astype(np.float64), count + 1
    return np.asarray(total / count, np.float32)


@torch.inference_mode()
def predict_outputs(
    network: nn.Module,
    batches: Iterable[Batch],
    *,
    views: tuple[str, ...],
    device: torch.device,
    dtype: torch.dtype,
    num_samples: int,
    size: tuple[int, int] | None = None,
    what: str | None = None,
    until: float = math.inf,
) -> Outputs:
    """Return logits and embeddings of every view of every sample, float32 (V, N, ...), on the CPU.

    The network is left in evaluation mode.

    Args:
        until: no batch but the first begins after this time, on `time.monotonic()`: N is then smaller.
        size: of the crops that views take from larger images; None takes whole images.
        what: name of the progress bar; None shows none.
    """
    network.eval()
    parts: list[Tensor] = []
    others: list[Tensor] = []
    with progress_bar(what or "", total=num_samples, unit="image", hidden=what is None) as bar:
        for batch in batches:
            if parts and time.monotonic() > until:  # after one batch at least, whose mean the others get
                break
            images = batch.images.to(device, non_blocking=True)
            beside = {name: part.to(device, non_blocking=True) for name, part in batch.beside.items()}
            with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
                outputs: list[Outputs] = []
                for view in views:
                    part = images if size is None else crop(images, view, size=size, rows=batch.rows)
                    outputs.append(network(apply_view(part, view), **beside))
            parts.append(torch.stack([output.logits for output in outputs]).float().cpu())
            embeddings = [output.embeddings for output in outputs if output.embeddings is not None]
            if embeddings:
                others.append(torch.stack(embeddings).float().cpu())
            bar.update(len(images))
    return Outputs(torch.cat(parts, 1), torch.cat(others, 1) if others else None)


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions; ids are UTF-8 lines beside their lengths in bytes, as an id may hold a newline."""
    ids = [name.encode() for name in predictions.ids.tolist()]
    tensors = {
        "probs": torch.from_numpy(np.ascontiguousarray(predictions.probs)),
        "ids": torch.from_numpy(np.frombuffer(b"\n".join(ids), np.uint8).copy()),
        "id_bytes": torch.tensor([len(name) for name in ids], dtype=torch.int64),
    }
    if predictions.targets is not None:
        tensors["targets"] = torch.from_numpy(np.ascontiguousarray(predictions.targets))
    if predictions.embeddings is not None:
        tensors["embeddings"] = torch.from_numpy(np.ascontiguousarray(predictions.embeddings))
    save_tensors(path, tensors, predictions.values)


def load_predictions(path: Path) -> Predictions:
    """Read what `save_predictions` wrote; raise `MismatchError` if a file is something else or damaged."""
    try:
        file = read_tensors(path)
        ids = _read_ids(file)
        probs = file.tensors["probs"].numpy()
        targets, embeddings = (
            file.tensors[name].numpy() if name in file.tensors else None for name in ("targets", "embeddings")
        )
    except (CheckpointError, KeyError, ValueError) as error:
        raise MismatchError(
            f"{path} is not a prediction file of imettk ({error}); delete it: the command that wrote it makes it again"
        ) from None
    if probs.ndim != 3 or probs.shape[1] != len(ids):
        raise MismatchError(f"{path}: {len(ids)} ids do not fit probabilities of shape {probs.shape}")
    return Predictions(np.array(ids, np.str_), probs, file.values, targets, embeddings)


def _read_ids(file: TensorFile) -> list[str]:
    content = bytes(file.tensors["ids"].numpy())
    if "id_bytes" not in file.tensors:  # of version 0.1.0
        return content.decode().split("\n")
    lengths = file.tensors["id_bytes"].numpy()
    starts = np.cumsum(lengths + 1) - lengths - 1
    return [content[start : start + length].decode() for start, length in zip(starts, lengths, strict=True)]
