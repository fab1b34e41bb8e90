"""Rules that turn predictions into answers, and pools that join the predictions of a unit's images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imettk.config.choices.choice import CLASSES, GRADES, LABELS, QUESTIONS, VALUES, VOTES, Choice


@dataclass(frozen=True, kw_only=True)
class RuleChoice(Choice):
    """A rule: `make` is a `postprocess.fitters.RuleFitter`, or a user's own `postprocess.rule.Rule`.

    Attributes:
        targets: forms of targets that it is fitted to.
        metric: default of `score.metric`.
        gives: forms of outputs that metrics can score: answers, probs, values, ranked.
        sections: sections of the recipe that decide how it is fitted.
        judge: an `evaluation.judge.Judge`, which validates and answers for runs with this rule.
        by_column: each column of the submission belongs to a label, and metrics score these columns only.
    """

    targets: tuple[str, ...]
    metric: str
    gives: tuple[str, ...]
    sections: tuple[str, ...] = ("rule",)
    judge: Any = "imettk.evaluation.by_rule:RuleJudge"
    by_column: bool = False

    @property
    def answers_numbers(self) -> bool:
        """True if the network's numbers are submitted, not labels."""
        return self.gives in (("probs",), ("values",))


@dataclass(frozen=True, kw_only=True)
class UnitPoolChoice(Choice):
    """A pool: `make` is (predictions of images, `postprocess.unit_pools.Members`, k) -> predictions of units.

    Attributes:
        numbers: it accepts any numbers, not only probabilities.
    """

    numbers: bool = True


def _for_labels(make: str) -> RuleChoice:
    return RuleChoice(
        make=f"imettk.postprocess.label_fitters:{make}", targets=(LABELS,), metric="f_beta", gives=("answers", "probs")
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
        make=None,  # nothing is fitted: its judge ranks by the recipe's settings
        targets=(CLASSES,),
        metric="map_at_k",
        gives=("ranked",),
        sections=("rule", "ranking"),
        judge="imettk.evaluation.by_ranking:RankingJudge",
    ),
}

# With `rule.pool` auto, the pool with the best out-of-fold score is taken.
UNIT_POOLS: dict[str, UnitPoolChoice] = {
    "mean": UnitPoolChoice(make="imettk.postprocess.unit_pools:mean"),
    "max": UnitPoolChoice(make="imettk.postprocess.unit_pools:largest"),
    "top_k": UnitPoolChoice(make="imettk.postprocess.unit_pools:mean_of_largest"),
    "noisy_or": UnitPoolChoice(make="imettk.postprocess.unit_pools:noisy_or", numbers=False),
}
