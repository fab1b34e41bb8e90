"""The points of a curve where answers are ranked: who counts in the loss, the score, and a network that collapsed."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from imettk.config import MetricPlan, ModelPlan, RankPlan, Recipe, RulePlan, TableFormat, TrainPlan
from imettk.data.table import SampleTable
from imettk.models.heads import Outputs
from imettk.stages.curve import MIN_SPREAD, _judge_ranking
from imettk.stages.shared import Prepared

RECIPE = Recipe(
    table=TableFormat(task="multiclass", unknown_label="new"),
    model=ModelPlan(head="embedding"),
    metric=MetricPlan(margin=0.0, scale=10.0),
    train=TrainPlan(loss="cosface"),
    rule=RulePlan(kind="rank"),
    ranking=RankPlan(num_answers=2),
)


def prepared():
    """Rows 0 to 3 validate: of class 0, 1, 2 (which never trains) and of no known identity."""
    targets = np.array([0, 1, 2, -1, 0, 1, 0])
    ids = np.array([f"r{row}" for row in range(7)])
    table = SampleTable(ids, ids, ("a", "b", "c"), ("",) * 3, targets=targets, sources=np.zeros(7, np.int16))
    return Prepared(table, np.array([0, 0, 0, 0, -1, -1, -1]), None, np.zeros(7, bool))


def test_loss_and_score_are_those_of_plain_formulas():
    cosines = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.7, 0.1], [0.1, 0.2, 0.3], [0.2, 0.1, 0.1]])
    embeddings = normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)))
    metrics = _judge_ranking(RECIPE, prepared(), 0, Outputs(cosines, embeddings), None)
    known = cross_entropy(10 * cosines[:2], torch.tensor([0, 1]))  # the others are of no class that trains
    assert metrics["loss"] == pytest.approx(float(known), rel=1e-5)
    # Between 0.3 and 0.7 the unknown label stands first for the last two, and behind the first answers of the others.
    assert metrics["score"] == pytest.approx((1 + 1 / 2 + 1 + 1) / 4)
    assert metrics["spread"] == pytest.approx(1 - float(embeddings.mean(0).norm()))


def test_a_network_whose_embeddings_are_alike_is_told(capsys):
    cosines = torch.full((4, 3), 0.5)
    alike = normalize(torch.ones(4, 8) + 0.01 * torch.randn(4, 8, generator=torch.Generator().manual_seed(0)))
    assert _judge_ranking(RECIPE, prepared(), 0, Outputs(cosines, alike), None)["spread"] < MIN_SPREAD
    assert "all embeddings are alike" in capsys.readouterr().out
    apart = normalize(torch.eye(4, 8))
    assert _judge_ranking(RECIPE, prepared(), 0, Outputs(cosines, apart), None)["spread"] > 0.4
    assert "alike" not in capsys.readouterr().out
