"""The points of a curve where answers are ranked: who counts in the loss, the score, and a network that collapsed."""

from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from imettk.config import EmbeddingConfig, ModelConfig, RankConfig, Recipe, RuleConfig, TableFormat, TrainConfig
from imettk.data.sample_table import SampleTable
from imettk.errors import ConfigError
from imettk.evaluation import curve
from imettk.evaluation.by_ranking import MIN_SPREAD, RankingJudge
from imettk.evaluation.curve import make_validation
from imettk.experiment.prepared import Experiment, Prepared
from imettk.models.heads import Outputs
from imettk.tracking.run_dir import RunDir
from imettk.training.process_group import Compute

RECIPE = Recipe(
    table=TableFormat(task="multiclass", unknown_label="new"),
    model=ModelConfig(head="embedding"),
    embedding=EmbeddingConfig(margin=0.0, scale=10.0),
    train=TrainConfig(loss="cosface"),
    rule=RuleConfig(kind="rank"),
    ranking=RankConfig(num_answers=2),
)


def prepared():
    """Rows 0 to 3 validate: of class 0, 1, 2 (which never trains) and of no known identity."""
    targets = np.array([0, 1, 2, -1, 0, 1, 0])
    ids = np.array([f"r{row}" for row in range(7)])
    table = SampleTable(ids, ids, ("a", "b", "c"), ("",) * 3, targets=targets, sources=np.zeros(7, np.int16))
    return Prepared(table, np.array([0, 0, 0, 0, -1, -1, -1]), None, np.zeros(7, bool), RECIPE.task)


def test_loss_and_score_are_those_of_plain_formulas():
    cosines = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.7, 0.1], [0.1, 0.2, 0.3], [0.2, 0.1, 0.1]])
    embeddings = normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)))
    metrics = RankingJudge(RECIPE).judge_fold(prepared(), 0, Outputs(cosines, embeddings), None)
    known = cross_entropy(10 * cosines[:2], torch.tensor([0, 1]))  # the others are of no class that trains
    assert metrics["loss"] == pytest.approx(float(known), rel=1e-5)
    # Between 0.3 and 0.7 the unknown label stands first for the last two, and behind the first answers of the others.
    assert metrics["score"] == pytest.approx((1 + 1 / 2 + 1 + 1) / 4)
    assert metrics["spread"] == pytest.approx(1 - float(embeddings.mean(0).norm()))


def test_a_network_whose_embeddings_are_alike_is_told(capsys):
    cosines = torch.full((4, 3), 0.5)
    alike = normalize(torch.ones(4, 8) + 0.01 * torch.randn(4, 8, generator=torch.Generator().manual_seed(0)))
    assert RankingJudge(RECIPE).judge_fold(prepared(), 0, Outputs(cosines, alike), None)["spread"] < MIN_SPREAD
    assert "the embeddings are nearly equal" in capsys.readouterr().out
    apart = normalize(torch.eye(4, 8))
    assert RankingJudge(RECIPE).judge_fold(prepared(), 0, Outputs(cosines, apart), None)["spread"] > 0.4
    assert "alike" not in capsys.readouterr().out


CLASSES = TableFormat(task="multiclass")
TASKS = {
    "labels": Recipe(),
    "classes": Recipe(table=CLASSES, train=TrainConfig(loss="cross_entropy"), rule=RuleConfig(kind="argmax")),
    "ranked classes": Recipe(
        table=CLASSES,
        train=TrainConfig(loss="cross_entropy"),
        rule=RuleConfig(kind="rank"),
        ranking=RankConfig(by="probs", num_answers=2),
    ),
    "class centres": RECIPE,
    "triplets": replace(
        RECIPE, model=ModelConfig(head="embedding", centres=0), train=TrainConfig(loss="triplet", watch="score")
    ),
}


@pytest.mark.parametrize("valid", [True, False])
@pytest.mark.parametrize("name", TASKS)
def test_what_can_be_watched_is_what_a_validation_gives(name, valid, monkeypatch):
    """All else is refused when the recipe is made: a training would end with a KeyError after its first validation."""
    recipe = TASKS[name]
    table, rng = prepared(), torch.Generator().manual_seed(0)
    if name == "labels":
        table = replace(
            table,
            task=recipe.task,
            table=replace(table.table, targets=np.eye(3, dtype=np.uint8)[[0, 1, 2, 0, 0, 1, 0]]),
        )
    if not recipe.table.unknown_label:
        table = replace(table, folds=np.array([0, 0, -1, -1, -1, -1, -1]))
    if not valid:
        table = replace(table, folds=np.full(7, -1))

    def evaluate(network, images, *_, **__):
        embeddings = (
            normalize(torch.randn(1, len(images.rows), 8, generator=rng), dim=2) if recipe.model.embeds else None
        )
        return Outputs(torch.rand(1, len(images.rows), 3, generator=rng), embeddings)

    monkeypatch.setattr(curve, "evaluate", evaluate)
    experiment = Experiment(recipe, RunDir(Path()), table, Compute(torch.device("cpu"), torch.float32))
    given = make_validation(experiment, 0)(torch.nn.Identity())
    for watch in get_args(get_type_hints(TrainConfig)["watch"]):
        if watch in given:
            assert replace(recipe, train=replace(recipe.train, watch=watch)).train.watch == watch
        else:
            with pytest.raises(ConfigError, match=r"`train\.watch` must be (loss or )?score"):
                replace(recipe, train=replace(recipe.train, watch=watch))
