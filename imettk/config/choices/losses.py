"""Losses that a recipe can choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from imettk.config.choices.choice import CLASSES, GRADES, LABELS, QUESTIONS, VALUES, VOTES, Choice
from imettk.config.loss_params import FocalParams, HuberParams, TargetWeights, in_radians, weighs_targets


@dataclass(frozen=True, kw_only=True)
class Loss(Choice):
    """A loss: `make` is (logits, cosines or embeddings, targets, **parameters) -> (B,).

    Attributes:
        targets: forms of targets that it accepts.
        takes: its first argument: logits, cosines to class centres, or the embeddings of the batch.
        whole_batch: a sample's loss depends on the other samples of its batch.
        settings: of losses of embeddings, (recipe.embedding, rows of each class or None) -> parameters.
        check: (recipe) -> message if the recipe's settings do not fit the loss, or None.
        by_part: it takes `parts`, the number of classes of each question.
        scale: the scale in which it takes numbers; None leaves it to `train.target_scale`.
        weighs: it takes `class_weights`, float32 (C,) of classes or (2, C) of absent and present labels.
        params: a dataclass of its own parameters that checks their ranges; `loss_params` of a recipe sets them.
    """

    targets: tuple[str, ...]
    takes: Literal["logits", "cosines", "embeddings"] = "logits"
    whole_batch: bool = False
    settings: Any = None
    check: Any = None
    by_part: bool = False
    scale: Literal["range"] | None = None
    weighs: bool = False
    params: type | None = None

    @property
    def own_params(self) -> Any:
        """The declaration of its own parameters: `params`, or the function itself if it is given as an object."""
        return self.params or (self.make if callable(self.make) else None)


def _labels(make: str, **facts: Any) -> Loss:
    return Loss(make=f"imettk.losses.{make}", targets=(LABELS,), **facts)


def _values(name: str, *, scale: Literal["range"] | None = None, params: type = TargetWeights) -> Loss:
    make = f"imettk.losses.{name}:{name}"
    return Loss(make=make, targets=(VALUES,), check=weighs_targets, scale=scale, params=params)


def _embeddings(module: str, takes: Literal["cosines", "embeddings"], check: Any = None) -> Loss:
    return Loss(
        make=f"imettk.losses.{module}:{module}",
        targets=(CLASSES,),
        takes=takes,
        weighs=takes == "cosines",
        whole_batch=takes == "embeddings",  # pairs and triplets are formed within the batch
        settings=f"imettk.losses.{module}:settings",
        check=check,
    )


LOSSES: dict[str, Loss] = {
    "bce": _labels("bce:bce", weighs=True),
    "focal": _labels("focal:focal", weighs=True, params=FocalParams),
    "f_beta": _labels("fbeta:soft_f_beta"),
    "lovasz": _labels("lovasz:lovasz", whole_batch=True),
    "focal_lovasz": _labels("focal_lovasz:focal_lovasz", whole_batch=True),
    "focal_lovasz_hard": _labels("focal_lovasz_hard:focal_lovasz_hard", whole_batch=True),
    "hard_negative_bce": _labels("hard_negative:hard_negative_bce"),
    "asymmetric": _labels("asymmetric:asymmetric"),
    "cross_entropy": Loss(make="imettk.losses.cross_entropy:cross_entropy", targets=(CLASSES,), weighs=True),
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
