"""Gain of each technique of docs/techniques.md on real photos, at equal seconds of training.

1,000 photos of clothes (`../shared/data/clothing`, 20 classes, three folds by sender) and EfficientNet-Lite0's ImageNet
weights (`../shared/weights`). Every technique changes one thing in the same plain recipe. First the cost of a training
with it is measured beside the plain one in several rounds; then its epochs are divided by that cost, so that
all train for equal seconds, whatever else the machine does later. Out-of-fold predictions of the same rows are compared
with those of the plain recipe by a paired bootstrap over senders: accuracy, and the mean log probability of the truth,
which tells smaller gains apart. `another seed` is the plain recipe again: what seeds alone do.

`--work DIR` keeps costs and runs, and goes on with them: forty techniques take 70 minutes on two cores with `--jobs 2`.

The bar is for the combination that `imettk new` writes: the lower end of its interval of log p is above 0.

`python tools/bench/techniques.py [--check] [--quick] [--work DIR] [--jobs N] [--folds N] [--only NAME ...]`
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from paired import paired_interval
from table import Row, arguments_of, finish, print_machine

from imettk.commands.dry_run import measure, plan_fold, total_seconds
from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    PredictConfig,
    Recipe,
    RuleConfig,
    SessionConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
    probe_then_tune,
    progressive_stages,
    to_json,
)
from imettk.errors import UserError
from imettk.experiment.prepared import Experiment, choose_compute, read_prepared
from imettk.experiment.settle import settle
from imettk.inference.predictor import load_predictions
from imettk.tracking.run_dir import RunDir

SHARED = Path(__file__).resolve().parents[3] / "shared"
SIDE, EPOCHS, FOLDS = 96, 6, 3
ROUNDS = 3  # of the measurement of costs
PLAIN, WRITTEN = "plain", "combined: frozen BatchNorm, 2 levels"  # which `imettk new` writes
Change = Callable[[Recipe], Recipe]


def plain(weights: Path) -> Recipe:
    """Return the recipe that every technique changes."""
    table = TableFormat(
        task="multiclass",
        train_csv="images.csv",
        id_column="image",
        label_column="label",
        group_column="sender_id",
        train_images="images",
        image_suffix=".jpg",
        on_missing_image="drop",
    )
    stage = StageConfig(num_epochs=EPOCHS, batch_size=32, lr=(1e-3,), warmup_epochs=1, augmentation="flips")
    return Recipe(
        name="techniques",
        table=table,
        folds=FoldConfig(num_folds=3),
        images=ImageFormat(image_size=(SIDE, SIDE)),
        model=ModelConfig(backbone="timm:tf_efficientnet_lite0", weights=str(weights)),
        train=TrainConfig(loss="cross_entropy", precision="float32", validate_epochs=2),
        stages=(stage,),
        predict=PredictConfig(views=("plain", "hflip")),
        rule=RuleConfig(kind="argmax"),
        session=SessionConfig(num_workers=1, num_threads=1, tensorboard=False),
    )


def train_with(**fields: Any) -> Change:
    """Return a change of the section `train`."""
    return lambda recipe: dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, **fields))


def stage_with(**fields: Any) -> Change:
    """Return a change of the only stage."""
    return lambda recipe: dataclasses.replace(recipe, stages=(dataclasses.replace(recipe.stages[0], **fields),))


def model_with(**fields: Any) -> Change:
    """Return a change of the section `model`."""
    return lambda recipe: dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, **fields))


def stages_from(make: Callable[[StageConfig], tuple[StageConfig, ...]]) -> Change:
    """Return a change of the only stage into several."""
    return lambda recipe: dataclasses.replace(recipe, stages=make(recipe.stages[0]))


def both(*changes: Change) -> Change:
    """Return several changes as one."""

    def change(recipe: Recipe) -> Recipe:
        for part in changes:
            recipe = part(recipe)
        return recipe

    return change


def small_then_large(stage: StageConfig) -> tuple[StageConfig, ...]:
    """Return a stage of small images and a short last one at the recipe's size."""
    return (
        dataclasses.replace(stage, num_epochs=stage.num_epochs * 0.8, image_size=(64, 64)),
        dataclasses.replace(stage, num_epochs=stage.num_epochs * 0.2, lr=(2e-4,), warmup_epochs=0),
    )


FROZEN = stage_with(freeze_batchnorm=True)
TWO_LEVELS = model_with(head="pooled", pool="average", last_levels=2)
AFFINE = stage_with(augmentation="affine")
CROPS = stage_with(augmentation="none", transforms=("RandomResizedCrop(scale=(0.6, 1), p=1)", "HorizontalFlip(p=0.5)"))
TECHNIQUES: dict[str, Change] = {
    PLAIN: lambda recipe: recipe,
    "another seed": train_with(seed=1),
    "label smoothing 0.1": stage_with(label_smoothing=0.1),
    "label smoothing 0.1 by class": stage_with(label_smoothing=0.1, smoothing_by="counts"),
    "class weights, square root": stage_with(class_weights="sqrt"),
    "class weights, effective number": stage_with(class_weights="effective"),
    "frozen BatchNorm": FROZEN,
    "linear probe, then fine-tuning": stages_from(lambda stage: probe_then_tune(stage, layer_groups=1, lr=3e-3)),
    "layer decay 0.7, 4 groups": both(model_with(layer_groups=4), stage_with(layer_decay=0.7)),
    "layer decay 0.9 by block": both(model_with(layer_groups=0), stage_with(layer_decay=0.9)),
    "dropout 0.3 before the head": model_with(dropout=0.3),
    "dropout 0.3, 5 masks": model_with(dropout=0.3, dropout_samples=5),
    "stochastic depth 0.1": model_with(drop_path=0.1),
    "head pooled, average": model_with(head="pooled", pool="average"),
    "head pooled, average and maximum": model_with(head="pooled"),
    "head pooled, GeM": model_with(head="pooled", pool="gem"),
    "head pooled, attention": model_with(head="pooled", pool="attention"),
    "head pooled, the last 2 levels": TWO_LEVELS,
    "averaged weights (EMA 0.98)": train_with(ema_decay=0.98),
    "mean of the last 3 validations": train_with(average_last=3),
    "SWA, 3 cycles": both(stage_with(num_cycles=3), train_with(average_last=3)),
    "SGD": stage_with(optimizer="sgd", lr=(0.02,), weight_decay=1e-4),
    "Muon": stage_with(optimizer="timm:muon"),
    "AdaMuon": stage_with(optimizer="timm:adamuon"),
    "ADOPT": stage_with(optimizer="timm:adoptw"),
    "Lion": stage_with(optimizer="timm:lion", lr=(2e-4,), weight_decay=0.25),
    "Lookahead 5": stage_with(lookahead=5),
    "warm restarts, 2 cycles": stage_with(num_cycles=2),
    "MixUp 0.2": stage_with(mixup=0.2),
    "CutMix 1.0, half of the batches": stage_with(cutmix=1.0, mix_share=0.5),
    "random erasing 0.25": stage_with(erasing=0.25),
    "augmentation affine": AFFINE,
    "augmentation RandAugment": stage_with(augmentation="randaugment"),
    "augmentation AugMix": stage_with(augmentation="augmix"),
    "augmentation GridMask": stage_with(augmentation="gridmask"),
    "crops by a list of transforms": CROPS,
    "mosaic, a quarter of the batches": stage_with(mosaic=0.25),
    "MixUp 0.2 of other classes": stage_with(mixup=0.2, mix_classes="other"),
    "predicting at 128": lambda recipe: dataclasses.replace(
        recipe, predict=dataclasses.replace(recipe.predict, image_size=(128, 128))
    ),
    "progressive sizes 64, 80, 96": stages_from(
        lambda stage: progressive_stages(stage, image_sizes=((64, 64), (80, 80), (96, 96)))
    ),
    "train small (64), finish large": stages_from(small_then_large),
    "growing batches 16, 32, 64": stages_from(
        lambda stage: progressive_stages(
            dataclasses.replace(stage, schedule="constant", lr=(5e-4,)), batch_sizes=(16, 32, 64)
        )
    ),
    WRITTEN: both(FROZEN, TWO_LEVELS),
    "combined: these and affine": both(FROZEN, TWO_LEVELS, AFFINE),
    "combined: these and crops": both(FROZEN, TWO_LEVELS, CROPS),
    "combined: frozen BatchNorm, affine": both(FROZEN, AFFINE),
}


class Result(NamedTuple):
    """Out-of-fold rows of a technique.

    Attributes:
        right: 1 where the answer is the truth, by id.
        log_probs: of the truth, by id.
        seconds: the work folder's record of its trainings, summed over folds.
    """

    right: pd.Series
    log_probs: pd.Series
    seconds: float


class Bench:
    """One competition, its costs and its runs, kept in a folder."""

    def __init__(self, work: Path, data: Path, weights: Path, *, quick: bool) -> None:
        self._work, self._data, self._base = work, data, plain(weights.resolve())
        if quick:
            small = dataclasses.replace(self._base.images, image_size=(48, 48))
            self._base = stage_with(num_epochs=1)(dataclasses.replace(self._base, images=small))
        self._rounds = 1 if quick else ROUNDS
        self._costs_file = work / "costs.json"
        self.costs: dict[str, float] = json.loads(self._costs_file.read_text()) if self._costs_file.is_file() else {}

    def measure_costs(self, names: Sequence[str]) -> None:
        """Measure what is not known yet of the trainings' seconds, each divided by the plain one's of its round."""
        missing = [name for name in names if name not in self.costs]
        if not missing:
            return
        self._seconds(PLAIN)  # the first in a process pays for imports and caches
        ratios: dict[str, list[float]] = {name: [] for name in missing}
        for number in range(self._rounds):
            for name in missing:  # beside the plain one each time: the speed of a shared machine drifts
                ratios[name].append(1.0 if name == PLAIN else self._seconds(name) / self._seconds(PLAIN))
            print(f"costs, round {number + 1} of {self._rounds} measured", flush=True)
        self.costs |= {name: statistics.median(values) for name, values in ratios.items()}
        self._costs_file.write_text(json.dumps(self.costs, indent=1))

    def _seconds(self, name: str) -> float:
        """Return the seconds of a training of fold 0, from a few steps of each stage."""
        recipe, run = TECHNIQUES[name](self._base), RunDir(self._prepared(name), ())
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            prepared = read_prepared(recipe, self._data, run)
            experiment = Experiment(recipe, run, prepared, choose_compute(recipe))
            _, step_seconds, validation_seconds = measure(experiment, settle(recipe, run), fold=0)
        return total_seconds(recipe, plan_fold(recipe, prepared, 0), step_seconds, validation_seconds)

    def _prepared(self, name: str) -> Path:
        """Return a technique's run folder, prepared."""
        folder = self._work / name.replace(" ", "-").replace(",", "")
        folder.mkdir(parents=True, exist_ok=True)
        recipe = TECHNIQUES[name](self._base)
        if name in self.costs:
            cut = 1 / self.costs[name]
            stages = (
                dataclasses.replace(
                    stage,
                    num_epochs=stage.num_epochs * cut,
                    warmup_epochs=min(stage.warmup_epochs, stage.num_epochs * cut),
                )
                for stage in recipe.stages
            )
            recipe = dataclasses.replace(recipe, stages=tuple(stages))
        (folder / "recipe-of-bench.json").write_text(to_json(recipe))
        if not (folder / "run" / "folds.csv").is_file():
            self._call("prepare", folder)
        return folder / "run"

    def run(self, name: str, num_folds: int) -> Result:
        """Train and validate what is not done yet; return the out-of-fold rows."""
        run = self._prepared(name)
        parts, seconds = [], 0.0
        for fold in range(num_folds):
            took = run / f"fold{fold}" / "seconds.json"
            if not took.is_file():
                begun = time.perf_counter()
                self._call("train", run.parent, "--fold", str(fold))
                self._call("validate", run.parent, "--fold", str(fold))
                took.write_text(json.dumps(time.perf_counter() - begun))
            seconds += json.loads(took.read_text())
            parts.append(load_predictions(run / f"fold{fold}" / "oof.safetensors"))
        ids = np.concatenate([part.ids for part in parts])
        probs, targets = (
            np.concatenate(arrays) for arrays in zip(*((p.merged, p.targets) for p in parts), strict=True)
        )
        truth = probs[np.arange(len(probs)), targets].clip(1e-7)
        return Result(pd.Series(probs.argmax(1) == targets, ids), pd.Series(np.log(truth), ids), seconds)

    def _call(self, command: str, folder: Path, *words: str) -> None:
        common = [str(folder / "recipe-of-bench.json"), "--data", str(self._data), "--run-dir", str(folder / "run")]
        arguments = [sys.executable, "-m", "imettk", command, *common, *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise UserError(f"{folder.name}, {command}: {done.stderr.strip()[-500:]}")


def print_results(results: dict[str, Result], costs: dict[str, float], groups: pd.Series) -> None:
    """Print gains and losses alike, the largest gain of log probability first."""
    base = results[PLAIN]
    rows = []
    for name, result in results.items():
        accuracy = paired_interval(base.right, result.right, groups)
        log_prob = paired_interval(base.log_probs, result.log_probs, groups)
        rows.append((name, result.right.mean(), accuracy, log_prob, costs[name], result.seconds))
    rows.sort(key=lambda row: -row[3][0])
    print(
        f"\n{'':<36}{'accuracy':>9}  {'gain of accuracy, 95%':<27}{'gain of log p, 95%':<27}{'cost':>6}{'seconds':>9}"
    )
    for name, score, accuracy, log_prob, cost, seconds in rows:
        shown = "".join(f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]   " for mean, low, high in (accuracy, log_prob))
        print(f"{name:<36}{score:>9.4f}  {shown}{cost:>4.2f}{seconds:>9.0f}")


def written_row(results: dict[str, Result], groups: pd.Series) -> Row:
    """Return the lower end of the interval that has a bar."""
    low = paired_interval(results[PLAIN].log_probs, results[WRITTEN].log_probs, groups)[1]
    return Row("gain of log p by the recipe of `new`, lower end", [low], bar=0.0, at_least=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = arguments_of(__doc__)
    parser.add_argument("--folds", type=int, default=FOLDS, metavar="N", help="of the three (default: %(default)s)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep costs and runs here, and continue")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at a time (default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names or their beginnings; plain is added")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "clothing")
    parser.add_argument("--weights", type=Path, default=SHARED / "weights")
    arguments = parser.parse_args(argv)
    if not (arguments.data.is_dir() and arguments.weights.is_dir()):
        sys.exit(f"needs real photos and weights: no {arguments.data} or no {arguments.weights}")
    wanted = tuple(arguments.only or ([PLAIN, "label smoothing"] if arguments.quick else [""]))
    names = [name for name in TECHNIQUES if name == PLAIN or name.startswith(wanted)]
    print_machine("albumentations")
    groups = pd.read_csv(arguments.data / "images.csv", dtype=str).set_index("image")["sender_id"]
    with contextlib.ExitStack() as stack:
        work = arguments.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = Bench(work, arguments.data.resolve(), arguments.weights, quick=arguments.quick)
        bench.measure_costs(names)
        results: dict[str, Result] = {}
        with ThreadPoolExecutor(arguments.jobs) as pool:  # each only waits for the processes that it starts
            num_folds = 1 if arguments.quick else arguments.folds
            for name, result in zip(names, pool.map(lambda name: bench.run(name, num_folds), names), strict=True):
                results[name] = result
                print(f"{name}: accuracy {result.right.mean():.4f}, {result.seconds:.0f} s", flush=True)
        print_results(results, bench.costs, groups)
    if WRITTEN in results and not arguments.quick:
        finish([written_row(results, groups)], arguments)


if __name__ == "__main__":
    main()
