"""Settings of predictions, of the metric that scores them, and of the rule that turns them into answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from imettk.config.choices import RULES, UNIT_POOLS, VIEWS
from imettk.config.own import is_own
from imettk.config.section import MOST_LISTED, MOST_PIXELS, MOST_ROWS, Parameter, Section


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Section):
    """Test-time augmentation.

    Attributes:
        views: of each image. `crop0` to `crop3` are random crops of `images.image_size` from `images.load_size`, whose
            place only depends on the view and the image's row; all other views are of the centre.
        image_size: (height, width) in pixels for `validate` and `infer`; None is `images.image_size`, in which training
            itself always validates. Images that are cached in a smaller size are read from their files.
        merge: take the mean or the maximum of the views' probabilities; embeddings are always averaged.
    """

    views: tuple[str, ...] = ("plain",)
    image_size: tuple[int, int] | None = None
    merge: Literal["mean", "max"] = "mean"
    batch_size: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most(batch_size=MOST_ROWS, image_size=MOST_PIXELS)
        self._require(
            self.image_size is None or min(self.image_size) >= 8, "image_size", "at least 8 pixels each way, or none"
        )
        self._require(set(self.views) <= set(VIEWS), "views", f"among {', '.join(VIEWS)}")
        self._require(len(set(self.views)) == len(self.views) >= 1, "views", "one or more different views")
        self._require(self.batch_size >= 1, "batch_size", "at least 1")


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(Section):
    """The metric that runs are judged by: it is watched, printed, bootstrapped, logged and reported.

    Attributes:
        metric: a row of METRICS, which may include a number for k (`map_at_5`), or a user's own as `recipe:name`; None
            is the metric of the rule: F-beta for labels, accuracy for classes, MAP@k for ranked answers.
        params: its parameters by name. Others are taken from `rule` and `ranking` if these have them, else the metric's
            defaults.
    """

    metric: str | None = None
    params: dict[str, Parameter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from imettk.metrics import find_metric, metric_names  # inside: it loads numpy, which `--help` does without

        super().__post_init__()
        known = self.metric is None or is_own(self.metric) or find_metric(self.metric) is not None
        self._require(known, "metric", f"one of {metric_names()}, or your own as recipe:name")


@dataclass(frozen=True, kw_only=True)
class RuleConfig(Section):
    """Rule that turns predictions into answers, and the F-beta that rules for labels are fitted for.

    Attributes:
        kind: `threshold` is one for all labels, `group_thresholds` one for each label group, `class_thresholds` one for
            each label; `top` gives every row the same number of labels; `share` gives each label a share of the rows;
            `argmax` is the most likely class, `argmax_each` that of each question. `cutpoints` sums a row's grades,
            each times its probability (or takes a regression's number), and answers the highest grade whose cut-point
            the sum reaches; it is fitted for `score.metric` if that is quadratic kappa, accuracy or macro F1, else for
            quadratic kappa. `value` answers the number itself, within the range of training rows; `probability` answers
            the probabilities; `rank` gives several answers in order, as the section `ranking` sets.
        positive: for `probability`, the label whose probability fills a submission with one column; None is the only
            label, or 1 of the labels 0 and 1.
        calibrate: for `probability`, fit a `temperature` (and a clipping) for the lowest out-of-fold log loss; None
            leaves the network's probabilities unchanged.
        pairs: for `probability`, answer with this number of a row's most likely labels in one cell, each followed by
            its probability (`8815 0.03`), the most likely first; None for probabilities only.
        whole: for `value`, round answers to whole numbers.
        sums: for `value`, targets to answer with the sum of others, such as `total = dead + green`.
        beta: of the F-beta that rules are fitted for; 2 counts recall four times as much as precision. If this and
            `average` are at their defaults, an F-beta that `score.metric` names replaces them.
        average: of the F-beta: mean over samples, mean over labels (`macro`), or all labels counted together (`micro`).
        min_labels: least number of labels in a row, filled with its most likely ones.
        max_labels: largest number of labels in a row; None for no limit.
        relative: compare thresholds with probabilities divided by the largest of their row.
        shrink_to: pull each label's threshold toward that of all labels (`one`), that of its group, or the one at which
            the label keeps its share of rows; the rarer the label, the further.
        shrink_strength: number of rows at which a label's threshold is pulled halfway; None chooses it by
            cross-validation. On the tables of `tools/bench/decisions.py` every strength from 20 to 200 was better than
            none, and 50 was nearly the best.
        shares: for `share`, those of the training rows, those of `shares_csv`, or the mean of both.
        shares_csv: columns `label` and `share`; relative to the data folder.
        pool: how predictions of a unit's images are joined, separately for each label: their `mean`, their maximum
            (`max`), the mean of the `pool_size` largest (`top_k`), or the probability that any image shows the label
            (`noisy_or`). With two classes, `positive` or else the second class is pooled. `auto` takes the pool with
            the best out-of-fold score.
    """

    kind: str = "threshold"
    positive: str | None = None
    calibrate: Literal["temperature"] | None = None
    pairs: int | None = None
    whole: bool = False
    sums: tuple[str, ...] = ()
    beta: float = 2.0
    average: Literal["samples", "macro", "micro"] = "samples"
    min_labels: int = 1
    max_labels: int | None = None
    relative: bool = False
    shrink_to: Literal["none", "one", "groups", "shares"] = "none"
    shrink_strength: float | None = 50.0
    shares: Literal["train", "csv", "mean"] = "train"
    shares_csv: str | None = None
    pool: str = "auto"
    pool_size: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most(pairs=MOST_LISTED, pool_size=MOST_ROWS)
        self._one_of("kind", RULES)
        self._require(self.pool in ("auto", *UNIT_POOLS), "pool", f"auto, {' or '.join(UNIT_POOLS)}")
        self._require(self.pool_size >= 1, "pool_size", "at least 1")
        for name in ("calibrate", "pairs"):
            fits = self.kind == "probability" or getattr(self, name) is None
            self._require(fits, name, "none unless `kind` is probability")
        self._require(self.pairs is None or self.pairs >= 1, "pairs", "1 or above, or none")
        self._require(self.pairs is None or self.positive is None, "positive", "none with `pairs`, which name labels")
        self._require(not self.whole or self.kind == "value", "whole", "false unless `kind` is value")
        self._require(not self.sums or self.kind == "value", "sums", "none unless `kind` is value")
        self._require(self.beta > 0, "beta", "above 0")
        self._require(self.min_labels >= 0, "min_labels", "0 or above")
        self._require(
            self.max_labels is None or self.max_labels >= max(1, self.min_labels),
            "max_labels",
            "at least 1 and min_labels, or none",
        )
        self._require(
            self.shrink_to == "none" or self.kind == "class_thresholds",
            "shrink_to",
            "none unless `kind` is class_thresholds",
        )
        self._require(
            self.shrink_strength is None or self.shrink_strength >= 0, "shrink_strength", "0 or above, or none"
        )
        self._require(
            (self.shares_csv is None) == (self.shares == "train"),
            "shares_csv",
            "given with shares csv or mean, and left out otherwise",
        )

    @property
    def usual_metric(self) -> str:
        """The metric of a rule of the package, for recipes that name none."""
        return RULES[self.kind].metric


@dataclass(frozen=True, kw_only=True)
class RankConfig(Section):
    """Ranked answers to queries, for the rule `rank`.

    Attributes:
        answers: identities, or the most similar images of train and test together.
        num_answers: k, as in MAP@k.
        by: what identities are ranked by: a classifier's probabilities, or the nearest neighbours of an embedding.
        pool: similarity of an identity: that of its `best` image, the `mean` of its `best_of` best images, or a `vote`
            of the `num_neighbours` nearest images, weighted by a softmax of similarity / `temperature`.
        num_neighbours: images of the gallery to consider for each query.
        expand: query expansion: replace each query by a weighted mean of itself and this number of nearest images.
        expand_power: power of the similarity that is an image's weight in this mean.
        rerank: k-reciprocal re-ranking: compare the sets of this number of neighbours that name each other, of a query
            and of a gallery image; 0 for none.
        rerank_spread: number of images to average these sets over.
        rerank_weight: weight of the similarity itself; the sets have the rest.
        scored: identities that may be answered: all, or only those of the training table, with the unknown label for
            any other.
        unknown_share: share of test rows whose first answer should be the unknown label; None fits its place on
            validation.
        judge_unknown: score rows of unknown identities too, with the unknown label as the right answer. False, for rows
            whose identity nobody knows, leaves them out, and never answers the unknown label.
    """

    answers: Literal["identities", "images"] = "identities"
    num_answers: int = 5
    by: Literal["probs", "neighbours"] = "neighbours"
    pool: Literal["best", "mean", "vote"] = "best"
    best_of: int = 3
    num_neighbours: int = 100
    temperature: float = 0.1
    expand: int = 0
    expand_power: float = 3.0
    rerank: int = 0
    rerank_spread: int = 6
    rerank_weight: float = 0.3
    scored: Literal["all", "train"] = "all"
    unknown_share: float | None = None
    judge_unknown: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most(num_answers=MOST_LISTED, expand=MOST_LISTED, rerank=MOST_LISTED, rerank_spread=MOST_LISTED)
        self._require(self.num_answers >= 1, "num_answers", "at least 1")
        self._require(self.best_of >= 1, "best_of", "at least 1")
        self._require(self.num_neighbours >= self.num_answers, "num_neighbours", "at least num_answers")
        self._require(self.temperature > 0, "temperature", "above 0")
        self._require(self.expand >= 0, "expand", "0 or above")
        self._require(self.expand_power >= 0, "expand_power", "0 or above")
        self._require(self.rerank >= 0, "rerank", "0 or above")
        self._require(self.rerank_spread >= 1, "rerank_spread", "at least 1")
        self._require(0 <= self.rerank_weight <= 1, "rerank_weight", "in [0, 1]")
        self._require(self.unknown_share is None or 0 <= self.unknown_share <= 1, "unknown_share", "in [0, 1], or none")
        self._require(
            self.judge_unknown or (self.unknown_share is None and self.scored == "all"),
            "judge_unknown",
            "true with `unknown_share` or `scored`, which answer the unknown label",
        )
