"""What a recipe can name: one row a choice, with what fits what, and without importing what does the work.

A row refers to its implementation as "module:name", so that reading a recipe loads no torch; `load` imports it. What is
registered from outside may stand there as the object itself. Tasks and metrics have their rows in their own wings.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from imettk.config.loss_params import FocalParams, HuberParams, TargetWeights, in_radians, weighs_targets
from imettk.config.own import Own

# Forms of targets, as tasks name them.
LABELS, CLASSES, GRADES = "labels", "classes", "grades"
VALUES, VOTES, QUESTIONS = "values", "votes", "questions"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One thing that a recipe can name; `make` is what does it, or where that is."""

    make: Any

    def load(self) -> Any:
        """Return the implementation."""
        return load(self.make)


def load(reference: Any) -> Any:
    """Return what "module:name" or a user's own refers to; anything else as it is."""
    if isinstance(reference, Own):
        return reference.load()
    if not isinstance(reference, str):
        return reference
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True, kw_only=True)
class Loss(Choice):
    """A loss: `make` is (what it takes, targets, **parameters) -> (B,).

    Attributes:
        targets: forms of targets that it takes.
        takes: logits; cosines to class centres; or the embeddings of the batch.
        whole_batch: a sample's share depends on the other samples.
        settings: (recipe.embedding, rows of each class or None) -> parameters, of the losses of embeddings.
        check: (recipe) -> what is wrong with its settings, or None.
        by_part: it takes `parts`, the labels of each question.
        scale: in which it takes numbers, where `train.target_scale` has no say.
        params: a dataclass of its own parameters, which checks their ranges; `loss_params` of a recipe sets them.
    """

    targets: tuple[str, ...]
    takes: Literal["logits", "cosines", "embeddings"] = "logits"
    whole_batch: bool = False
    settings: Any = None
    check: Any = None
    by_part: bool = False
    scale: Literal["range"] | None = None
    params: type | None = None

    @property
    def own_params(self) -> Any:
        """Return what says which parameters of its own it has: `params`, or a function from outside itself."""
        return self.params or (self.make if callable(self.make) else None)


@dataclass(frozen=True, kw_only=True)
class RuleChoice(Choice):
    """A rule: how predictions become answers. `make` is a `postprocess.fitters.RuleFitter`, or a
    user's own `postprocess.rule.Rule`.

    Attributes:
        targets: forms of targets that it is fitted to.
        metric: the default of `score.metric`.
        gives: what metrics can judge with it.
        sections: of the recipe, which say how it is fitted.
        judge: an `evaluation.judge.Judge`, which knows how runs with such a rule are validated and answered.
        by_column: each column of the submission is a label's, and a metric judges those columns alone.
    """

    targets: tuple[str, ...]
    metric: str
    gives: tuple[str, ...]
    sections: tuple[str, ...] = ("rule",)
    judge: Any = "imettk.evaluation.by_rule:RuleJudge"
    by_column: bool = False

    @property
    def answers_numbers(self) -> bool:
        """Whether what is submitted are the network's numbers, and no labels."""
        return self.gives in (("probs",), ("values",))


def _labels(make: str, *, whole_batch: bool = False, params: type | None = None) -> Loss:
    return Loss(make=f"imettk.losses.{make}", targets=(LABELS,), whole_batch=whole_batch, params=params)


def _values(name: str, *, scale: Literal["range"] | None = None, params: type = TargetWeights) -> Loss:
    make = f"imettk.losses.{name}:{name}"
    return Loss(make=make, targets=(VALUES,), check=weighs_targets, scale=scale, params=params)


def _embeddings(module: str, takes: Literal["cosines", "embeddings"], check: Any = None) -> Loss:
    return Loss(
        make=f"imettk.losses.{module}:{module}",
        targets=(CLASSES,),
        takes=takes,
        whole_batch=takes == "embeddings",  # which are compared with each other
        settings=f"imettk.losses.{module}:settings",
        check=check,
    )


@dataclass(frozen=True, kw_only=True)
class SamplerChoice(Choice):
    """A sampler: `make` is (data.samplers.Sampler, the epoch's random numbers, epoch) -> rows of an epoch, int64 (M,).

    Attributes:
        by_identity: batches hold several images of each class that they hold.
        by_losses: an epoch's order goes by the losses of the one before.
    """

    by_identity: bool = False
    by_losses: bool = False


@dataclass(frozen=True, kw_only=True)
class ViewChoice(Choice):
    """A view of test-time augmentation: `make` is images float32 (B, channels, H, W) -> images.

    Attributes:
        crop: the number of the random place that is cut out before; None looks at the centre.
    """

    crop: int | None = None


@dataclass(frozen=True, kw_only=True)
class UnitPoolChoice(Choice):
    """A pool of units: `make` is (predictions of images, `postprocess.unit_pools.Members`, k) -> those of units.

    Attributes:
        numbers: it takes any numbers, and not probabilities alone.
    """

    numbers: bool = True


@dataclass(frozen=True, kw_only=True)
class HeadChoice(Choice):
    """A head: `make` is (channels of each map, number of outputs, **settings) -> a module on maps.

    Attributes:
        settings: fields of the section `model` that it takes by name.
        pooled: the same for a module on the backbone's own pooled features, which is taken with `last_levels` 1;
            `make` of (their number, number of outputs, **settings).
        embeds: it gives embeddings.
    """

    settings: tuple[str, ...]
    pooled: Any = None
    embeds: bool = False

    def load_pooled(self) -> Any:
        """Return the implementation on pooled features, or None."""
        return load(self.pooled)


@dataclass(frozen=True, kw_only=True)
class BackboneChoice(Choice):
    """A library of backbones: `make` is (NAME, channels=..., size=...) -> a `models.backbone.Backbone`.

    Attributes:
        fetch: NAME -> its pretrained weights by name, and what they are of; it downloads them.
        pretraining: (NAME as its file is called, NAME) -> what the library says of its weights.
        in_file: which network it is, the file of its weights says.
    """

    fetch: Any
    pretraining: Any
    in_file: bool = False


LOSSES: dict[str, Loss] = {
    "bce": _labels("bce:bce"),
    "focal": _labels("focal:focal", params=FocalParams),
    "f_beta": _labels("fbeta:soft_f_beta"),
    "lovasz": _labels("lovasz:lovasz", whole_batch=True),
    "focal_lovasz": _labels("focal_lovasz:focal_lovasz", whole_batch=True),
    "focal_lovasz_hard": _labels("focal_lovasz_hard:focal_lovasz_hard", whole_batch=True),
    "hard_negative_bce": _labels("hard_negative:hard_negative_bce"),
    "asymmetric": _labels("asymmetric:asymmetric"),
    "cross_entropy": Loss(make="imettk.losses.cross_entropy:cross_entropy", targets=(CLASSES,)),
    "corn": Loss(make="imettk.losses.corn:corn", targets=(GRADES,)),
    "cumulative": Loss(make="imettk.losses.cumulative:cumulative", targets=(GRADES,)),
    "kl_divergence": Loss(make="imettk.losses.kl_divergence:kl_divergence", targets=(VOTES,)),
    "question_cross_entropy": Loss(
        make="imettk.losses.question_cross_entropy:question_cross_entropy",
        targets=(QUESTIONS,),
        check=weighs_targets,
        by_part=True,
        params=TargetWeights,
    ),
    "mse": _values("mse"),
    "l1": _values("l1"),
    "huber": _values("huber", params=HuberParams),
    "scaled_bce": _values("scaled_bce", scale="range"),
    "arcface": _embeddings("arcface", "cosines", check=in_radians),
    "cosface": _embeddings("cosface", "cosines"),
    "triplet": _embeddings("triplet", "embeddings"),
    "contrastive": _embeddings("contrastive", "embeddings"),
}


def _for_labels(make: str) -> RuleChoice:
    return RuleChoice(
        make=f"imettk.postprocess.fitters:{make}", targets=(LABELS,), metric="f_beta", gives=("answers", "probs")
    )


RULES: dict[str, RuleChoice] = {
    "threshold": _for_labels("OneThreshold"),
    "group_thresholds": _for_labels("GroupThresholds"),
    "class_thresholds": _for_labels("ClassThresholds"),
    "top": _for_labels("TopLabels"),
    "share": _for_labels("LabelShares"),
    "argmax": RuleChoice(
        make="imettk.postprocess.fitters:LikeliestClass",
        targets=(CLASSES,),
        metric="accuracy",
        gives=("answers", "probs"),
    ),
    "argmax_each": RuleChoice(
        make="imettk.postprocess.questions:LikeliestClasses",
        targets=(QUESTIONS,),
        metric="macro_recall",
        gives=("answers", "probs"),
    ),
    "cutpoints": RuleChoice(
        make="imettk.postprocess.grading:GradeCuts",
        targets=(CLASSES, GRADES, VALUES),
        metric="quadratic_kappa",
        gives=("answers", "probs"),
    ),
    "value": RuleChoice(
        make="imettk.postprocess.values:NumberValues", targets=(VALUES,), metric="rmse", gives=("values",)
    ),
    "probability": RuleChoice(
        make="imettk.postprocess.probabilities:LabelProbabilities",
        targets=(LABELS, CLASSES, VOTES),
        metric="log_loss",
        gives=("probs",),
        by_column=True,
    ),
    "rank": RuleChoice(
        make=None,
        targets=(CLASSES,),
        metric="map_at_k",
        gives=("ranked",),
        sections=("rule", "ranking"),
        judge="imettk.evaluation.by_ranking:RankingJudge",
    ),
}


def _rows(module: str, *names: str) -> dict[str, Choice]:
    return {name: Choice(make=f"imettk.{module}:{name}") for name in names}


AUGMENTATIONS: dict[str, Choice] = _rows(
    "data.augment",
    "none",
    "flips",
    "affine",
    "strokes",
    "aggressive",
    "square",
    "whale_heavy",
    "dihedral",
    "protein",
    "lesion",
    "leaves",
    "pasture",
    "retina",
    "pets",
)  # (size, channels) -> transforms

SAMPLERS: dict[str, SamplerChoice] = {
    "shuffle": SamplerChoice(make="imettk.data.samplers:shuffled"),
    "balanced": SamplerChoice(make="imettk.data.samplers:balanced"),
    "identities": SamplerChoice(make="imettk.data.samplers:by_identity", by_identity=True),
    # A shuffle, until there are losses to go by.
    "hard_first": SamplerChoice(make="imettk.data.samplers:shuffled", by_losses=True),
}

VIEWS: dict[str, ViewChoice] = {
    name: ViewChoice(make=f"imettk.inference.tta:{name}")
    for name in (
        "plain",
        "hflip",
        "vflip",
        "rot90",
        "rot180",
        "rot270",
        "transpose",
        "transverse",
        "rot45",
        "rot135",
        "rot225",
        "rot315",
        "zoom_in",
        "zoom_out",
    )
} | {f"crop{number}": ViewChoice(make="imettk.inference.tta:plain", crop=number) for number in range(4)}

# How predictions of a unit's images become one, chosen by the out-of-fold score where a recipe says `auto`.
UNIT_POOLS: dict[str, UnitPoolChoice] = {
    "mean": UnitPoolChoice(make="imettk.postprocess.unit_pools:mean"),
    "max": UnitPoolChoice(make="imettk.postprocess.unit_pools:largest"),
    "top_k": UnitPoolChoice(make="imettk.postprocess.unit_pools:mean_of_largest"),
    "noisy_or": UnitPoolChoice(make="imettk.postprocess.unit_pools:noisy_or", numbers=False),
}

# (path) -> numbers (H, W) or (H, W, channels): uint8 as it is seen, others by `images.white`. None stands for what
# `data.reader` does itself: it goes by a file's content.
READERS: dict[str, Choice] = {"files": Choice(make=None)}

_EMBEDDING = ("pool", "embedding_size", "dropout", "centres", "centre_std", "joint_dropout")
HEADS: dict[str, HeadChoice] = {
    "linear": HeadChoice(
        make="imettk.models.heads:relu_head", settings=("dropout",), pooled="imettk.models.heads:LinearHead"
    ),
    "relu": HeadChoice(make="imettk.models.heads:relu_head", settings=("dropout",)),
    "wide": HeadChoice(make="imettk.models.heads:wide_head", settings=("dropout", "hidden")),
    "embedding": HeadChoice(make="imettk.models.embedding:EmbeddingHead", settings=_EMBEDDING, embeds=True),
    "wide_embedding": HeadChoice(
        make="imettk.models.embedding:EmbeddingHead", settings=(*_EMBEDDING, "hidden"), embeds=True
    ),
}

POOLS: dict[str, Choice] = {
    "average": Choice(make="imettk.models.embedding:AveragePool"),
    "average_max": Choice(make="imettk.models.embedding:AverageMaxPool"),
    "gem": Choice(make="imettk.models.embedding:GemPool"),
}

BACKBONES: dict[str, BackboneChoice] = {
    "timm": BackboneChoice(
        make="imettk.models.timm_backbone:TimmBackbone",
        fetch="imettk.models.fetch:from_timm",
        pretraining="imettk.models.pretraining:of_timm",
    ),
    "pretrainedmodels": BackboneChoice(
        make="imettk.models.pretrained_backbone:PretrainedmodelsBackbone",
        fetch="imettk.models.fetch:from_pretrainedmodels",
        pretraining="imettk.models.pretraining:of_pretrainedmodels",
    ),
    "hf-hub": BackboneChoice(
        make="imettk.models.timm_backbone:TimmBackbone",
        fetch="imettk.models.fetch:from_hub",
        pretraining="imettk.models.pretraining:of_timm",
        in_file=True,
    ),
}

# Fields that name a row of these. Beside them, `table.task` names one of TASKS, and `score.metric` one of METRICS.
CHOSEN: dict[str, Mapping[str, Choice]] = {
    "images.reader": READERS,
    "model.head": HEADS,
    "model.pool": POOLS,
    "train.loss": LOSSES,
    "stages.loss": LOSSES,
    "stages.augmentation": AUGMENTATIONS,
    "stages.sampler": SAMPLERS,
    "predict.views": VIEWS,
    "rule.kind": RULES,
}
