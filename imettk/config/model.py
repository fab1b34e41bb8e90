"""Settings of the network and of losses that learn embeddings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from imettk.config.choices import BACKBONES, HEADS, POOLS
from imettk.config.earlier import takes_earlier_names
from imettk.config.own import is_own
from imettk.config.section import MOST_LISTED, Section

MOST_WIDTH = 2**20  # features of a layer
MOST_MASKS = 64
# Earlier versions had no others and ignored them with a classifier; a training that they began so must go on.
IGNORED_POOLS = ("average", "average_max", "gem")


@takes_earlier_names("model")
@dataclass(frozen=True, kw_only=True)
class ModelConfig(Section):
    """The network: a backbone of timm or pretrainedmodels, or a user's own, and a head.

    Attributes:
        backbone: `timm:NAME` or `pretrainedmodels:NAME`; `hf-hub:OWNER/NAME` for the network that its weights' file
            names (training downloads nothing); or a user's own: (channels) -> a module that turns images into a map of
            features, (B, F, H, W), or into a list of maps, that of the last level last.
        weights: a local file from any source; a folder with `NAME.safetensors`, `NAME.TAG.safetensors` or the same as
            `.pth`; or the folder of a hub repository in timm's format. None starts from random weights.
        drop_path: stochastic depth: share of samples for which the backbone's last residual branch is skipped, [0, 1);
            it rises from 0 in the first block. None is timm's default for the network, mostly 0.
        backbone_dropout: dropout behind the linear layers in the backbone's blocks, [0, 1), for transformers of timm
            (its `proj_drop_rate`); None is timm's default.
        layer_groups: number of groups into which the backbone's layers are split, first to last; the head is one more.
            0 makes a group of each block, as timm numbers them, and of the stem.
        lora_rank: rank of the adapters that learn in place of the backbone's weights (LoRA, which needs
            the extra `lora`); 0 for none. The trained model has them merged.
        lora_alpha: the adapters' factor times `lora_rank`, above 0.
        lora_layers: regular expression to search in the names of linear layers, such as `attn`; "" adapts all of the
            backbone's.
        head: `linear` on averaged features; `relu` applies ReLU before the average (iMet 2019). `pooled` takes any
            `pool`: LayerNorm, dropout, linear. `wide` joins average and maximum: BatchNorm, dropout, linear to
            `hidden`, ReLU, BatchNorm, dropout, linear (HPA 2018).
            `embedding` pools, then BatchNorm, dropout, linear to `embedding_size`, BatchNorm; `wide_embedding` inserts
            linear to `hidden`, ReLU, BatchNorm and dropout, with half the dropout before them (HPA 2018's metric
            model). A user's own is (channels of each map, number of outputs) -> a module that turns a list of maps (B,
            F, H, W) into logits.
        last_levels: number of the backbone's last levels whose features are joined, at least 1.
        levels: the levels whose features are joined instead, in order, as in 1 3: levels of a CNN, blocks of a ViT,
            from 0, as timm's `forward_intermediates` counts them.
        hidden: width of the `wide` heads.
        dropout: share of features dropped before linear layers, [0, 1).
        dropout_samples: masks of a classifier's last dropout over which a sample's loss is averaged in training; 1 to
            64.
        pool: of the heads `pooled`, `embedding` and `wide_embedding`: `average`; `max`; `average_max` joins both; `gem`
            is a generalised mean with a learned power; `attention` a mean with learned weights of positions.
        embedding_size: D, at least 2.
        centres: class centres of each class, of which the nearest counts (sub-centre ArcFace); 0 for losses of pairs
            and triplets, which need none.
        centre_std: standard deviation of the centres' initial values, above 0; None is Xavier's, with which centres are
            about 1 long. Only their direction matters, and Adam turns long ones slowly: a centre of length 1 turns by
            about the learning rate a step, in radians; with std 1 it is `embedding_size` ** 0.5 times longer and turns
            as much more slowly.
        joint_dropout: dropout before a second, plain classifier on the embedding; None for no such classifier.
    """

    backbone: str = "timm:resnet34"
    weights: str | None = None
    drop_path: float | None = None
    backbone_dropout: float | None = None
    layer_groups: int = 1
    lora_rank: int = 0
    lora_alpha: float = 16.0
    lora_layers: str = ""
    head: str = "linear"
    last_levels: int = 1
    levels: tuple[int, ...] = ()
    hidden: int = 1024
    dropout: float = 0.0
    dropout_samples: int = 1
    pool: str = "average_max"
    embedding_size: int = 512
    centres: int = 1
    centre_std: float | None = None
    joint_dropout: float | None = None

    @property
    def embeds(self) -> bool:
        """True if the network returns embeddings."""
        return self.head in HEADS and HEADS[self.head].embeds

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most(layer_groups=MOST_LISTED, hidden=MOST_WIDTH, embedding_size=MOST_WIDTH, centres=MOST_LISTED)
        self._at_most(last_levels=MOST_LISTED, levels=MOST_LISTED)
        self._one_of("head", HEADS)
        self._one_of("pool", POOLS, own=False)
        library, _, name = self.backbone.partition(":")
        known = (library in BACKBONES and name != "") or is_own(self.backbone)
        sources = " or ".join(f"{source}:NAME" for source in BACKBONES)
        self._require(known, "backbone", f"{sources}, or your own as recipe:name")
        for name in ("drop_path", "backbone_dropout"):
            rate, takes = getattr(self, name), library in BACKBONES and name in BACKBONES[library].settings
            self._require(rate is None or takes, name, "none for a backbone that is not of timm")
            self._require(rate is None or 0 <= rate < 1, name, "in [0, 1), or none")
        self._require(self.layer_groups >= 0, "layer_groups", "at least 1, or 0 for one a block")
        self._check_adapters()
        self._check_head()

    def _check_head(self) -> None:
        self._require(self.last_levels >= 1, "last_levels", "at least 1")
        rising = self.levels == tuple(sorted({level for level in self.levels if level >= 0}))
        self._require(rising, "levels", "numbers from 0 in rising order")
        self._require(not self.levels or self.last_levels == 1, "last_levels", "1 with `levels`")
        takes = HEADS[self.head].settings if self.head in HEADS else ()
        self._require(
            "pool" in takes or self.pool in IGNORED_POOLS,
            "pool",
            f"left out with the head {self.head}, which has its own (use the head pooled)",
        )
        self._require(1 <= self.dropout_samples <= MOST_MASKS, "dropout_samples", f"1 to {MOST_MASKS}")
        if self.dropout_samples > 1:
            heads = [name for name, row in HEADS.items() if "dropout_samples" in row.settings]
            self._require(self.head in heads, "dropout_samples", f"1 with another head than {', '.join(heads)}")
            self._require(self.dropout > 0, "dropout_samples", "1 without `dropout`")
        self._require(self.hidden >= 1, "hidden", "at least 1")
        self._require(0 <= self.dropout < 1, "dropout", "in [0, 1)")
        self._require(self.embedding_size >= 2, "embedding_size", "at least 2")
        self._require(self.centres >= 0, "centres", "0 or above")
        self._require(self.centre_std is None or self.centre_std > 0, "centre_std", "above 0, or none")
        self._require(
            self.joint_dropout is None or (0 <= self.joint_dropout < 1 and self.embeds),
            "joint_dropout",
            "in [0, 1) with an embedding head, or none",
        )

    def _check_adapters(self) -> None:
        self._at_most(lora_rank=MOST_WIDTH)
        self._require(self.lora_rank >= 0, "lora_rank", "0 or above")
        self._require(self.lora_alpha > 0, "lora_alpha", "above 0")
        for name, default in (("lora_alpha", 16.0), ("lora_layers", "")):
            self._require(self.lora_rank > 0 or getattr(self, name) == default, name, "left out without a `lora_rank`")
        try:
            re.compile(self.lora_layers)
        except re.error as error:
            self._require(False, "lora_layers", f"a regular expression ({error})")


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig(Section):
    """Settings of embeddings, for the losses `arcface`, `cosface`, `triplet` and `contrastive`.

    Attributes:
        scale: factor of the cosines that ArcFace and CosFace take as logits; above 0.
        margin: of ArcFace in radians, of CosFace as a cosine (0 is a softmax over cosines), of triplets and pairs as a
            distance.
        frequent_margin: ArcFace's margin for the class with the most rows; it rises to `margin` for the class with the
            fewest. None gives all classes `margin`.
        easy_margin: ArcFace widens only angles below 90 degrees.
        plain_weight: ArcFace becomes (CE(with margin) + weight * CE(without)) / (1 + weight).
        joint_weight: weight of the loss of the second classifier (`model.joint_dropout`), which is added.
        mining: triplets that count: the hardest of each anchor, all that violate the margin, the nearest negative
            behind each positive, or random ones.
        distance: between embeddings, for triplets and pairs; `cosine` is 1 - cosine.
        soft_margin: softplus in place of a margin, so triplets are pulled apart without limit.
        violated_only: average over the triplets that violate the margin, so the few that are left late in a training
            still count; by default over all mined ones. `batch_all` always does so, and all violate a soft margin.
        mirrored_identities: treat mirrored images as identities of their own, which doubles the classes in training.
    """

    scale: float = 30.0
    margin: float = 0.5
    frequent_margin: float | None = None
    easy_margin: bool = False
    plain_weight: float = 0.0
    joint_weight: float = 1.0
    mining: Literal["batch_hard", "batch_all", "semi_hard", "random"] = "batch_hard"
    distance: Literal["cosine", "euclidean"] = "cosine"
    soft_margin: bool = False
    violated_only: bool = False
    mirrored_identities: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.scale > 0, "scale", "above 0")
        self._require(self.margin >= 0, "margin", "0 or above")
        self._require(
            self.frequent_margin is None or 0 <= self.frequent_margin <= self.margin,
            "frequent_margin",
            f"in [0, margin = {self.margin}], or none",
        )
        self._require(self.plain_weight >= 0, "plain_weight", "0 or above")
        self._require(self.joint_weight >= 0, "joint_weight", "0 or above")
