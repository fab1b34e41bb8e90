"""The questions that a competition's data may ask, a row each with all that `imettk new` lets depend on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from imettk.config import EmbeddingConfig, FoldConfig, ModelConfig, RankConfig, RuleConfig

MANY_LABELS, FEW_ROWS = 300, 10  # identities: at least so many, in the median with so many rows at most
ANSWERS = 5  # of a retrieval whose sample submission does not say how many
# Rules that need groups of labels, and those that take their place where there are none.
UNGROUPED: dict[str, str] = {"group_thresholds": "threshold"}


@dataclass(frozen=True)
class Ranked:
    """What a sample submission with answers in order says.

    Attributes:
        columns: one an answer; empty where one column holds all, joined by spaces.
        number: of answers.
        of_images: they are names of images, not labels.
        foreign: an answer that is no label of the training table, as `new_turtle` is.
    """

    columns: tuple[str, ...]
    number: int
    of_images: bool
    foreign: str | None


class Evidence(NamedTuple):
    """Facts about a competition's labels by which its question is recognised.

    Attributes:
        counts: rows of each label.
        several: cells hold several labels, with a separator between them.
        reason: why cells are read in this way.
        numeric: cells hold numbers, and labels are names of columns.
        votes: these numbers are votes.
        graded: labels are numbers, and the metric that was asked for judges how far they are apart.
        ranked: what the sample submission says, where it wants answers in order.
        asks_columns: each of several columns holds classes of its own.
    """

    counts: Counter[str]
    several: bool
    reason: str
    ranked: Ranked | None
    numeric: bool = False
    votes: bool = False
    asks_columns: bool = False
    graded: bool = False


def _deal_folds(number: int, counts: Counter[str]) -> FoldConfig:
    return FoldConfig(num_folds=number)


def _keep_ranking(plan: RankConfig, ranked: Ranked | None, *, unknown: bool) -> RankConfig:
    return plan


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question, how it is recognised and named, and where a recipe for it begins.

    Attributes:
        name: the value of `--task`.
        task: the value of `table.task`.
        recognise: returns the reason why data asks this question, or None where it does not.
        several: a row has any number of labels, even none; without it exactly one.
        unknown: one label may stand for all individuals that have no name.
        row_holds: what a row has, in messages; alike in all questions of a task.
        kind_of_labels: what labels are, in a recipe's first line; {s} is the end of a plural.
        without_label: what becomes of a row without a label.
        rare_rows: up to how many rows a label is called rare.
        rare: the line about rare labels, with the fields `named`, `number` and `total`.
        loss, rule, model, embedding: what a recipe begins with.
        rules: rules of a built-in recipe that are kept.
        each_label: fields of the rule that change where a metric is a mean over labels.
        make_folds: (number of folds, rows of each label with a name) -> the plan of folds.
        metric: by which such answers are judged where nobody says; None for that of the rule, or what the sample tells.
        fit_ranking: (plan, what the sample submission says, unknown=whether a label stands for unknown ones) -> the
            plan of ranked answers.
        comments: what a person should decide, by section of the recipe.
    """

    name: str
    task: str
    recognise: Callable[[Evidence], str | None]
    several: bool = False
    unknown: bool = False
    row_holds: str
    kind_of_labels: str
    without_label: str = "`prepare` stops there"
    rare_rows: int = 2
    rare: str = "{named} with 1 or 2 rows: too few to learn, and not in every fold"
    loss: str
    rule: RuleConfig
    rules: tuple[str, ...]
    each_label: Mapping[str, Any] = field(default_factory=dict)
    model: ModelConfig = field(default_factory=ModelConfig)
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    make_folds: Callable[[int, Counter[str]], FoldConfig] = _deal_folds
    metric: str | None = None
    fit_ranking: Callable[..., RankConfig] = _keep_ranking
    comments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def fit_rule(self, plan: RuleConfig, *, label_groups: bool) -> RuleConfig:
        """Return the rule of a built-in recipe as far as it answers this question, else that of a new recipe.

        Args:
            label_groups: names of labels begin with a group.
        """
        if plan.kind not in self.rules:
            return self.rule
        return plan if label_groups or plan.kind not in UNGROUPED else replace(plan, kind=UNGROUPED[plan.kind])


def _recognise_votes(evidence: Evidence) -> str | None:
    return evidence.reason if evidence.votes else None


def _recognise_numbers(evidence: Evidence) -> str | None:
    return evidence.reason if evidence.numeric else None


def _recognise_questions(evidence: Evidence) -> str | None:
    return evidence.reason if evidence.asks_columns else None


def _recognise_grades(evidence: Evidence) -> str | None:
    """Labels are numbers whose distance counts, one a row."""
    if not evidence.graded or evidence.several:
        return None
    return f"{len(evidence.counts)} labels that are numbers, whose distance the metric counts"


def _recognise_labels(evidence: Evidence) -> str | None:
    return evidence.reason if evidence.several else None


def _recognise_identities(evidence: Evidence) -> str | None:
    """Answers in order are wanted of one label a row, or labels look like individuals: many, with few rows each."""
    if evidence.ranked is not None:
        return f"one label a row, and the sample submission wants {evidence.ranked.number} answers in order"
    rows = sorted(evidence.counts.values())
    if len(rows) < MANY_LABELS or (median := rows[len(rows) // 2]) > FEW_ROWS:
        return None
    return f"one of {len(rows)} labels a row, most of them with {median} rows or fewer"


def _recognise_classes(evidence: Evidence) -> str | None:
    return f"one label a row: {evidence.reason}"


def _hold_images_out(number: int, counts: Counter[str]) -> FoldConfig:
    enough = any(count >= 3 for count in counts.values())
    return FoldConfig(num_folds=number, scheme="hold_out", hold_out_from=3 if enough else 2)


def _fit_ranking(plan: RankConfig, ranked: Ranked | None, *, unknown: bool) -> RankConfig:
    number = ANSWERS if ranked is None else ranked.number
    return replace(
        plan,
        num_answers=number,
        answers="images" if ranked is not None and ranked.of_images else "identities",
        num_neighbours=max(plan.num_neighbours, number),
        scored=plan.scored if unknown else "all",
    )


# In the order in which they are looked for: the last is recognised in any data with labels.
QUESTIONS: dict[str, Question] = {
    question.name: question
    for question in (
        Question(
            name="votes",
            task="votes",
            recognise=_recognise_votes,
            row_holds="votes",
            kind_of_labels="labels with votes",
            rare="{named} with the most votes in 2 rows or fewer: too few to learn, and not in every fold",
            loss="kl_divergence",
            rule=RuleConfig(kind="probability", calibrate="temperature"),
            rules=("probability",),
            metric="kl_divergence",
            comments={
                "train": ("`vote_weight=1.0` lets rows of more votes count as much more; 0.5 by their square root.",)
            },
        ),
        Question(
            name="regression",
            task="regression",
            recognise=_recognise_numbers,
            row_holds="numbers",
            kind_of_labels="column{s} of numbers",
            loss="mse",
            rule=RuleConfig(kind="value"),
            rules=("value", "cutpoints"),
        ),
        Question(
            name="questions",
            task="questions",
            recognise=_recognise_questions,
            several=True,
            row_holds="a class of each of several questions",
            kind_of_labels="classes of several questions",
            loss="question_cross_entropy",
            rule=RuleConfig(kind="argmax_each"),
            rules=("argmax_each",),
            comments={
                "train": (
                    'Questions that count more: loss_params={"weights": "2 1 1"}, in the order of label_columns;',
                    'and score=ScoreConfig(params={"weights": "2 1 1"}) where the competition counts them so.',
                )
            },
        ),
        Question(
            name="multilabel",
            task="multilabel",
            recognise=_recognise_labels,
            several=True,
            row_holds="several labels",
            kind_of_labels="labels, several a row",
            without_label="kept, as rows to which no label applies",
            loss="bce",
            rule=RuleConfig(kind="threshold", beta=1.0),
            rules=("threshold", "group_thresholds", "class_thresholds", "top", "share"),
            each_label={"kind": "class_thresholds"},
            comments={
                "rule": ("The F-beta of the competition: which beta, and the mean over samples, labels or all?",)
            },
        ),
        Question(
            name="grades",
            task="ordinal",
            recognise=_recognise_grades,
            row_holds="one grade",
            kind_of_labels="grades",
            loss="corn",
            rule=RuleConfig(kind="cutpoints"),
            rules=("cutpoints",),
        ),
        Question(
            name="retrieval",
            task="multiclass",
            recognise=_recognise_identities,
            unknown=True,
            row_holds="one label",
            kind_of_labels="identities",
            rare_rows=1,
            rare="{number} of {total} identities have a single row: it can only be found, never validated",
            loss="arcface",
            rule=RuleConfig(kind="rank"),
            rules=("rank",),
            model=ModelConfig(head="embedding", embedding_size=128),
            embedding=EmbeddingConfig(scale=30.0, margin=0.3),
            make_folds=_hold_images_out,
            fit_ranking=_fit_ranking,
            comments={"ranking": ("How many answers a query gets, as the competition's MAP@k counts them.",)},
        ),
        Question(
            name="multiclass",
            task="multiclass",
            recognise=_recognise_classes,
            row_holds="one label",
            kind_of_labels="classes, one a row",
            loss="cross_entropy",
            rule=RuleConfig(kind="argmax"),
            rules=("argmax",),
        ),
    )
}
