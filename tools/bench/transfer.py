"""Fine-tuning real photos with real weights on two cores: ours beside fastai and a plain loop around timm.

1,000 photos of clothes (`../shared/data/clothing`, 20 classes, folds by sender) and EfficientNet-Lite0's ImageNet
weights (`../shared/weights`). Everybody gets the same three folds, 160 pixels, six epochs, batches of 32 and the same
peak rate; a fold of each in turn, in processes of their own, from their start to probabilities out of fold. Accuracies
of the same rows are compared by a paired bootstrap over senders. `best` is a recipe of ours that may take ten minutes;
fastai's `fine_tune` and the defaults of timm's train script stand beside without a bar.

`python tools/bench/transfer.py [--check] [--quick] [--folds N] [--only NAME ...] [--data DIR] [--weights DIR]`
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from paired import paired_interval
from table import Row, arguments_of, finish, print_machine

from imettk.inference.predictor import load_predictions

SHARED = Path(__file__).resolve().parents[3] / "shared"
EPOCHS, SIDE, FOLDS = 6, 160, 3
MOST_SECONDS, LEAST_ACCURACY, MOST_OF_FASTAI = 600, 0.64, 0.75

RECIPE = """
from imettk.config import *

def recipe():
    return Recipe(
        table=TableFormat(task="multiclass", train_csv="images.csv", id_column="image", label_column="label",
                          group_column="sender_id", train_images="images", image_suffix=".jpg",
                          on_missing_image="drop"),
        folds=FoldConfig(num_folds=3),
        images=ImageFormat(image_size=({side}, {side}), mean=(0.5,) * 3, std=(0.5,) * 3),
        model=ModelConfig(backbone="timm:tf_efficientnet_lite0", weights={weights!r}{model}),
        train=TrainConfig(loss="cross_entropy"{train}),
        stages=(StageConfig(num_epochs={epochs}, batch_size=32, lr=(1e-3,), warmup_epochs=1{stage}),),
        predict=PredictConfig(views=("plain", "hflip")),
        rule=RuleConfig(kind="argmax"),
        session=SessionConfig(num_workers=1, tensorboard=False),
    )
"""
MATCHED = {"side": SIDE, "epochs": EPOCHS, "model": "", "train": "", "stage": ', augmentation="flips"'}
BEST = MATCHED | {"side": 224, "stage": ', augmentation="flips", label_smoothing=0.1'}
OURS = {"imettk": MATCHED, "imettk, best": BEST}
MATCHED_PEERS, OTHER_PEERS = ("timm loop", "fastai"), ("timm settings", "fastai fine tune")


class Fold(NamedTuple):
    """A contestant's result on a fold: ids (N,), correctness of each answer, bool (N,), and seconds."""

    ids: np.ndarray
    right: np.ndarray
    seconds: float


class Bench:
    """One competition, prepared for every contestant."""

    def __init__(self, scratch: Path, data: Path, weights: Path, *, quick: bool) -> None:
        self._scratch, self._data, self._weights, self._quick = scratch, data, weights, quick
        self._prepare_seconds: dict[str, float] = {}
        for name, settings in OURS.items():
            self._run_of(name).mkdir(parents=True)
            given = settings | ({"epochs": 1, "side": 64} if quick else {})
            (self._run_of(name) / "recipe.py").write_text(RECIPE.format(weights=str(weights.resolve()), **given))

    def _run_of(self, name: str) -> Path:
        return self._scratch / name.replace(", ", "-")

    def fold_of(self, name: str, fold: int) -> Fold:
        return self._ours(name, fold) if name in OURS else self._peer(name, fold)

    def _ours(self, name: str, fold: int) -> Fold:
        run = self._run_of(name)
        common = [str(run / "recipe.py"), "--data", str(self._data), "--run-dir", str(run / "run")]
        begun = time.perf_counter()
        if not (run / "run" / "folds.csv").is_file():
            _call(["-m", "imettk", "prepare", *common])
            self._prepare_seconds[name] = time.perf_counter() - begun
            begun = time.perf_counter()
        _call(["-m", "imettk", "train", *common, "--fold", str(fold)])
        _call(["-m", "imettk", "validate", *common, "--fold", str(fold)])
        seconds = time.perf_counter() - begun + self._prepare_seconds[name] / FOLDS
        oof = load_predictions(run / "run" / f"fold{fold}" / "oof.safetensors")
        return Fold(oof.ids, oof.merged.argmax(1) == oof.targets, seconds)

    def _peer(self, name: str, fold: int) -> Fold:
        out = self._scratch / f"{name}-{fold}.npz"
        folds = self._run_of("imettk") / "run" / "folds.csv"
        script = Path(__file__).with_name("transfer_peers.py")
        epochs, side = (1, 64) if self._quick else (EPOCHS, SIDE)
        begun = time.perf_counter()
        _call([script, name, self._data, self._weights, folds, fold, out, epochs, side])
        seconds = time.perf_counter() - begun
        found = np.load(out)
        return Fold(found["ids"], found["probs"].argmax(1) == found["targets"], seconds)


def _call(words: Sequence[object]) -> None:
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = arguments_of(__doc__)
    parser.add_argument("--folds", type=int, default=FOLDS, metavar="N", help="of the three (default: %(default)s)")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help="imettk, imettk-best, timm-loop, fastai, timm-settings, fastai-fine-tune",
    )
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "clothing")
    parser.add_argument("--weights", type=Path, default=SHARED / "weights")
    arguments = parser.parse_args(argv)
    if not (arguments.data.is_dir() and arguments.weights.is_dir()):
        sys.exit(f"needs real photos and weights: no {arguments.data} or no {arguments.weights}")
    print_machine("fastai", "torchvision")
    names = [*OURS, *MATCHED_PEERS, *OTHER_PEERS]
    names = [name for name in names if "fastai" not in name or importlib.util.find_spec("fastai")]
    wanted = {name.replace("-", " ").replace("imettk best", "imettk, best") for name in arguments.only or names}
    names = [name for name in names if name in wanted or name == "imettk"]
    groups = pd.read_csv(arguments.data / "images.csv", dtype=str).set_index("image")["sender_id"]
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), arguments.data.resolve(), arguments.weights, quick=arguments.quick)
        folds: dict[str, list[Fold]] = {name: [] for name in names}
        for fold in range(1 if arguments.quick else arguments.folds):
            for name in names:  # in turn: what slows the machine slows all
                folds[name].append(found := bench.fold_of(name, fold))
                print(f"fold {fold}, {name}: accuracy {found.right.mean():.4f}, {found.seconds:.0f} s", flush=True)
    right = {name: pd.concat([pd.Series(part.right, part.ids) for part in parts]) for name, parts in folds.items()}
    finish(_rows(folds, right, groups), arguments)


def _rows(folds: dict[str, list[Fold]], right: dict[str, pd.Series], groups: pd.Series) -> list[Row]:
    seconds = {name: [part.seconds for part in parts] for name, parts in folds.items()}
    rows = [Row(f"{name}: OOF accuracy", [right[name].mean()]) for name in folds]
    rows += [Row(f"{name}: seconds a fold", seconds[name]) for name in folds]
    for peer in (name for name in MATCHED_PEERS if name in folds):
        _, _, high = paired_interval(right[peer], right["imettk"], groups)
        rows.append(Row(f"imettk less {peer}: upper end of 95%", [high], "", (), 0.0, at_least=True))
    if "fastai" in folds:
        rows.append(Row("imettk to fastai, seconds", seconds["imettk"], "", seconds["fastai"], MOST_OF_FASTAI))
    if "imettk, best" in folds:
        rows.append(Row("best: OOF accuracy", [right["imettk, best"].mean()], "", (), LEAST_ACCURACY, at_least=True))
        rows.append(Row("best: seconds in all", [sum(seconds["imettk, best"])], "", (), MOST_SECONDS))
    rows.append(Row("imettk: seconds in all", [sum(seconds["imettk"])], "", (), MOST_SECONDS))
    return rows


if __name__ == "__main__":
    main()
