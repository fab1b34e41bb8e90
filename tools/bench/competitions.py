"""Competitions of ten layouts, entered by somebody in a hurry: `new`, and the four commands it prints.

`python tools/bench/competitions.py [--check] [--quick] [--only NAME ...] [--seed N]`. `new` is told the competition's
metric and nothing else; the other commands get options that keep them short. One counts as entered where every command
ends with 0, the submission has the sample's columns and ids and cells that the metric can judge, its score lies at
least four fifths of the way from the sample's to that of a linear model on 8 x 8 pixels, and scores.json names the
metric. Scores are scikit-learn's.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from layouts import LAYOUTS, NUM_TRAIN, Folder, Layout
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from table import arguments_of, print_machine

from imettk.cli.main import main as imettk

FAR_ENOUGH = 0.8  # of the way from the sample submission's score to the linear model's
SHORT = ["--folds.num-folds", "2", "--session.num-workers", "0", "--session.tensorboard", "false"]
STAGES = ("prepare", "train", "validate", "infer")


class Entry(NamedTuple):
    """The result of one competition.

    Attributes:
        reached: `entered`, or where it ended.
        why: the last line of what refused it.
        score, sample, pixels: of the submission, of the sample and of the linear model, by the competition's metric.
    """

    name: str
    reached: str
    seconds: float
    why: str = ""
    score: float = float("nan")
    sample: float = float("nan")
    pixels: float = float("nan")
    metric: str = ""


def log_loss(truth: np.ndarray, values: np.ndarray) -> float:
    """Return the mean -log of the true class's probability; rows are normalised first, as graders do."""
    clipped = np.clip(values, 1e-15, 1 - 1e-15)
    shares = clipped / clipped.sum(axis=1, keepdims=True)
    return float(-np.log(shares[truth]).mean())


def of_classes(score: Callable[..., float], **options: object) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return a metric of classes as a metric of one-hot columns."""
    return lambda truth, values: float(score(truth.argmax(1), values.argmax(1), **options))


def f1_macro(truth: np.ndarray, values: np.ndarray) -> float:
    return float(metrics.f1_score(truth, values, average="macro", zero_division=0))


# (truth bool (N, C), values (N, C)) -> score: values are probabilities, or 1 where a label is answered.
GRADERS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "log_loss": log_loss,
    "roc_auc": lambda truth, values: float(metrics.roc_auc_score(truth, values, average="macro")),
    "average_precision": lambda truth, values: float(metrics.average_precision_score(truth, values, average="macro")),
    "f1_macro": f1_macro,  # of labels; of classes each one against the rest, which is the same
    "f1_samples": lambda truth, values: float(metrics.f1_score(truth, values, average="samples", zero_division=0)),
    "accuracy": of_classes(metrics.accuracy_score),
    "balanced_accuracy": of_classes(metrics.balanced_accuracy_score),
}
LOWER_IS_BETTER = ("log_loss",)


def read_values(layout: Layout, cells: pd.DataFrame) -> np.ndarray:
    """Read the answers of a submission, float (N, columns).

    Args:
        cells: as text, without the ids.

    Raises:
        ValueError: a cell is not what the competition asks for; says which.
    """
    if layout.cells in ("probability", "flag"):
        values = cells.apply(pd.to_numeric).to_numpy(float)
        fit = np.isin(values, (0, 1)) if layout.cells == "flag" else (values >= 0) & (values <= 1)
        if not fit.all():
            raise ValueError(f"{values[~fit][0]:g} is no {layout.cells}")
        return values
    column = cells.iloc[:, 0]
    answers = [ast.literal_eval(cell) for cell in column] if layout.cells == "list" else [[cell] for cell in column]
    for answer in answers:
        if not isinstance(answer, list) or not set(answer) <= set(layout.asked) or len(set(answer)) != len(answer):
            raise ValueError(f"{answer} is not of {', '.join(layout.asked)}")
    return np.array([[float(name in answer) for name in layout.asked] for answer in answers])


def read_submission(folder: Folder, path: Path) -> np.ndarray:
    """Read a submission as a grader does, float (N, columns).

    Raises:
        ValueError: a grader would refuse it; says why.
    """
    sample, layout = folder.sample, folder.layout
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    key = sample.columns[0]
    if list(frame.columns) != list(sample.columns):
        raise ValueError(f"columns {', '.join(frame.columns)} in place of {', '.join(sample.columns)}")
    if sorted(frame[key]) != sorted(sample[key]):
        raise ValueError("ids are not those of the sample, each once")
    values = read_values(layout, frame.set_index(key).loc[sample[key]])
    sums = values.sum(axis=1)
    if layout.cells == "probability" and layout.metric == "log_loss" and not np.allclose(sums, 1, atol=1e-6):
        raise ValueError(f"probabilities of a row sum to {sums[np.abs(sums - 1).argmax()]:.8f}")
    return values


def answer_by_pixels(folder: Folder) -> np.ndarray:
    """Answer with a linear model on a few pixels, as `read_submission` returns answers."""
    layout, held = folder.layout, folder.held[:NUM_TRAIN]
    train, test = folder.pixels[:NUM_TRAIN], folder.pixels[NUM_TRAIN:]

    def fitted(truth: np.ndarray) -> np.ndarray:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
        return np.asarray(model.fit(train, truth).predict_proba(test))

    if layout.exclusive:
        probs = fitted(held.argmax(1))
    else:
        probs = np.stack([fitted(column)[:, 1] for column in held.T], axis=1)
    if layout.cells == "probability":
        return probs[:, asked_columns(layout)]
    if layout.exclusive:
        return np.asarray(np.arange(probs.shape[1]) == probs.argmax(1)[:, None], float)
    return np.asarray(probs >= 0.5, float)


def asked_columns(layout: Layout) -> list[int]:
    """Return the places of the labels that the submission asks for."""
    return [layout.names.index(name) for name in layout.asked]


def command(*words: object) -> tuple[int, str]:
    """Run a command of imettk in this process; returns its code and the last line that it printed."""
    shown = io.StringIO()
    code = 0
    try:
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            imettk([str(word) for word in words])
    except SystemExit as ending:
        code = int(ending.code or 0)
    return code, (shown.getvalue().strip().splitlines() or [""])[-1]


def enter(name: str, work: Path, *, epochs: int, seed: int) -> Entry:
    """Make a competition in a new folder of `work`, and enter it from there."""
    top, started = work / name, time.monotonic()
    top.mkdir()
    folder, layout = Folder(top / "data", name, seed), LAYOUTS[name]
    short = [*SHORT, "--stages.0.num-epochs", epochs]
    common = ["entry.py", "--data", "data", "--run-dir", "run", *short]
    with contextlib.chdir(top):
        code, last = command("new", "entry", "--data", "data", "--metric", layout.metric)
        if code:
            return Entry(name, "new refuses", time.monotonic() - started, last)
        for stage in STAGES:
            code, last = command(stage, *common)
            if code:
                return Entry(name, f"{stage} fails", time.monotonic() - started, last)
    return judge(folder, top / "run", time.monotonic() - started)


def judge(folder: Folder, run_dir: Path, seconds: float) -> Entry:
    """Grade what a run has left."""
    layout, (name,) = folder.layout, [key for key, layout in LAYOUTS.items() if layout is folder.layout]
    metric = str(json.loads((run_dir / "scores.json").read_text()).get("metric", ""))
    try:
        values = read_submission(folder, run_dir / "submission.csv")
    except (ValueError, SyntaxError) as error:
        return Entry(name, "refused by the grader", seconds, str(error), metric=metric)
    truth = folder.held[NUM_TRAIN:, asked_columns(layout)]
    cells = folder.sample.iloc[:, 1:].astype(str)
    score, sample, pixels = (
        GRADERS[layout.metric](truth, answers)
        for answers in (values, read_values(layout, cells), answer_by_pixels(folder))
    )
    sign = -1 if layout.metric in LOWER_IS_BETTER else 1
    reached, why = "entered", ""
    if metric != layout.metric:
        reached, why = "another metric", f"in place of {layout.metric}"
    elif sign * (score - sample) < FAR_ENOUGH * sign * (pixels - sample):
        reached = "too weak"
    return Entry(name, reached, seconds, why, score, sample, pixels, metric)


def main() -> None:
    parser = arguments_of(__doc__)
    parser.add_argument("--only", nargs="+", choices=LAYOUTS, default=list(LAYOUTS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=0, help="of the competitions that are made (default: %(default)s)")
    arguments = parser.parse_args()
    print_machine("scikit-learn", "pandas")
    print(f"{'':<12}{'reached':<24}{'score':>8}{'sample':>8}{'pixels':>8}  {'metric':<20}{'seconds':>8}")
    entered = 0
    with tempfile.TemporaryDirectory() as work:
        for name in arguments.only:
            row = enter(name, Path(work), epochs=1 if arguments.quick else 40, seed=arguments.seed)
            numbers = "".join(f"{value:>8.3f}" for value in (row.score, row.sample, row.pixels))
            print(f"{name:<12}{row.reached:<24}{numbers}  {row.metric:<20}{row.seconds:>8.1f}  {row.why}", flush=True)
            entered += row.reached == "entered"
    print(f"{entered} of {len(arguments.only)} entered")
    sys.exit(1 if arguments.check and entered < len(arguments.only) else 0)


if __name__ == "__main__":
    main()
