"""Peers of the input path: decoders at the same output size, and the loaders of timm, torchvision and fastai.

All optional: what is not installed has no row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

Decoder = Callable[[str], np.ndarray]


def decoders(size: int) -> dict[str, Decoder]:
    """Return functions from a JPEG's path to RGB pixels of `size` x `size`, each tuned as its documentation advises."""
    makers = (_pillow, _simplejpeg, _turbojpeg, _torchvision, _kornia)
    found: dict[str, Decoder] = {}
    for make in makers:
        try:
            found |= make(size)
        except (ImportError, RuntimeError, OSError):  # not installed, or its shared library is not
            continue
    return found


def _shrink(pixels: np.ndarray, size: int, interpolation: int = cv2.INTER_AREA) -> np.ndarray:
    return cv2.resize(pixels, (size, size), interpolation=interpolation)


def _pillow(size: int) -> dict[str, Decoder]:
    from PIL import Image

    def decode(path: str) -> np.ndarray:
        with Image.open(path) as image:
            image.draft("RGB", (size, size))  # decodes at 1/2, 1/4 or 1/8
            return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))

    return {"Pillow, draft": decode}


def _simplejpeg(size: int) -> dict[str, Decoder]:
    import simplejpeg

    def scaled(path: str, interpolation: int) -> np.ndarray:
        content = Path(path).read_bytes()
        pixels = simplejpeg.decode_jpeg(content, "RGB", min_height=size, min_width=size, min_factor=1)
        return _shrink(pixels, size, interpolation)

    return {
        "simplejpeg, scaled, INTER_AREA": lambda path: scaled(path, cv2.INTER_AREA),
        "simplejpeg, scaled, INTER_LINEAR": lambda path: scaled(path, cv2.INTER_LINEAR),
    }


def _turbojpeg(size: int) -> dict[str, Decoder]:
    from turbojpeg import TJPF_RGB, TurboJPEG

    library = TurboJPEG()

    def decode(path: str) -> np.ndarray:
        content = Path(path).read_bytes()
        width, height, _, _ = library.decode_header(content)
        factors = [
            (over, under)
            for over, under in library.scaling_factors
            if over <= under and min(width, height) * over >= size * under
        ]
        factor = min(factors, key=lambda pair: pair[0] / pair[1], default=None)
        return _shrink(library.decode(content, TJPF_RGB, scaling_factor=factor), size)

    return {"PyTurboJPEG, scaled, INTER_AREA": decode}


def _torchvision(size: int) -> dict[str, Decoder]:
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms.v2 import functional

    def decode(path: str) -> np.ndarray:
        pixels = decode_jpeg(read_file(path), ImageReadMode.RGB)
        return functional.resize(pixels, [size, size], antialias=True).permute(1, 2, 0).numpy()

    return {"torchvision v2": decode}


def _kornia(size: int) -> dict[str, Decoder]:
    import kornia_rs

    def decode(path: str) -> np.ndarray:
        return np.asarray(kornia_rs.imgproc.resize(kornia_rs.io.read_image_jpegturbo(path), (size, size), "bilinear"))

    return {"kornia-rs, bilinear": decode}


Loader = Iterator[Any]


def loaders(paths: list[str], size: int, batch_size: int, num_workers: int) -> dict[str, Callable[[], Loader]]:
    """Return training loaders with a light augmentation (flip), from the original files, float and normalised."""
    found: dict[str, Callable[[], Loader]] = {}
    for name, make in {"timm": _timm_loader, "torchvision v2": _torchvision_loader, "fastai": _fastai_loader}.items():
        try:
            found[name] = make(paths, size, batch_size, num_workers)
        except ImportError:
            continue
    return found


class _Files(torch.utils.data.Dataset):
    """A dataset of (transformed Pillow image, 0); a module-level class, so that workers can be spawned."""

    def __init__(self, paths: list[str], transform: Any, read: Callable[[str], Any]) -> None:
        self.paths, self.transform, self.read = paths, transform, read

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        return self.transform(self.read(self.paths[row])), 0


def _open_rgb(path: str) -> Any:
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGB")


def _timm_loader(paths: list[str], size: int, batch_size: int, num_workers: int) -> Callable[[], Loader]:
    from timm.data import create_loader

    def start() -> Loader:
        dataset = _Files(paths, None, _open_rgb)
        loader = create_loader(
            dataset, (3, size, size), batch_size, is_training=True, use_prefetcher=False, num_workers=num_workers,
            persistent_workers=False, scale=(1.0, 1.0), ratio=(1.0, 1.0), color_jitter=0.0, interpolation="bilinear",
            pin_memory=False, device=torch.device("cpu"),
        )  # fmt: skip
        return iter(loader)

    return start


def _torchvision_loader(paths: list[str], size: int, batch_size: int, num_workers: int) -> Callable[[], Loader]:
    from torchvision.io import ImageReadMode, read_image
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.Resize([size, size], antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    dataset = _Files(paths, transform, lambda path: read_image(path, ImageReadMode.RGB))

    def start() -> Loader:
        return iter(torch.utils.data.DataLoader(dataset, batch_size, num_workers=num_workers, drop_last=True))

    return start


def _fastai_loader(paths: list[str], size: int, batch_size: int, num_workers: int) -> Callable[[], Loader]:
    from fastai.vision.all import (
        CategoryBlock,
        DataBlock,
        Flip,
        ImageBlock,
        Normalize,
        RandomSplitter,
        Resize,
        imagenet_stats,
    )

    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=lambda source: source,
        get_y=lambda path: "one",
        splitter=RandomSplitter(valid_pct=0.0),
        item_tfms=Resize(size, method="squish"),
        batch_tfms=[Flip(), Normalize.from_stats(*imagenet_stats)],
    )
    loaded = block.dataloaders([Path(path) for path in paths], bs=batch_size, num_workers=num_workers, device="cpu")
    return lambda: iter(loaded.train)
