"""Training on a GPU: images a second, memory, float16 and bfloat16, the price of exactness, exact resume; beside timm.

Made photos of a folder a class, read from their files by both. Ours is `imettk train` as anyone runs it, decoding,
augmentation and checkpoints included; timm's is what its train script does: its own dataset, loader with prefetcher,
AMP, channels last and `cudnn.benchmark`. Rates are medians over the last two thirds of a training; each training is a
process of its own, in turn. `exact` compares the hash of a model that was trained in one go with that of one that
was interrupted half way, both with deterministic algorithms.

`python tools/bench/gpu.py [--check] [--quick] [--device cpu]`; without a GPU it says so and ends.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from table import Row, arguments_of, finish, print_machine

NUM_CLASSES, STEPS = 10, 200
LEAST_SHARE = 0.9  # of timm's images a second, in the same precision without determinism
RECIPE = """
from imettk.config import *

def recipe():
    return Recipe(
        table=TableFormat(task="multiclass", train_folders=True, train_images="train", image_suffix="", id_column="id",
                          label_column="label"),
        folds=FoldConfig(num_folds=4),
        images=ImageFormat(image_size=({side}, {side})),
        cache=CacheConfig(kind="none"),
        model=ModelConfig(backbone="timm:{network}"),
        train=TrainConfig(loss="cross_entropy", precision="{precision}", deterministic={deterministic},
                        validate_epochs=1000),
        stages=(StageConfig(num_epochs={epochs}, batch_size={batch}, augmentation="flips"),),
        rule=RuleConfig(kind="argmax"),
        session=SessionConfig(device="{device}", tensorboard=False),
    )
"""


class Setting(NamedTuple):
    """A network with the side of its images and the batch."""

    network: str
    side: int
    batch: int


SETTINGS = (
    Setting("resnet50", 384, 64),
    Setting("convnext_small", 384, 32),
    Setting("eva02_small_patch14_336", 336, 32),
)
TINY = Setting("test_resnet", 64, 8)


def make_photos(folder: Path, side: int, number: int) -> None:
    """Write JPEGs a third larger than they are trained on, a folder a class."""
    rng = np.random.default_rng(0)
    for row in range(number):
        path = folder / "train" / f"c{row % NUM_CLASSES}" / f"{row}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 255, (12, 12, 3)).astype(np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, (side * 4 // 3,) * 2, interpolation=cv2.INTER_CUBIC))


def measure_ours(folder: Path, run: Path, values: dict[str, Any], stop_at: int | None) -> dict[str, Any]:
    """Train in this process; with `stop_at`, in two sessions."""
    from imettk.cli.main import main as imettk

    run.mkdir(parents=True)
    (run / "recipe.py").write_text(RECIPE.format(**values))
    common = [str(run / "recipe.py"), "--data", str(folder), "--run-dir", str(run / "run")]
    imettk(["prepare", *common])
    if stop_at is not None:
        imettk(["train", *common, "--fold", "0", "--session.limit-steps", str(stop_at)])
    imettk(["train", *common, "--fold", "0"])
    lines = [json.loads(line) for line in (run / "run" / "fold0" / "journal.jsonl").read_text().splitlines()]
    seconds = [line["seconds"] for line in lines if line["event"] == "train"]
    model = (run / "run" / "fold0" / "model.safetensors").read_bytes()
    return {"seconds": seconds, "peak": _peak(), "hash": hashlib.sha256(model).hexdigest()}


def measure_timm(folder: Path, run: Path, values: dict[str, Any], stop_at: int | None) -> dict[str, Any]:
    """Train as timm's train script does."""
    import timm
    from timm.data import create_dataset, create_loader

    device, half = torch.device(values["device"]), values["precision"] != "float32"
    torch.backends.cudnn.benchmark = True
    sizes = {"img_size": values["side"]} if "patch" in values["network"] else {}
    network = timm.create_model(values["network"], num_classes=NUM_CLASSES, **sizes)
    network = network.to(device, memory_format=torch.channels_last).train()
    loader = create_loader(
        create_dataset("", root=str(folder / "train")),
        input_size=(3, values["side"], values["side"]),
        batch_size=values["batch"],
        is_training=True,
        scale=(0.9, 1.0),
        num_workers=4,
        use_prefetcher=device.type == "cuda",
        device=device,
    )
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=True)
    scaler = torch.amp.GradScaler(device.type, enabled=values["precision"] == "float16")
    seconds: list[float] = []
    while len(seconds) < values["steps"]:
        begun = time.perf_counter()
        for images, targets in loader:
            images = images.to(device).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, getattr(torch, values["precision"]), enabled=half):
                loss = torch.nn.functional.cross_entropy(network(images), targets.to(device))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            loss.item()
            now = time.perf_counter()
            seconds.append(now - begun)
            begun = now
    return {"seconds": seconds[: values["steps"]], "peak": _peak(), "hash": ""}


def _peak() -> float:
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0


TRAININGS = {"imettk": measure_ours, "timm": measure_timm}


class Contest:
    """Trainings of one setting, each in a process of its own."""

    def __init__(self, scratch: Path, setting: Setting, device: str, steps: int) -> None:
        self._folder, self._scratch, self._runs = scratch / setting.network, scratch, 0
        self._batch = setting.batch
        number = setting.batch * 8 * 4 // 3 + 4
        make_photos(self._folder, setting.side, number)
        epochs = max(1, steps // 8)
        self._values = setting._asdict() | {"device": device, "steps": steps, "epochs": epochs}

    def run(
        self, who: str, precision: str, *, deterministic: bool = False, stop_at: int | None = None
    ) -> dict[str, Any]:
        self._runs += 1
        run = self._scratch / f"{self._folder.name}-run{self._runs}"
        values = self._values | {"precision": precision, "deterministic": deterministic}
        words = [who, str(self._folder), str(run), json.dumps(values), json.dumps(stop_at)]
        done = subprocess.run([sys.executable, __file__, "--one", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{who}, {values}: failed\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def rates(self, result: dict[str, Any]) -> list[float]:
        """Return images a second over the last two thirds of the steps."""
        return [self._batch / seconds for seconds in result["seconds"][len(result["seconds"]) // 3 :]]


def rows_of(contest: Contest, setting: Setting, precisions: Sequence[str], steps: int) -> list[Row]:
    rows = []
    for precision in precisions:
        name = f"{setting.network}, {precision}"
        ours, peer = (contest.run(who, precision) for who in TRAININGS)
        exact = contest.run("imettk", precision, deterministic=True)
        resumed = contest.run("imettk", precision, deterministic=True, stop_at=max(1, steps // 2))
        medians = [float(np.median(contest.rates(result))) for result in (ours, peer, exact)]
        rows.append(Row(f"{name}: images a second", medians[:1], "", medians[1:2], LEAST_SHARE, at_least=True))
        rows.append(Row(f"{name}: deterministic", medians[2:], "", medians[:1]))
        rows.append(Row(f"{name}: peak memory, GB", [ours["peak"]], "", [peer["peak"]] if peer["peak"] else ()))
        same = float(exact["hash"] == resumed["hash"])
        rows.append(Row(f"{name}: resumed with the same bits", [same], "", (), 1.0, at_least=True))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["--one"]:
        who, folder, run, values, stop_at = words[1:]
        print(json.dumps(TRAININGS[who](Path(folder), Path(run), json.loads(values), json.loads(stop_at))))
        return
    parser = arguments_of(__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="cpu tries the script itself")
    arguments = parser.parse_args(words)
    on_gpu = arguments.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        sys.exit("no GPU here: nothing to measure (--device cpu --quick tries the script itself)")
    print_machine()
    steps = 8 if arguments.quick else STEPS
    precisions = ("float16", "bfloat16") if on_gpu else ("float32",)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for setting in SETTINGS if on_gpu and not arguments.quick else (TINY,):
            contest = Contest(Path(scratch), setting, arguments.device, steps)
            rows += rows_of(contest, setting, precisions, steps)
    finish(rows, arguments)


if __name__ == "__main__":
    main()
