"""Backbones, heads and pools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imettk.config.choices.choice import Choice, load


@dataclass(frozen=True, kw_only=True)
class HeadChoice(Choice):
    """A head: `make` is (channels of each map, number of outputs, **settings) -> a module that takes a list of maps.

    Attributes:
        settings: fields of the section `model` that it takes by name.
        pooled: (number of features, number of outputs, **settings) -> a module that takes the backbone's own pooled
            features; used in place of `make` on the last level alone.
        embeds: it returns embeddings.
    """

    settings: tuple[str, ...]
    pooled: Any = None
    embeds: bool = False

    def load_pooled(self) -> Any:
        """Return the implementation for pooled features, or None."""
        return load(self.pooled)


@dataclass(frozen=True, kw_only=True)
class BackboneChoice(Choice):
    """A library of backbones: `make` is (NAME, channels=..., size=..., **settings) -> a `models.backbone.Backbone`.

    Attributes:
        settings: fields of the section `model` that it takes by name.
        fetch: (NAME) -> its pretrained weights by name and their description; downloads them.
        pretraining: (NAME.TAG, NAME) -> the library's description of these weights: mean, std, size.
        in_file: the weights' file names the network.
    """

    settings: tuple[str, ...] = ()
    fetch: Any
    pretraining: Any
    in_file: bool = False


_CLASSIFIER = ("dropout", "dropout_samples")
_EMBEDDING = ("pool", "embedding_size", "dropout", "centres", "centre_std", "joint_dropout")
_RATES = ("drop_path", "backbone_dropout")
HEADS: dict[str, HeadChoice] = {
    # On pooled features, as timm trains its classifiers: the network's own pool and norm stay in use. Several levels
    # only give maps, which `make` averages.
    "linear": HeadChoice(
        make="imettk.models.heads:relu_head", settings=_CLASSIFIER, pooled="imettk.models.heads:LinearHead"
    ),
    "relu": HeadChoice(make="imettk.models.heads:relu_head", settings=_CLASSIFIER),
    "pooled": HeadChoice(make="imettk.models.heads:PooledHead", settings=(*_CLASSIFIER, "pool")),
    "wide": HeadChoice(make="imettk.models.heads:wide_head", settings=(*_CLASSIFIER, "hidden")),
    "embedding": HeadChoice(make="imettk.models.embedding:EmbeddingHead", settings=_EMBEDDING, embeds=True),
    "wide_embedding": HeadChoice(
        make="imettk.models.embedding:EmbeddingHead", settings=(*_EMBEDDING, "hidden"), embeds=True
    ),
}

POOLS: dict[str, Choice] = {
    "average": Choice(make="imettk.models.pools:AveragePool"),
    "max": Choice(make="imettk.models.pools:MaxPool"),
    "average_max": Choice(make="imettk.models.pools:AverageMaxPool"),
    "gem": Choice(make="imettk.models.pools:GemPool"),
    "attention": Choice(make="imettk.models.pools:AttentionPool"),
}

BACKBONES: dict[str, BackboneChoice] = {
    "timm": BackboneChoice(
        make="imettk.models.timm_backbone:TimmBackbone",
        settings=_RATES,
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
        settings=_RATES,
        fetch="imettk.models.fetch:from_hub",
        pretraining="imettk.models.pretraining:of_timm",
        in_file=True,
    ),
}
