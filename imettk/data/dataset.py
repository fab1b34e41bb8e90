"""Samples -> batches of uint8 pixels, in this process or in loader workers."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from imettk.config.own import describe
from imettk.data.reader import resize
from imettk.data.sampling import BatchRequest
from imettk.data.source import ImageSource
from imettk.errors import DataError, UserError
from imettk.memory import release_freed_memory
from imettk.progress import say

if TYPE_CHECKING:  # albumentations takes seconds to import, and only training augments
    from imettk.data.augment import Augmentation


PR_SET_PDEATHSIG = 1  # of Linux' prctl
MAX_DEATHS = 3  # of loader processes in a row over the same batch
PREFETCH = 4  # batches that each loader process is asked for ahead


class Batch(NamedTuple):
    """B samples.

    Attributes:
        images: uint8 (B, H, W, channels); they are normalised on the device.
        targets: int64 (B,), uint8 (B, C), or float32 (B, C) where they are soft; None for a test set.
        weights: of each sample in the loss, float32 (B,); None where all count the same.
        positions: in the order of the epoch, int64 (B,).
        rows: positions in the table, int64 (B,).
        faults: (row, why) of images that could not be read; their pixels are 0, and so is their weight.
        metadata: what is known of each sample beside its image, float32 (B, M), or None.
    """

    images: Tensor
    targets: Tensor | None
    weights: Tensor | None
    positions: Tensor
    rows: Tensor
    faults: tuple[tuple[int, str], ...] = ()
    metadata: Tensor | None = None

    @property
    def beside(self) -> dict[str, Tensor]:
        """What a network takes beside the images, by the name of its parameter; nothing where there is nothing."""
        return {} if self.metadata is None else {"metadata": self.metadata}


class ImageDataset(Dataset[Batch]):
    """Answers a `BatchRequest` with a `Batch`; holds flat arrays and no state, so any worker gives the same pixels.

    Args:
        targets: of the table's rows; None for a test set.
        weights: of the table's rows in the loss, float32 (N,); None where all count the same.
        image_size: (height, width) of the images in a batch.
        augmentation: None only resizes, or cuts.
        centre_crop: where an image is larger than `image_size` and no augmentation makes it so, its centre is cut out;
            otherwise it is resized.
        skip_bad: an image that cannot be read is a fault of its batch, not an error.
        mirrors: N more rows behind the N of the table are their images, mirrored left to right before augmentation.

    Attributes:
        faults: why, for each row that `load_batches` could not read.
    """

    def __init__(
        self,
        source: ImageSource,
        targets: np.ndarray | None,
        *,
        image_size: tuple[int, int],
        augmentation: Augmentation | None = None,
        centre_crop: bool = False,
        skip_bad: bool = False,
        mirrors: bool = False,
        weights: np.ndarray | None = None,
    ) -> None:
        self.faults = source.faults
        self._mirrors = mirrors
        self._source = source
        self._targets = targets
        self._weights = weights
        self._image_size = image_size
        self._augmentation = augmentation
        self._centre_crop = centre_crop
        self._skip_bad = skip_bad

    def __len__(self) -> int:
        return len(self._source) * (2 if self._mirrors else 1)

    def __getitem__(self, request: BatchRequest) -> Batch:
        shape = (len(request.rows), *self._image_size, self._source.channels)
        pixels = torch.empty(shape, dtype=torch.uint8) if get_worker_info() is None else _SLOTS.take(shape)
        images = pixels.numpy()
        faults = []
        weights = None if self._weights is None else torch.from_numpy(self._weights[request.rows])
        for place, (position, row) in enumerate(zip(request.positions, request.rows, strict=True)):
            try:
                mirrored, number = divmod(int(row), len(self._source))
                image = self._source.read(number)
            except DataError as error:
                if not self._skip_bad:
                    raise
                faults.append((number, str(error)))
                images[place] = 0
                weights = torch.ones(len(request.rows)) if weights is None else weights
                weights[place] = 0
                continue
            if mirrored:
                image = np.ascontiguousarray(image[:, ::-1])
            if self._augmentation is not None:
                image = self._augmentation(image, epoch=request.epoch, position=int(position))
            if image.shape != images.shape[1:]:
                image = self._fitted(image)
            images[place] = image
        targets = None if self._targets is None else torch.from_numpy(self._targets[request.rows])
        positions, rows = torch.from_numpy(request.positions), torch.from_numpy(request.rows)
        return Batch(pixels, targets, weights, positions, rows, tuple(faults))

    def _fitted(self, image: np.ndarray) -> np.ndarray:
        height, width = self._image_size
        if self._centre_crop and image.shape[0] >= height and image.shape[1] >= width:
            top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
            return image[top : top + height, left : left + width]
        return resize(image, self._image_size, fast=True)


class _Slots:
    """Shared memory that a loader process fills over and over: fresh pages for each batch cost more than its pixels do.

    A batch's slot is filled again `PREFETCH` + 1 batches of this process later. The loader asks for that one only when
    it has taken the batch after this one, and by then `load_batches` has copied this one out.
    """

    def __init__(self) -> None:
        self._slots: list[Tensor] = []
        self._count = 0

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """An uint8 tensor of this shape, not cleared."""
        size, place = math.prod(shape), self._count % (PREFETCH + 1)
        self._count += 1
        if place == len(self._slots):
            self._slots.append(torch.empty(size, dtype=torch.uint8).share_memory_())
        elif self._slots[place].numel() < size:
            self._slots[place] = torch.empty(size, dtype=torch.uint8).share_memory_()
        return self._slots[place][:size].view(shape)


_SLOTS = _Slots()  # of this process


def load_batches(
    dataset: ImageDataset, requests: Iterator[BatchRequest], *, num_workers: int, pin: bool
) -> Iterator[Batch]:
    """The batches for these requests, in their order, loaded ahead by workers; workers that die are replaced.

    An image that is skipped is told once, and kept in `dataset.faults`.

    Args:
        num_workers: processes beside this one; 0 loads here.
        pin: put batches in page-locked memory, for a GPU.

    Raises:
        DataError: while iterating, where an image cannot be read; the message names its file.
    """
    pending: deque[BatchRequest] = deque()  # asked for, not delivered
    slots: deque[Tensor] = deque(maxlen=(PREFETCH + 1) * num_workers)  # kept mapped for the next batch in each
    deaths = 0
    while True:
        loader = DataLoader(
            _CarriesErrors(dataset),
            batch_size=None,  # a request is already a batch
            sampler=_noted(chain(tuple(pending), requests), pending),
            collate_fn=_as_it_is,  # type: ignore[arg-type]
            num_workers=num_workers,
            worker_init_fn=functools.partial(_start_worker, trainer=os.getpid(), signalled=_is_main_thread()),
            prefetch_factor=PREFETCH if num_workers else None,
            pin_memory=pin,
        )
        pending.clear()
        if num_workers:
            release_freed_memory()
        with _signals_held():
            batches = iter(loader)
        try:
            for batch in batches:
                pending.popleft()
                deaths = 0
                if isinstance(batch, UserError):
                    raise batch
                batch = _arrived(batch)
                if num_workers and not pin:  # pinning has copied it already
                    slots.append(batch.images)
                    batch = batch._replace(images=batch.images.clone())
                for row, fault in batch.faults:
                    if row not in dataset.faults:
                        say(f"warning: skipped {fault}")
                    dataset.faults[row] = fault
                yield batch
            return
        except RuntimeError as error:
            deaths += 1
            if "DataLoader worker" not in str(error) or deaths == MAX_DEATHS:
                raise
            say(f"warning: a loader process died ({error}): started again where it was")


def _noted(requests: Iterator[BatchRequest], pending: deque[BatchRequest]) -> Iterator[BatchRequest]:
    for request in requests:
        pending.append(request)
        yield request


class _CarriesErrors(Dataset[Batch | UserError]):
    """Gives what is wrong with an image back as a value: raised in a worker, its one line would come as a traceback."""

    def __init__(self, dataset: ImageDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, request: BatchRequest) -> Batch | UserError:
        try:
            return _packed(self._dataset[request])
        except UserError as error:
            return error
        except Exception as error:
            if (told := describe(error)) is None:
                raise
            return UserError(told)


def _packed(batch: Batch) -> Batch:
    """The batch with its small tensors as arrays: each tensor costs a shared file and a descriptor on the way."""
    parts = batch._asdict().items()
    small: dict[str, Any] = {name: part.numpy() for name, part in parts if name != "images" and torch.is_tensor(part)}
    return batch._replace(**small)


def _arrived(batch: Batch) -> Batch:
    parts = batch._asdict().items()
    arrays: dict[str, Any] = {name: torch.from_numpy(part) for name, part in parts if isinstance(part, np.ndarray)}
    return batch._replace(**arrays)


# Ctrl-C and a platform's SIGTERM reach the whole process group, and the trainer alone heeds them: it needs batches to
# end its step. So workers leave the group, and start with both signals held back until they have.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _signals_held() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    on_child = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if on_child is not None and _is_main_thread():
            # torch's handler raises wherever this thread happens to be when a worker dies, in the middle of an
            # optimizer's step as well. Without it the loader finds out by itself, within 5 seconds.
            signal.signal(signal.SIGCHLD, on_child)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _die_with(trainer: int, *, signalled: bool) -> None:
    """End this process with its trainer, also if that was killed while this one was starting.

    torch's own watch takes whatever is the parent when it begins for the trainer: of a process that is an orphan by
    then that is init, which never ends, and neither would the loader.
    """
    if signalled and sys.platform == "linux":
        # The system sends it when the thread that started this process ends, so only the main one will do.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != trainer and hasattr(os, "setsid"):  # on Windows a process keeps the number of a dead parent
        os._exit(1)


def _start_worker(worker: int, *, trainer: int, signalled: bool) -> None:
    _die_with(trainer, signalled=signalled)
    warnings.filterwarnings("ignore", module="PIL")  # of what it can read all the same
    cv2.setNumThreads(0)  # the workers are the parallelism; OpenCV's own threads would fight over the same cores
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # this forgets one that came while they were held back
    if hasattr(os, "setsid"):
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # how the loader ends a worker that does not end by itself


def _as_it_is(batch: Batch | UserError) -> Batch | UserError:
    return batch
