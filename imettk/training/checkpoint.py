"""Checkpoints: one safetensors file each, whole or not there, newest valid one first, written beside the training.

A checkpoint holds what the position does not give: weights, averaged weights, optimizer moments, and plain values. Its
SHA-256 is written last, beside it, in the format of `sha256sum`; a file without a matching one does not exist for the
loader.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imettk.errors import CheckpointError
from imettk.tracking.files import write_atomically
from imettk.tracking.tensors import TensorFile, parse_tensors, save_tensors

KEPT = 2  # so that one bad file does not cost the run
SPARE_BYTES = 64 << 20  # left free on the disk, for journals and predictions
_NAME = re.compile(r"step-(\d{8})\.safetensors")


class CheckpointWriter:
    """Writes checkpoints of one fold in a thread; the caller waits only while tensors are copied to host memory.

    Args:
        folder: of the checkpoints.
        on_done: told the step and the seconds that writing took; called from the thread.
        on_failure: told the step and the error; older checkpoints are as they were. Called from the thread.
    """

    def __init__(
        self, folder: Path, *, on_done: Callable[[int, float], None], on_failure: Callable[[int, OSError], None]
    ) -> None:
        self._folder, self._on_done, self._on_failure = folder, on_done, on_failure
        self._host: dict[str, Tensor] = {}
        self._thread: threading.Thread | None = None
        self._fault: Exception | None = None
        # By a process that was killed while writing: ours, and what safetensors writes before it renames it to ours.
        for left in (*folder.glob(".*.tmp"), *folder.glob(".tmp*")):
            left.unlink(missing_ok=True)

    def write(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Copy the tensors, and write them while the caller goes on; waits for an earlier checkpoint first."""
        self.wait()
        self._host = _copy_to_host(tensors, self._host)
        self._thread = threading.Thread(target=self._run, args=(step, self._host, values), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when the checkpoint in hand, if any, is on the disk; a fault of the program in it is raised here."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault

    def _run(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        started = time.monotonic()
        try:
            bad = [name for name, value in tensors.items() if name.startswith("model.") and not _is_finite(value)]
            if bad:
                # A gradient that is no number gets by where nothing clips it; the next losses will show it.
                raise OSError(f"{bad[0]} is not finite")
            save_checkpoint(self._folder, step, tensors, values)
            self._on_done(step, time.monotonic() - started)
        except OSError as error:
            self._on_failure(step, error)
        except Exception as error:
            self._fault = error


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Write the checkpoint of a step, and remove older ones but `KEPT` - 1, and later ones.

    Later ones are those of a future that was given up: damaged, or before a rollback.

    Raises:
        OSError: it cannot be written, or the disk has no room for it; at least one older one is still there.
    """
    _make_room(folder, sum(value.nbytes for value in tensors.values()))
    path = folder / f"step-{step:08d}.safetensors"
    earlier = _digests(path)

    def tell(digest: str, others: Sequence[str] = ()) -> None:
        lines = [f"{one}  {path.name}\n" for one in (digest, *others)]
        write_atomically(_digest_file(path), "".join(lines).encode())

    # An earlier file of this step (its validation was still to come) is replaced: until then both are right.
    digest = save_tensors(path, tensors, values, before=lambda digest: tell(digest, earlier) if earlier else None)
    tell(digest)
    paths = _by_step([folder])
    place = paths.index(path)
    _remove(paths[:place] + paths[place + KEPT :])


def load_newest(
    folders: Iterable[Path], warn: Callable[[str], None], *, fits: Callable[[TensorFile], bool] = lambda _: True
) -> TensorFile | None:
    """The valid checkpoint of the highest step in any of these folders, or None where there is no checkpoint at all.

    Args:
        warn: told of each file that is not valid and is passed over.
        fits: says whether a valid one will do; None is returned where there are valid ones and none does.

    Raises:
        CheckpointError: there are checkpoints, and none is valid. Nothing is removed.
    """
    paths = _by_step(folders)
    num_valid = 0
    for path in paths:
        content = path.read_bytes()
        if fault := _fault(path, content):
            warn(f"{path} {fault}: passed over")
            continue
        num_valid += 1
        if fits(checkpoint := parse_tensors(content, path)):
            return checkpoint
    if paths and num_valid == 0:
        raise CheckpointError(
            f"none of the {len(paths)} checkpoints is valid, the newest is {paths[0]}; "
            "remove them to start this fold again, or give --inputs with a good one"
        )
    return None


def _copy_to_host(tensors: dict[str, Tensor], host: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies in host memory; `host` are earlier copies, whose memory is used again where it fits."""
    copies: dict[str, Tensor] = {}
    for name, value in tensors.items():
        old = host.get(name)
        if old is None or old.shape != value.shape or old.dtype != value.dtype or old.stride() != value.stride():
            old = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
        copies[name] = old.copy_(value.detach(), non_blocking=True)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return copies


def _fault(path: Path, content: bytes) -> str | None:
    """What is wrong with a checkpoint of this content, or None."""
    digests = _digests(path)
    if not digests:
        return "has no SHA-256 beside it (killed while saving?)"
    return None if hashlib.sha256(content).hexdigest() in digests else "does not match its SHA-256 (damaged)"


def _digests(path: Path) -> list[str]:
    """The SHA-256 of a checkpoint, beside that of the file it replaces while it does."""
    try:
        lines = _digest_file(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [line.split()[0] for line in lines if line.strip()]


def _is_finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(value.isfinite().all())


def _make_room(folder: Path, num_bytes: int) -> None:
    """Free the disk of all but the newest valid checkpoint where the next would not fit beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    needed = num_bytes + SPARE_BYTES
    if shutil.disk_usage(folder).free < needed:
        paths = _by_step([folder])
        newest = next((path for path in paths if _fault(path, path.read_bytes()) is None), None)
        _remove(path for path in paths if path != newest)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise OSError(errno.ENOSPC, f"{folder} has {free >> 20} MiB free, {needed >> 20} MiB are needed")


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        _digest_file(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _by_step(folders: Iterable[Path]) -> list[Path]:
    """Checkpoints in these folders, newest first."""
    found = [
        (int(match[1]), path)
        for folder in folders
        for path in sorted(folder.glob("step-*.safetensors"))
        if (match := _NAME.fullmatch(path.name))
    ]
    return [path for _, path in sorted(found, key=lambda pair: -pair[0])]


def _digest_file(path: Path) -> Path:
    return path.with_suffix(".sha256")
