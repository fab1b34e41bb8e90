"""What a recipe says of predictions, and of how they become answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from imettk.config.choices import RULES, UNIT_POOLS, VIEWS
from imettk.config.own import is_own
from imettk.config.section import MOST_LISTED, MOST_ROWS, Parameter, Section


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Section):
    """Test-time augmentation.

    Attributes:
        views: of each image; `crop0` to `crop3` are crops of `images.image_size` from `images.load_size` at random
            places, which only the view and the image's row decide; beside them, other views are of the centre.
        merge: of the views' probabilities, their mean or the largest; embeddings always give their mean.
    """

    views: tuple[str, ...] = ("plain",)
    merge: Literal["mean", "max"] = "mean"
    batch_size: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most(batch_size=MOST_ROWS)
        self._require(set(self.views) <= set(VIEWS), "views", f"among {', '.join(VIEWS)}")
        self._require(len(set(self.views)) == len(self.views) >= 1, "views", "one or more different views")
        self._require(self.batch_size >= 1, "batch_size", "at least 1")


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(Section):
    """By which metric runs are judged: what is watched, printed, bootstrapped, logged and reported.

    Attributes:
        metric: a row of METRICS, with a number for k too (`map_at_5`), or one's own as `recipe:name`; None is that of
            the rule: F-beta for labels, accuracy for classes, MAP@k for ranked answers.
        params: its parameters by name; those left out are what `rule` and `ranking` say, else the metric's own.
    """

    metric: str | None = None
    params: dict[str, Parameter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from imettk.metrics import find_metric, metric_names  # here, for it loads numpy, which `--help` does without

        super().__post_init__()
        known = self.metric is None or is_own(self.metric) or find_metric(self.metric) is not None
        self._require(known, "metric", f"one of {metric_names()}, or your own as recipe:name")


@dataclass(frozen=True, kw_only=True)
class RuleConfig(Section):
    """How probabilities become answers, and by which F-beta rules for labels are fitted.

    Attributes:
        kind: `threshold` is one for all labels, `group_thresholds` one for each label group, `class_thresholds` one for
            each label; `top` gives every row the same number of labels; `share` gives each label a share of the rows;
            `argmax` is the most likely class; `cutpoints` adds up a row's grades, each times its probability (or takes
            the number of a regression), and the sum is answered with a grade from its cut-point on (for quadratic
            kappa, accuracy or macro F1, whichever `score.metric` is, else the first); `value` answers with the number
            itself, in the range that training rows have; `probability` answers with the probabilities themselves;
            `rank` gives several answers in order, as the `ranking` section says.
        positive: of `probability`, the label whose probability a submission with one column holds; None is the only
            label there is, or 1 of the labels 0 and 1.
        calibrate: of `probability`, a `temperature` (and a clipping) that gives the least log loss out of fold; None
            leaves probabilities as the network says them.
        pairs: of `probability`, so many of a row's likeliest labels, each with its probability behind it, in one cell
            (`8815 0.03`), the likeliest first; None for probabilities alone.
        whole: of `value`, answers are rounded.
        sums: of `value`, targets that are answered with the sum of others, such as `total = dead + green`.
        beta: of the F-beta score that rules are fitted for; 2 counts recall four times as much as precision. Where it
            and `average` are as they stand here, an F-beta that `score.metric` names is taken in their place.
        average: of the F-beta: a mean over samples, over labels (`macro`), or all counted as one (`micro`).
        min_labels: a row gets so many labels at least, its most likely ones.
        max_labels: and at most so many; None for no limit.
        relative: thresholds are on probabilities divided by the largest of their row.
        shrink_to: class thresholds are pulled toward that of all labels (`one`), of their group, or the one at which
            the label keeps its share of rows; the more, the rarer the label.
        shrink_strength: a label with so many rows goes halfway; None finds one by cross-validation. From 20 to 200 all
            were better than none on the tables of `tools/bench/decisions.py`, and 50 hardly worse than the best.
        shares: of `share`, those of the training rows, of `shares_csv`, or the mean of both.
        shares_csv: columns `label` and `share`, relative to the data folder.
        pool: where several images give one answer, that is made of the `mean` of their predictions, the largest
            (`max`), the mean of the `pool_size` largest (`top_k`), or the probability that any of them has it
            (`noisy_or`), each label by itself; of two classes, `positive` or else the second is pooled. `auto` is the
            one that scores best out of fold.
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
            of_numbers = self.kind == "probability" or getattr(self, name) is None
            self._require(of_numbers, name, "none unless `kind` is probability")
        self._require(self.pairs is None or self.pairs >= 1, "pairs", "1 or above, or none")
        self._require(self.pairs is None or self.positive is None, "positive", "none with `pairs`, which name labels")
        self._require(not self.whole or self.kind == "value", "whole", "false unless `kind` is value")
        self._require(not self.sums or self.kind == "value", "sums", "none unless `kind` is value")
        self._require(self.beta > 0, "beta", "above 0")
        self._require(self.min_labels >= 0, "min_labels", "0 or above")
        self._require(
            self.max_labels is None or self.max_labels >= max(1, self.min_labels), "max_labels", "min_labels or above"
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
            "given with shares csv or mean, and only then",
        )

    @property
    def usual_metric(self) -> str:
        """The metric that judges a rule of the package where a recipe names none."""
        return RULES[self.kind].metric


@dataclass(frozen=True, kw_only=True)
class RankConfig(Section):
    """How queries get ranked answers, with the rule `rank`.

    Attributes:
        answers: identities, or the images that are most alike, in train and test together.
        num_answers: k, as in MAP@k.
        by: what ranks identities: the probabilities of a classifier, or the near neighbours of an embedding.
        pool: an identity is as near as its `best` image, the `mean` of its best `best_of` images, or by the `vote` of
            `num_neighbours` images, weighted by a softmax of similarity / `temperature`.
        num_neighbours: images of the gallery that are looked at.
        expand: each query is replaced by its weighted mean with so many of its nearest images (query expansion).
        expand_power: the weight of such an image is its similarity to this power.
        rerank: neighbours are looked at again together: a query's and a gallery image's sets of so many neighbours
            that name each other are compared (k-reciprocal re-ranking); 0 does not.
        rerank_spread: images over whose sets is averaged.
        rerank_weight: of the similarity itself beside that of the sets.
        scored: identities that may be answered: all, or those of the training table alone; any other one is the
            unknown label then.
        unknown_share: of the test rows that should have the unknown label first; None fits its place on validation.
        judge_unknown: rows of no known identity count in the scores, and the unknown label is right for them; where
            nobody knows whose they are, False leaves them out, and the unknown label is never answered.
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
