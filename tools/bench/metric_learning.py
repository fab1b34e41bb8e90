"""Identification on Omniglot from scratch: our recipe over three seeds, an ensemble, and pytorch-metric-learning.

`python tools/bench/metric_learning.py [--check] [--quick] [--rows ROW ...] [--folder DIR]`. Two hours on two slow
cores; what has been trained and timed to its end in a folder is not trained again. Rows:

- seen: 242 characters, drawers 1 to 10 for training and gallery, 11 to 20 as queries;
- unseen: every other character is not in the training; it is enrolled by its first drawer, 2 to 20 are queries, and the
  121 enrolled images are the gallery; with and without re-ranking;
- oneshot: runs 01 to 20 of the original paper, each character of 20 from one image; beside it the pixels' distance;
- joined: a second network of another size that sees the whole frame, and both joined;
- peers: pytorch-metric-learning's ArcFace and triplets in a plain loop of the same network, data, steps and rates; of a
  fifth of the epochs, for the time it takes. "ranked plainly" is ours without views and re-ranking, as theirs is.

Ours runs as a user runs it: `imettk prepare`, `train`, `infer --answers`. Seconds are those of `train`, start included.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from omniglot import NUM_ANSWERS, lay_out, read_run, recipe
from table import Row, arguments_of, finish, print_machine, print_table

from imettk.config import from_json, to_json
from imettk.experiment.prepared import make_network
from imettk.inference.predictor import load_predictions
from imettk.inference.reranking import rank_reranked
from imettk.inference.retrieval import rank_gallery
from imettk.metrics.ranked import map_at_k
from imettk.tracking.tensors import read_tensors

QUIET = {"OMP_WAIT_POLICY": "PASSIVE"}  # threads that wait do not spin, for ours and for theirs
HERE = Path(__file__).resolve().parent
RECIPE = HERE / "omniglot.py"
ROWS = ("seen", "unseen", "oneshot", "joined", "peers")
SEEDS = (0, 1, 2)  # folds: each has its own seed, and all rows train in every one
PEER_SEEDS = 2
LIMIT_SECONDS = 600.0
SEEN_BAR, UNSEEN_BAR, JOINED_BAR = 0.965, 0.92, 0.975
# The whole frame, not cut to the ink.
FRAME = ("--table.boxes-csv", "None", "--images.box-margin", "0.0", "--images.aspect", "stretch")
# Mirrored characters are other characters: twice the classes for what has to tell unseen ones apart.
LONG = ("--stages.0.num-epochs", "20", "--stages.1.num-epochs", "8")
UNSEEN = (*FRAME, "--embedding.mirrored-identities", "True", *LONG)
SHORT = ("--stages.0.num-epochs", "14", "--stages.1.num-epochs", "7")
QUICK = ("--stages.0.num-epochs", "3", "--stages.1.num-epochs", "1")
PLAINLY = ("--predict.views", "plain", "--ranking.rerank", "0", "--ranking.pool", "best")
ARCFACE = ("--model.centre-std", "1.0")  # as the library's start, as are the means of the triplets
TRIPLET = (
    "--train.loss", "triplet", "--train.watch", "score", "--model.centres", "0", "--embedding.margin", "0.2",
    "--embedding.violated-only", "True", "--embedding.distance", "euclidean",
    "--stages.0.sampler", "identities", "--stages.0.cover-identities", "False",
    "--stages.1.sampler", "identities", "--stages.1.cover-identities", "False",
)  # fmt: skip
SECOND = (
    *FRAME, "--images.image-size", "48", "48", "--stages.0.num-epochs", "65", "--stages.1.num-epochs", "26",
)  # fmt: skip


def imettk(*words: str | Path) -> str:
    """Run a command of imettk, and return its output."""
    done = subprocess.run(
        [sys.executable, "-m", "imettk", *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | QUIET,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"imettk {words[0]}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


class Competition:
    """One of the tasks, laid out in a folder; its `seconds.json` records the seconds of each finished training."""

    def __init__(self, folder: Path, *, unseen: bool, quick: bool) -> None:
        self.folder = folder
        self.options: tuple[str, ...] = UNSEEN if unseen else ()
        self._last: tuple[str, ...] = QUICK if quick else ()
        if not (folder / "data" / "sample_submission.csv").is_file():  # what is written last
            lay_out(folder, unseen=unseen)
        self._times = folder / "seconds.json"
        answers = pd.read_csv(folder / "answers.csv", dtype=str)
        self._truth = answers.set_index("image")["character"]

    def command(self, name: str, run: str, *options: str) -> None:
        """Run a command in a run folder of this name."""
        words = (*self.options, *options, *self._last)
        imettk(name, RECIPE, "--data", self.folder / "data", "--run-dir", self.folder / run, *words)

    def train(self, run: str, seed: int, *options: str) -> float:
        """Train a fold to its end unless it is; return the seconds that the training took."""
        name = f"{run}/fold{seed}"
        if name not in self._kept():
            shutil.rmtree(self.folder / name, ignore_errors=True)  # of a killed benchmark: its time counts as a whole
            started = time.perf_counter()
            self.command("train", run, *options, "--fold", str(seed))
            seconds = time.perf_counter() - started
            self._times.write_text(json.dumps(self._kept() | {name: seconds}))
        return self._kept()[name]

    def _kept(self) -> dict[str, float]:
        return json.loads(self._times.read_text()) if self._times.is_file() else {}

    def score(self, run: str) -> tuple[float, float]:
        """Count MAP@5 and top-1 of a submission by hand."""
        submission = pd.read_csv(self.folder / run / "submission.csv", dtype=str).set_index("image")
        hit = submission.to_numpy() == self._truth.loc[submission.index].to_numpy()[:, None]
        return float(np.where(hit.any(1), 1 / (hit.argmax(1) + 1), 0).mean()), float(hit[:, 0].mean())

    def score_enrolled(self, run: str, seed: int) -> tuple[float, float]:
        """Return MAP@5 among the queries' own characters, without and with re-ranking."""
        queries, gallery = (
            load_predictions(self.folder / run / f"fold{seed}" / f"{name}.safetensors") for name in ("test", "gallery")
        )
        truth = self._truth.loc[queries.ids].to_numpy()
        known = [name.partition("_")[0] for name in gallery.ids]
        labels, places = np.unique(truth, return_inverse=True)
        number = {str(label): place for place, label in enumerate(labels)}
        of_gallery = np.array([number.get(name, -1) for name in known])
        sides = queries.merged_embeddings, gallery.merged_embeddings, of_gallery
        rankings = rank_gallery(*sides, k=NUM_ANSWERS), rank_reranked(*sides, k=NUM_ANSWERS)
        plain, reranked = (map_at_k(ranking.labels, places) for ranking in rankings)
        return plain, reranked

    def runs(self, run: str, seeds: Sequence[int], *options: str) -> Results:
        """Train and score one model after another, each with a seed of its own."""
        self.command("prepare", run, *options)
        results = Results([], [], [])
        for seed in seeds:
            seconds = self.train(run, seed, *options)
            self.command("infer", run, *options, "--fold", str(seed))
            score, top1 = self.score(run)
            results.extend(Results([score], [top1], [seconds]))
        return results


class Results(NamedTuple):
    """Scores by seed."""

    map: list[float]
    top1: list[float]
    seconds: list[float]

    def extend(self, other: Results) -> None:
        """Return the rows of more seeds."""
        for mine, more in zip(self, other, strict=True):
            mine.extend(more)

    def rows(self, name: str, bar: float | None) -> list[Row]:
        """Return the rows of the table."""
        return [
            Row(f"{name}: MAP@5", self.map, bar=bar, at_least=True),
            Row(f"{name}: top-1", self.top1),
            Row(f"{name}: training, s", self.seconds, bar=LIMIT_SECONDS),
        ]


def unseen(task: Competition, seeds: Sequence[int]) -> list[Row]:
    """Score characters that the network has never seen, found by one image each."""
    results = task.runs("first", seeds)
    scores = [task.score_enrolled("first", seed) for seed in seeds]
    return [
        Row("unseen: MAP@5", [reranked for _, reranked in scores], bar=UNSEEN_BAR, at_least=True),
        Row("unseen: without re-ranking", [plain for plain, _ in scores]),
        Row("unseen: among all 242", results.map),
        Row("unseen: training, s", results.seconds, bar=LIMIT_SECONDS),
    ]


def one_shot(task: Competition, run: str, seeds: Sequence[int]) -> list[Row]:
    """Count errors in 20 runs of 20 unseen characters, by a model's embeddings and by pixels."""
    errors, pixels = [], []
    plan = recipe().images
    runs = [read_run(number) for number in range(1, 21)]
    flat = [[_small(images, plan.image_size).reshape(len(images), -1) for images in run[:2]] for run in runs]
    for seed in seeds:
        network = load_network(task.folder / run / f"fold{seed}" / "model.safetensors")
        found = [[_embed(network, _small(images, plan.image_size)) for images in run[:2]] for run in runs]
        errors.append(_error(found, runs))
        pixels.append(_error(flat, runs))
    return [Row("one-shot, 20 runs: error, beside pixels", errors, baseline=pixels, bar=0.999)]


def _small(images: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Return images as the input path makes them, float32 (N, H, W, 1)."""
    small = [cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA) for image in images]
    return np.stack(small)[..., None].astype(np.float32)


def _error(pairs: list[list[np.ndarray]], runs: list[tuple[list[np.ndarray], list[np.ndarray], np.ndarray]]) -> float:
    """Return the share of wrong answers, each the most similar image by cosine."""
    wrong = []
    for (queries, known), (_, _, truth) in zip(pairs, runs, strict=True):
        queries, known = (pixels / np.linalg.norm(pixels, axis=1, keepdims=True) for pixels in (queries, known))
        wrong.append((queries @ known.T).argmax(1) != truth)
    return float(np.concatenate(wrong).mean())


def load_network(path: Path) -> torch.nn.Module:
    """Load a trained network in evaluation mode."""
    file = read_tensors(path)
    made = from_json(json.dumps(json.loads(to_json(recipe())) | {"model": file.values["model"]}))
    mirrored = file.tensors["head.centres"].shape[0] != len(file.values["labels"])
    network = make_network(made, len(file.values["labels"]) * (2 if mirrored else 1))
    network.load_state_dict(file.tensors)
    return network.eval()


@torch.inference_mode()
def _embed(network: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    return network(torch.from_numpy(images)).embeddings.numpy()


def joined(task: Competition, first: str, alone: Results, seeds: Sequence[int]) -> list[Row]:
    """Train a second model of another size, and join both."""
    second = task.runs("second", seeds[:1], *SECOND)
    task.command("infer", first, "--fold", str(seeds[0]))
    apart = [task.folder / "one" / first, task.folder / "one" / "second"]
    shutil.rmtree(task.folder / "one", ignore_errors=True)
    for source, name in zip((first, "second"), apart, strict=True):  # of the first, one seed alone
        (name / "fold0").mkdir(parents=True)
        shutil.copy(task.folder / source / "recipe.json", name)
        for file in ("test.safetensors", "gallery.safetensors"):
            shutil.copy(task.folder / source / f"fold{seeds[0]}" / file, name / "fold0" / file)
    imettk(
        "ensemble", RECIPE, "--data", task.folder / "data", "--run-dir", task.folder / "joined", *task.options,
        "--members", *apart,
    )  # fmt: skip
    both = task.score("joined")[0]
    best = max(alone.map[0], second.map[0])
    return [
        *second.rows("second model", None),
        Row("joined: MAP@5", [both], bar=JOINED_BAR, at_least=True),
        Row("joined, beside the better one: 1 - MAP@5", [1 - both], baseline=[1 - best], bar=0.999),
    ]


def peers(task: Competition, seeds: Sequence[int], options: Sequence[str]) -> list[Row]:
    """Train the library's ArcFace and triplets beside ours, in turn."""
    rows = []
    for kind, more in (("arcface", ARCFACE), ("triplet", TRIPLET)):
        ours, theirs, plain = Results([], [], []), Results([], [], []), []
        for seed in seeds:
            ours.extend(task.runs(kind, [seed], *more, *options))
            task.command("infer", kind, *more, *options, *PLAINLY, "--fold", str(seed))
            plain.append(task.score(kind)[0])
            theirs.extend(_library(kind, task.folder, seed))
        rows += [
            Row(f"{kind}, beside the library: MAP@5", ours.map, baseline=theirs.map, bar=1.0, at_least=True),
            Row(f"{kind}, ranked plainly, beside it: MAP@5", plain, baseline=theirs.map, bar=1.0, at_least=True),
            Row(f"{kind}, beside the library: seconds", ours.seconds, baseline=theirs.seconds, bar=1.0),
        ]
    return rows


def _library(kind: str, folder: Path, seed: int) -> Results:
    """Run one training of `metric_peers.py`, which takes the recipe from a run folder `run`."""
    kept = folder / f"library_{kind}{seed}.json"
    if not kept.is_file():
        (folder / "run").unlink(missing_ok=True)
        (folder / "run").symlink_to(folder / kind)
        words = [sys.executable, str(HERE / "metric_peers.py"), kind, str(folder), str(seed)]
        started = time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True, env=os.environ | QUIET, check=False)
        seconds = time.perf_counter() - started
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        found = json.loads(done.stdout.splitlines()[-1])
        kept.write_text(json.dumps([found["map"], found["top1"], seconds - found["scoring_seconds"]]))
    return Results(*([value] for value in json.loads(kept.read_text())))


def main() -> None:
    """Measure and print."""
    parser = arguments_of(__doc__)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--folder", type=Path, help="where the runs are kept (default: nowhere)")
    arguments = parser.parse_args()
    print_machine("pytorch-metric-learning")
    seeds = SEEDS[:1] if arguments.quick else SEEDS
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = (arguments.folder or Path(scratch)).absolute()
        task = Competition(folder / "seen", unseen=False, quick=arguments.quick)
        if set(arguments.rows) & {"seen", "joined"}:
            alone = task.runs("first", seeds)
            rows += alone.rows("seen", SEEN_BAR)
            print_table(rows)
            if "joined" in arguments.rows:
                rows += joined(task, "first", alone, seeds)
                print_table(rows)
        if "peers" in arguments.rows:
            rows += peers(task, seeds[:PEER_SEEDS], () if arguments.quick else SHORT)
            print_table(rows)
        if set(arguments.rows) & {"unseen", "oneshot"}:
            task = Competition(folder / "unseen", unseen=True, quick=arguments.quick)
            rows += unseen(task, seeds)
            print_table(rows)
            rows += one_shot(task, "first", seeds)
        finish(rows, arguments)


if __name__ == "__main__":
    main()
