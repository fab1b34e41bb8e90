"""What a recipe says of the network, and of how embeddings are learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imettk.config.choices import BACKBONES, HEADS, POOLS
from imettk.config.earlier import takes_earlier_names
from imettk.config.own import is_own
from imettk.config.section import MOST_LISTED, Section

MOST_WIDTH = 2**20  # of a layer


@takes_earlier_names("model")
@dataclass(frozen=True, kw_only=True)
class ModelConfig(Section):
    """The network: a backbone of timm or pretrainedmodels, or one's own, and a head.

    Attributes:
        backbone: `timm:NAME` or `pretrainedmodels:NAME`; `hf-hub:OWNER/NAME` is the network that the file of its
            weights names, from which nothing is downloaded; or one's own: (channels) -> a module that turns images into
            a map of features, (B, F, H, W), or into several, the last one last.
        weights: a local file of anyone's, or a folder that holds `NAME.safetensors`, `NAME.TAG.safetensors` or such a
            `.pth`, or a repository of the hub in timm's format; None starts from random weights.
        layer_groups: into how many groups, from first to last layer, the backbone is split; the head is one more.
        head: `linear` on averaged features; `relu` with a ReLU before the average (iMet 2019); `wide` joins average
            and maximum: BatchNorm, dropout, linear to `hidden`, ReLU, BatchNorm, dropout, linear (HPA 2018).
            `embedding` pools, then BatchNorm, dropout, linear to `embedding_size`, BatchNorm; `wide_embedding` has a
            linear layer to `hidden`, ReLU, BatchNorm and dropout in between, and drops half as much before it (HPA
            2018's metric model). One's own is (channels of each map, number of outputs) -> a module that turns a list
            of maps (B, F, H, W) into logits.
        last_levels: number of the backbone's last levels whose features are joined, 1 or 2.
        hidden: width of the `wide` heads.
        dropout: share of features dropped before linear layers, [0, 1).
        pool: of the embedding heads: `average`, `average_max` joins both, `gem` is a generalised mean whose power is
            learned.
        embedding_size: D, at least 2.
        centres: class centres that each class has behind its embedding, whose nearest one counts (sub-centre
            ArcFace); 0 for losses of pairs and triplets, which need none.
        centre_std: of the numbers that centres start with, above 0; None is Xavier's, with which they are about 1 long.
            Only their direction counts, and Adam turns long ones slowly: with 1 by about the learning rate a step, in
            radians, else `embedding_size` ** 0.5 times as far.
        joint_dropout: a second, plain classifier stands behind the embedding and this dropout; None for none.
    """

    backbone: str = "timm:resnet34"
    weights: str | None = None
    layer_groups: int = 1
    head: str = "linear"
    last_levels: int = 1
    hidden: int = 1024
    dropout: float = 0.0
    pool: str = "average_max"
    embedding_size: int = 512
    centres: int = 1
    centre_std: float | None = None
    joint_dropout: float | None = None

    @property
    def embeds(self) -> bool:
        """Whether the network gives embeddings."""
        return self.head in HEADS and HEADS[self.head].embeds

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most(layer_groups=MOST_LISTED, hidden=MOST_WIDTH, embedding_size=MOST_WIDTH, centres=MOST_LISTED)
        self._one_of("head", HEADS)
        self._one_of("pool", POOLS, own=False)
        library, _, name = self.backbone.partition(":")
        known = (library in BACKBONES and name != "") or is_own(self.backbone)
        sources = " or ".join(f"{source}:NAME" for source in BACKBONES)
        self._require(known, "backbone", f"{sources}, or your own as recipe:name")
        self._require(self.layer_groups >= 1, "layer_groups", "at least 1")
        self._require(self.last_levels in (1, 2), "last_levels", "1 or 2")
        self._require(self.hidden >= 1, "hidden", "at least 1")
        self._require(0 <= self.dropout < 1, "dropout", "in [0, 1)")
        self._require(self.embedding_size >= 2, "embedding_size", "at least 2")
        self._require(self.centres >= 0, "centres", "0 or above")
        self._require(self.centre_std is None or self.centre_std > 0, "centre_std", "above 0, or none")
        self._require(
            self.joint_dropout is None or (0 <= self.joint_dropout < 1 and self.embeds),
            "joint_dropout",
            "in [0, 1) and behind an embedding, or none",
        )


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig(Section):
    """How embeddings are learned: the losses `arcface`, `cosface`, `triplet` and `contrastive`.

    Attributes:
        scale: of the cosines, which ArcFace and CosFace take for logits; above 0.
        margin: of ArcFace in radians, of CosFace as a cosine (0 is a softmax over cosines), of triplets and pairs as a
            distance.
        frequent_margin: ArcFace's margin of the class with the most rows; rarer ones come nearer to `margin`, which
            the rarest has. None gives all classes `margin`.
        easy_margin: ArcFace widens only angles below a right one.
        plain_weight: ArcFace becomes (CE(with margin) + weight * CE(without)) / (1 + weight).
        joint_weight: the loss of the second classifier (`model.joint_dropout`) is added, times this.
        mining: which triplets count: the hardest of each anchor, all that are violated, the nearest negative behind
            each positive, or random ones.
        distance: between embeddings, for triplets and pairs; `cosine` is 1 - cosine.
        soft_margin: triplets are pulled apart without end: softplus in place of a margin.
        violated_only: the mean is over the triplets that violate the margin, so that the few that are left late in a
            training still count; else over all that were mined. `batch_all` always does so, and a
            soft margin is violated by all.
        mirrored_identities: mirrored images are of identities of their own, which doubles the classes in training.
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
