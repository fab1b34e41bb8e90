"""Members of ensembles, as prediction files of runs that never trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from tiny import run

from imettk.config import to_json
from imettk.inference.predictor import Predictions, load_predictions, save_predictions
from imettk.recipes.digits import digits

LABELS = ("a", "b", "c", "d")
GROUPS = ("x", "x", "y", "y")
NUM_FOLDS, ROWS, TEST_ROWS = 3, 60, 20  # rows of training in all, fold by fold in turn


def recipe_of(task: str = "multilabel"):
    base = digits()
    if task == "multilabel":
        return replace(base, rule=replace(base.rule, kind="threshold", min_labels=0))
    table = replace(base.table, task=task, label_column="label", labels_csv=None)
    train, rule = replace(base.train, loss="cross_entropy"), replace(base.rule, kind="argmax")
    return replace(base, table=table, train=train, rule=rule)


def truth(task: str = "multilabel", count: int = ROWS) -> np.ndarray:
    rng = np.random.default_rng(5)
    if task == "multiclass":
        return rng.integers(0, len(LABELS), count)
    return (rng.random((count, len(LABELS))) < (0.5, 0.3, 0.2, 0.4)).astype(np.uint8)


def ids_of(folds: list[int]) -> np.ndarray:
    """Ids whose order is not that of the rows."""
    return np.array([f"r{(row * 37) % 100:02d}" for row in range(ROWS) if row % NUM_FOLDS in folds])


TEST_IDS = np.array([f"t{(row * 7) % TEST_ROWS:02d}" for row in range(TEST_ROWS)])


def make_member(
    path: Path,
    *,
    seed: int = 0,
    folds: tuple[int, ...] = (0, 1, 2),
    views: int = 1,
    noise: float = 1.5,
    task: str = "multilabel",
    columns: tuple[int, ...] = (0, 1, 2, 3),
    shuffled: bool = False,
    merge: str = "mean",
    test: bool = True,
) -> dict[str, dict[int, dict[str, np.ndarray]]]:
    """A run folder with predictions that know something of the truth; returns its probabilities by id."""
    rng, every = np.random.default_rng(seed), truth(task)
    path.mkdir(parents=True)
    (path / "recipe.json").write_text(to_json(recipe_of(task)))
    values = {"labels": [LABELS[one] for one in columns], "label_groups": [GROUPS[one] for one in columns]}
    values |= {"task": task, "views": ["plain", "hflip"][:views], "merge": merge, "model": "none"}
    known: dict[str, dict[int, dict[str, np.ndarray]]] = {"oof": {}, "test": {}}

    def write(kind: str, fold: int, ids: np.ndarray, targets: np.ndarray | None, signal: np.ndarray) -> None:
        logits = 2 * signal[None] - 1 + noise * rng.normal(size=(views, *signal.shape))
        probs = 1 / (1 + np.exp(-logits)) if task == "multilabel" else np.exp(logits)
        probs = (probs if task == "multilabel" else probs / probs.sum(-1, keepdims=True)).astype(np.float32)
        order = rng.permutation(len(ids)) if shuffled else np.arange(len(ids))
        targets = None if targets is None else targets[order]
        whole = Predictions(ids[order], np.ascontiguousarray(probs[:, order]), values, targets)
        save_predictions(path / f"fold{fold}" / f"{kind}.safetensors", whole)
        merged = probs.max(0) if merge == "max" else sum(probs) / views
        known[kind][fold] = dict(zip(ids.tolist(), merged, strict=True))

    for fold in folds:
        (path / f"fold{fold}").mkdir()
        own = every[fold::NUM_FOLDS]
        targets = own if task == "multiclass" else own[:, list(columns)]
        signal = np.eye(len(LABELS))[own] if task == "multiclass" else targets.astype(float)
        write("oof", fold, ids_of([fold]), targets, signal)
        if test:
            write("test", fold, TEST_IDS, None, rng.random((TEST_ROWS, len(columns))))
    return known


def open_ensemble(tmp_path: Path) -> SimpleNamespace:
    """Folder of an ensemble, with functions that make it and read what it wrote."""
    (tmp_path / "data").mkdir()
    sample = pd.DataFrame({"id": np.sort(TEST_IDS)[::-1], "attribute_ids": "a"})
    sample.to_csv(tmp_path / "data" / "sample_submission.csv", index=False)
    folder = tmp_path / "out"

    def words(*names: str) -> list[object]:
        return [
            "ensemble",
            "--data",
            tmp_path / "data",
            "--run-dir",
            folder,
            "--members",
            *(tmp_path / n for n in names),
        ]

    def make(*names: str, options: tuple[object, ...] = ()) -> None:
        run(*words(*names), *options)

    def file(kind: str) -> Predictions:
        return load_predictions(folder / f"{kind}.safetensors")

    return SimpleNamespace(data=tmp_path / "data", folder=folder, words=words, make=make, file=file)
