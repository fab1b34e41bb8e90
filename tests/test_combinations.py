"""Every task with every loss, rule and metric: valid combinations run from table to submission, others are refused."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from pictures import make_pictures
from scipy.special import rel_entr
from sklearn.metrics import accuracy_score, log_loss, r2_score
from tiny import run

from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    RankConfig,
    Recipe,
    RuleConfig,
    ScoreConfig,
    SessionConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
    to_json,
)
from imettk.config.choices import LOSSES, RULES
from imettk.errors import ConfigError
from imettk.inference.predictor import load_predictions
from imettk.metrics import METRICS
from imettk.tasks import TASKS

pytestmark = pytest.mark.usefixtures("no_charts_here")
CELLS = {
    "multilabel": ["a", "b", "a b", "c"],
    "multiclass": ["1", "2", "3", "5"],
    "regression": ["-1.5", "0", "2", "7"],
}


CELLS["ordinal"] = CELLS["questions"] = CELLS["multiclass"]
CELLS["votes"] = ["5 1 0", "2 2 2", "0 0 3", "1 7 1"]
COLUMNS = {"questions": ("label",), "votes": ("a", "b", "c")}


def recipe_of(task: str, loss: str, rule: str, metric: str) -> Recipe:
    """Return a recipe with these choices and the network that they need."""
    takes = LOSSES[loss].takes
    model = ModelConfig(backbone="timm:test_resnet")
    if takes != "logits":
        model = ModelConfig(
            backbone="timm:test_resnet", head="embedding", embedding_size=8, centres=int(takes == "cosines")
        )
    by = "neighbours" if takes == "embeddings" else "probs"
    return Recipe(
        table=TableFormat(
            task=task, **({"label_columns": COLUMNS[task]} if task in COLUMNS else {"label_column": "label"})
        ),
        folds=FoldConfig(num_folds=2),
        images=ImageFormat(image_size=(32, 32)),
        model=model,
        train=TrainConfig(loss=loss, watch="score" if takes == "embeddings" else "loss"),
        stages=(StageConfig(num_epochs=1, batch_size=8),),
        rule=RuleConfig(kind=rule, **({"pairs": 2} if paired(rule, metric) else {"positive": CELLS[task][0]})),
        score=ScoreConfig(metric=metric),
        ranking=RankConfig(by=by, num_answers=2, num_neighbours=4),
        session=SessionConfig(num_workers=0, tensorboard=False),
    )


def paired(rule: str, metric: str) -> bool:
    return rule == "probability" and "pairs" in METRICS[metric].wants


def fits(task: str, loss: str, rule: str, metric: str) -> bool:
    form = TASKS[task].targets
    return (
        form in LOSSES[loss].targets
        and form in RULES[rule].targets
        and form in METRICS[metric].targets
        and METRICS[metric].needs in RULES[rule].gives
        # Of the one column that is submitted; votes have a column each.
        and (TASKS[task].votes or not RULES[rule].by_column or "labels" in METRICS[metric].targets)
        # A network without class centres knows no classes, only neighbours.
        and (LOSSES[loss].takes != "embeddings" or RULES[rule].gives == ("ranked",))
    )


EVERY = list(itertools.product(TASKS, LOSSES, RULES, METRICS))


def parts_of(loss: str, rule: str, metric: str) -> set[object]:
    """Return the parts that a run covers: the metric, and all pairs of loss, rule and the metric's input."""
    return {metric, *itertools.combinations(enumerate((loss, rule, METRICS[metric].needs)), 2)}


def covering_set(task: str) -> list[tuple[str, str, str]]:
    """Choose valid losses, rules and metrics greedily until every part of every valid combination is covered.

    Metrics are many, and only their input depends on loss and rule.
    """
    triples = [choice[1:] for choice in EVERY if choice[0] == task and fits(*choice)]
    still_open = set().union(*(parts_of(*triple) for triple in triples))
    chosen = []
    while still_open:
        best = max(triples, key=lambda triple: len(still_open & parts_of(*triple)))
        still_open -= parts_of(*best)
        chosen.append(best)
    return sorted(chosen)


@pytest.fixture(scope="module", params=TASKS)
def competition(request, tmp_path_factory):
    cells = [cell for cell in CELLS[request.param] for _ in range(6)]
    data = make_pictures(tmp_path_factory.mktemp(request.param) / "data", cells)
    if TASKS[request.param].votes:
        in_columns(data)
    return request.param, data


def in_columns(data):
    """Write the numbers of each cell into separate columns."""
    for csv, cell in (("train.csv", None), ("sample_submission.csv", "0.2 0.3 0.5")):
        frame = pd.read_csv(data / csv)
        columns = frame["label"] if cell is None else pd.Series([cell] * len(frame))
        frame[list(COLUMNS["votes"])] = columns.str.split(" ", expand=True)
        frame.drop(columns="label").to_csv(data / csv, index=False)


def test_a_covering_set_of_what_fits_runs_from_table_to_submission(competition, tmp_path):
    task, data = competition
    sample = pd.read_csv(data / "sample_submission.csv")
    for loss, rule, metric in covering_set(task):
        recipe = recipe_of(task, loss, rule, metric)
        numbers = RULES[rule].answers_numbers and not paired(rule, metric)
        if "label" in sample:
            sample.assign(label=0.5 if numbers else sample["label"]).to_csv(data / "sample_submission.csv", index=False)
        # Where training follows the metric, it is part of what was trained.
        folder = tmp_path / (loss if recipe.train.watch == "loss" else f"{loss}-{metric}")
        path, common = tmp_path / "recipe.json", ["--data", data, "--run-dir", folder]
        path.write_text(to_json(recipe))
        if not folder.exists():
            run("prepare", path, *common)
            for fold in range(2):
                run("train", path, *common, "--fold", fold)
        run("validate", path, *common)
        run("infer", path, *common)
        scores = json.loads((folder / "scores.json").read_text())
        bound = recipe.scorer
        assert (scores["metric"], scores["title"]) == (metric, bound.title), (loss, rule, metric)
        assert bound.metric.low <= scores["oof"] <= bound.high and len(scores["folds"]) == 2
        low, high = scores["interval"]
        assert low <= scores["oof"] <= high
        check_by_scikit_learn(folder, rule, metric, scores["oof"])
        answers = pd.read_csv(folder / "submission.csv", keep_default_na=False)
        assert answers["id"].tolist() == sample["id"].tolist() and list(answers) == list(sample)


def check_by_scikit_learn(folder, rule, metric, score):
    """Recompute the score of the files' contents by scikit-learn, if it has the metric."""
    parts = [load_predictions(folder / f"fold{fold}" / "oof.safetensors") for fold in range(2)]
    probs = np.concatenate([fold.merged for fold in parts])
    targets = np.concatenate([fold.targets for fold in parts])
    kept = np.clip(probs.astype(np.float64), 1e-15, 1 - 1e-15)
    if metric == "kl_divergence" or (rule == "probability" and targets.dtype == np.float32):
        kept = kept / kept.sum(1, keepdims=True)
        entropy = 0 if metric == "log_loss" else rel_entr(targets, 1).sum(1)
        expected = log_loss(  # each label of a row is one of its own, with its share as weight
            np.tile(np.arange(kept.shape[1]), len(kept)), kept.repeat(kept.shape[1], 0), sample_weight=targets.ravel()
        )
        assert score == pytest.approx(expected + np.mean(entropy), abs=1e-5)
        return
    if rule == "argmax_each":  # of the one question
        targets = targets.argmax(1)
    if rule == "probability":  # its one column is of the first label
        kept, targets = kept[:, :1], targets[:, None] == 0 if targets.ndim == 1 else targets[:, :1]
    if metric == "log_loss" and targets.ndim == 1:
        assert score == pytest.approx(-np.log(kept[np.arange(len(kept)), targets]).mean())
    elif metric == "log_loss":
        by_label = [log_loss(truth, column, labels=[0, 1]) for truth, column in zip(targets.T, kept.T, strict=True)]
        assert score == pytest.approx(np.mean(by_label), abs=1e-5)
    elif metric == "r2":  # of answers by the range of the other fold
        ends = [(fold.targets.min(), fold.targets.max()) for fold in reversed(parts)]
        answers = np.concatenate([np.clip(fold.merged, *pair) for fold, pair in zip(parts, ends, strict=True)])
        assert score == pytest.approx(r2_score(targets, answers), abs=1e-5)
    elif metric == "accuracy":
        assert score == accuracy_score(targets, probs.argmax(1))


def test_every_other_combination_is_refused_when_the_recipe_is_made():
    refused = 0
    for choice in EVERY:
        if fits(*choice):
            recipe_of(*choice)
            continue
        with pytest.raises(ConfigError) as caught:
            recipe_of(*choice)
        line = str(caught.value)
        assert "\n" not in line and any(name in line for name in (*choice[1:], "`rule.kind`")), (choice, line)
        refused += 1
    assert refused > len(EVERY) / 2
