"""The input path: decoding, training batches from files and from the cache, geometry, a large table's first batch.

`python tools/bench/input.py [--check] [--quick] [--rows PART ...]`; parts are decode, loaders, geometry, start.
The photos are `../shared/data/clothing`, enlarged to 1 to 3 megapixels; without that folder, made ones.
The baseline is what these competitions use: cv2.imread, resize with INTER_AREA, albumentations, float normalise in the
worker.
"""

from __future__ import annotations

import functools
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import input_peers
import numpy as np
import torch
from table import Row, arguments_of, finish, print_machine

from imettk.data.augment import Augmentation
from imettk.data.cache import ImageCache
from imettk.data.dataset import ImageDataset, load_batches
from imettk.data.noise import Noise
from imettk.data.pipelines import aggressive
from imettk.data.reader import ImageReader
from imettk.data.sample_table import SampleTable
from imettk.data.sampling import BatchRequest
from imettk.data.source import ImageSource, cache_key
from imettk.data.stamps import stamp_files
from imettk.data.survey import CacheTarget, survey_images
from imettk.data.warp import A

PHOTOS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "clothing" / "images"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH, WORKERS, SIZE = 32, 2, 256
LOADER_BARS = {  # times the rate it stands beside
    "heavy, files": 1.6,
    "heavy, JPEG cache": 8.0,
    "heavy, pixel cache": 16.0,
    "light, JPEG cache": 16.0,
    "light, pixel cache": 60.0,
    "uint8 light": 1.8,
}


class Photos(NamedTuple):
    """Paths of the same photos in several forms."""

    large: list[str]
    progressive: list[str]
    small: list[str]
    small_png: list[str]


def make_photos(folder: Path, count: int) -> Photos:
    """Write real photos enlarged to 1 to 3 megapixels, and shrunk to a long side of about 300, as iMet's are."""
    rng = np.random.default_rng(0)
    sources = sorted(PHOTOS.glob("*.jpg"))[:count] if PHOTOS.is_dir() else []
    photos = Photos([], [], [], [])
    for number in range(count):
        if sources:
            pixels: Any = cv2.imread(str(sources[number % len(sources)]))
        else:
            pixels = cv2.resize(rng.integers(0, 256, (30, 40, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
        megapixels = 1 + 2 * number / max(1, count - 1)
        factor = (megapixels * 1e6 / (pixels.shape[0] * pixels.shape[1])) ** 0.5
        large = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        factor = 300 / min(pixels.shape[:2])
        small = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        for kind, image, suffix, options in (
            (photos.large, large, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, 90]),
            (photos.progressive, large, ".p.jpg", [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
            (photos.small, small, ".s.jpg", [cv2.IMWRITE_JPEG_QUALITY, 90]),
            (photos.small_png, small, ".s.png", []),
        ):
            path = str(folder / f"{number:03d}{suffix}")
            cv2.imwrite(path, image, options)
            kind.append(path)
    return photos


def plain_decode(path: str, size: int) -> np.ndarray:
    """Decode and resize as nearly every kernel does."""
    image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def rates(work: dict[str, Callable[[str], Any]], paths: list[str], rounds: int) -> dict[str, list[float]]:
    """Return images a second of each function, interleaved; this process has one thread."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for round_number in range(rounds + 1):  # the first warms files and code up
        for name, function in work.items():
            started = time.perf_counter()
            for path in paths:
                function(path)
            if round_number:
                found[name].append(len(paths) / (time.perf_counter() - started))
    return found


def difference(function: Callable[[str], np.ndarray], paths: list[str], size: int) -> float:
    """Return the mean absolute difference to the plain full decode, of 255."""
    return float(np.mean([np.abs(function(path).astype(np.int64) - plain_decode(path, size)).mean() for path in paths]))


def decode_rows(photos: Photos, rounds: int) -> Iterator[Row]:
    """Decode and resize on one core, beside the baseline and each peer."""
    for what, paths, size, bar in (
        ("1 to 3 MP to 256", photos.large, 256, 1.9),
        ("1 to 3 MP to 320", photos.large, 320, 1.9),
        ("about 300 px to 256", photos.small, 256, 1.6),
        ("progressive to 256", photos.progressive, 256, 1.3),
        ("about 300 px PNG to 256", photos.small_png, 256, None),
    ):
        fast, exact = ImageReader(size=(size, size)), ImageReader(size=(size, size), reduce=False, fast_resize=False)
        area = ImageReader(size=(size, size), fast_resize=False)
        work: dict[str, Callable[[str], np.ndarray]] = {
            "imettk": fast.read,
            "imettk, INTER_AREA": area.read,
            "imettk, full decode, INTER_AREA": exact.read,
        }
        if paths is not photos.small_png:
            work |= input_peers.decoders(size)
        base = {"baseline": lambda path, size=size: plain_decode(path, size)}
        measured = rates(base | work, paths, rounds)
        for name, function in work.items():
            off = difference(function, paths, size)
            label = f"{what}: {name} (off {off:.2f})"
            yield Row(label, measured[name], "", measured["baseline"], bar if name == "imettk" else None, True)


class PlainDataset(torch.utils.data.Dataset):
    """The dataset of such kernels: decode, resize, albumentations, and float pixels normalised in the worker."""

    def __init__(self, paths: list[str], transforms: list[Any], pixels: ImageSource | None = None) -> None:
        self.paths, self.pixels = paths, pixels
        self.compose = A.Compose([*transforms, A.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        image = plain_decode(self.paths[row], SIZE) if self.pixels is None else self.pixels.read(row)
        return torch.from_numpy(self.compose(image=image)["image"].transpose(2, 0, 1).copy()), 0


def separate_geometry(size: int) -> list[Any]:
    """Return the geometry of `aggressive` as albumentations' own transforms, one after another."""
    return [
        A.RandomResizedCrop((size, size), scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3)),
        A.HorizontalFlip(p=0.5),
        A.Affine(rotate=(-15, 15), shear={"x": (-5, 5), "y": (0, 0)}, p=1.0, border_mode=cv2.BORDER_REFLECT_101),
    ]


def heavy(size: int) -> list[Any]:
    """Return `aggressive` with only albumentations' own transforms, for its geometry and GaussNoise too."""
    rest = aggressive((size, size), 3)[1:]
    noise = [
        A.GaussNoise(std_range=transform.std, p=transform.p) if isinstance(transform, Noise) else transform
        for transform in rest
    ]
    return [*separate_geometry(size), *noise]


def requests(num_images: int, batches: int) -> Iterator[BatchRequest]:
    """Yield batches of rows, over and over."""
    rows = itertools.cycle(range(num_images))
    for number in range(batches):
        chosen = np.array(list(itertools.islice(rows, BATCH)))
        yield BatchRequest(number, np.arange(number * BATCH, (number + 1) * BATCH), chosen)


def plain_batches(dataset: PlainDataset, batches: int) -> Iterator[Any]:
    """Return the baseline's loader over so many batches."""
    sampler = [row for request in requests(len(dataset), batches) for row in request.rows.tolist()]
    loader = torch.utils.data.DataLoader(
        dataset, BATCH, sampler=sampler, num_workers=WORKERS, worker_init_fn=_one_thread
    )
    return iter(loader)


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)


def loader_rate(start: Callable[[int], Iterator[Any]], seconds: float) -> float:
    """Return images a second of a loader after its first batches, over about so many seconds."""
    batches = start(10_000)
    for _ in range(3):
        next(batches)
    images, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds or images < 2 * BATCH:
        next(batches)
        images += BATCH
    return images / (time.perf_counter() - started)


def make_cache(folder: Path, table: SampleTable, reader: ImageReader, kind: str) -> ImageSource:
    """Build a cache of the table, as `prepare` does."""
    source = ImageSource(table, reader)
    names = [Path(path).name for path in table.paths]
    target = CacheTarget(folder=folder, kind=kind, key=cache_key(reader, kind, 95), quality=95)
    survey_images(source.read, names, stamp_files(table.paths, ()), (*reader.size, reader.channels), cache=target)
    return ImageSource(table, reader, cache=ImageCache(folder), names=names)


def table_of(paths: list[str]) -> SampleTable:
    """Make a table of these files."""
    names = np.array([Path(path).name for path in paths])
    return SampleTable(names, np.array(paths), ("one",), ("",), np.zeros(len(paths), np.int64))


def loader_rows(photos: Photos, folder: Path, rounds: int, seconds: float) -> Iterator[Row]:
    """Time training batches from two workers."""
    table, reader = table_of(photos.large), ImageReader(size=(SIZE, SIZE))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    files = ImageSource(table, reader)
    pixels = make_cache(folder / "pixels", table, reader, "pixels")
    jpeg = make_cache(folder / "jpeg", table, reader, "jpeg")

    def ours(source: ImageSource, name: str, *, normalise: bool = False) -> Callable[[int], Iterator[Any]]:
        augmentation = Augmentation(name, seed=0, size=(SIZE, SIZE))
        dataset = ImageDataset(source, table.targets, image_size=(SIZE, SIZE), augmentation=augmentation)
        mean, std = torch.tensor(MEAN, device=device) * 255, torch.tensor(STD, device=device) * 255

        def start(batches: int) -> Iterator[Any]:
            loaded = load_batches(dataset, requests(len(table), batches), num_workers=WORKERS, pin=False)
            return ((batch.images.to(device) - mean) / std if normalise else batch for batch in loaded)

        return start

    def plain(transforms: list[Any], source: ImageSource | None = None) -> Callable[[int], Iterator[Any]]:
        return lambda batches: plain_batches(PlainDataset(photos.large, transforms, source), batches)

    work = {
        "baseline heavy": plain(heavy(SIZE)),
        "baseline light": plain([A.HorizontalFlip()]),
        "float light": plain([A.HorizontalFlip()], pixels),
        "heavy, files": ours(files, "aggressive"),
        "heavy, JPEG cache": ours(jpeg, "aggressive"),
        "heavy, pixel cache": ours(pixels, "aggressive"),
        "light, files": ours(files, "flips"),
        "light, JPEG cache": ours(jpeg, "flips"),
        "light, pixel cache": ours(pixels, "flips"),
        "uint8 light": ours(pixels, "flips", normalise=device.type == "cuda"),
        "uint8 light, normalised on a CPU": ours(pixels, "flips", normalise=True),
    }
    paths = [path for _, path in zip(range(4096), itertools.cycle(photos.large))]  # peers go through their files once
    for name, loader in input_peers.loaders(paths, SIZE, BATCH, WORKERS).items():
        work[f"light, files: {name}"] = _restarted(loader)
    measured: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, start in work.items():
            measured[name].append(loader_rate(start, seconds))
    rows = {path: row for row, path in enumerate(photos.large)}

    def read(source: ImageSource, path: str) -> np.ndarray:
        return source.read(rows[path])

    off = {
        kind: difference(functools.partial(read, source), photos.large, SIZE)
        for kind, source in {"files": files, "JPEG cache": jpeg, "pixel cache": pixels}.items()
    }
    for name in work:
        base = "float light" if name.startswith("uint8") else f"baseline {name.split(',')[0]}"
        kind = name.partition(", ")[2]
        if base in measured:
            label = f"batches: {name}" + (f" (off {off[kind]:.2f})" if kind in off else "")
            yield Row(label, measured[name], "", measured[base], LOADER_BARS.get(name), True)


def _restarted(loader: Callable[[], Iterator[Any]]) -> Callable[[int], Iterator[Any]]:
    """Adapt a peer's loader to our interface; it ends with its files."""
    return lambda batches: loader()


def _apply(compose: A.Compose, images: dict[str, np.ndarray], path: str) -> Any:
    return compose(image=images[path])["image"]


def geometry_rows(photos: Photos, rounds: int) -> Iterator[Row]:
    """Time one warp beside three transforms, alone and within the whole heavy pipeline, from 320 to 256."""
    images = {path: plain_decode(path, 320) for path in photos.large}
    ours, theirs = aggressive((SIZE, SIZE), 3), heavy(SIZE)
    pipelines = {
        "geometry alone": (ours[:1], theirs[:3]),
        "aggressive, the rest albumentations'": ([*ours[:1], *theirs[3:]], theirs),
        "aggressive as it is": (ours, theirs),
    }
    for name, (ours, theirs) in pipelines.items():
        composed = {"baseline": A.Compose(theirs, seed=0), "imettk": A.Compose(ours, seed=0)}
        work: dict[str, Callable[[str], Any]] = {
            key: functools.partial(_apply, compose, images) for key, compose in composed.items()
        }
        measured = rates(work, photos.large, rounds)
        yield Row(f"one warp: {name}", measured["imettk"], "", measured["baseline"], 1.3, True)


def start_rows(folder: Path, rounds: int, num_rows: int) -> Iterator[Row]:
    """Time a table of iMet's size up to its first batch, without imports, in a separate process."""
    script = Path(__file__).with_name("input_start.py")
    subprocess.run([sys.executable, script, "make", folder, str(num_rows)], check=True)
    for what, name in (("time", "first batch of"), ("open", "an unchanged cache is opened,")):
        values = []
        for _ in range(rounds):
            done = subprocess.run([sys.executable, script, what, folder], capture_output=True, text=True, check=True)
            values.append(float(done.stdout.split()[-1]))
        yield Row(f"{name} {num_rows:,} rows", values, "s", (), 3.0)


def main() -> None:
    parser = arguments_of(__doc__)
    parser.add_argument("--rows", nargs="+", choices=("decode", "loaders", "geometry", "start"))
    arguments = parser.parse_args()
    parts = arguments.rows or ("decode", "loaders", "geometry", "start")
    quick = arguments.quick
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    print_machine("opencv-python-headless", "albumentations", "pillow", "simplejpeg", "PyTurboJPEG", "torchvision",
                  "kornia-rs", "fastai")  # fmt: skip
    print("images a second (more is better), and seconds; `off`: mean difference to the plain full decode, of 255\n")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        photos = make_photos(folder, 4 if quick else 32)
        rounds = 1 if quick else 3
        if "decode" in parts:
            rows += decode_rows(photos, rounds)
        if "loaders" in parts:
            rows += loader_rows(photos, folder, rounds, 0.1 if quick else 2.0)
        if "geometry" in parts:
            rows += geometry_rows(photos, rounds)
        if "start" in parts:
            rows += start_rows(folder / "table", rounds, 1000 if quick else 109_237)
    finish(rows, arguments)


if __name__ == "__main__":
    main()
