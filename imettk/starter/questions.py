"""The questions that a competition may ask of its images, a row each, with all that `imettk new` bases on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

from imettk.config import EmbeddingConfig, FoldConfig, ModelConfig, RankConfig, RuleConfig

MIN_IDENTITIES = 300  # labels are individuals, not classes, from this many on ...
MAX_ROWS_PER_IDENTITY = 10  # ... if their median number of rows is at most this
DEFAULT_NUM_ANSWERS = 5  # answers per query if no sample submission shows how many
# Rules that need groups of labels, and what replaces them if there are none.
UNGROUPED: dict[str, str] = {"group_thresholds": "threshold"}


class LabelKind(Enum):
    """The kinds of targets that a row of the training table may hold."""

    ONE = "one label"
    SEVERAL = "several labels"
    CLASSES = "a class for each of several questions"
    NUMBERS = "numbers"
    VOTES = "the votes for each label"

    @property
    def is_numeric(self) -> bool:
        """True if cells hold numbers, and labels are the names of their columns."""
        return self in (LabelKind.NUMBERS, LabelKind.VOTES)


@dataclass(frozen=True)
class Ranked:
    """A sample submission's answers, if each row has several in order.

    Attributes:
        columns: one for each answer; empty if one column holds all of them, joined by spaces.
        number: answers per row.
        of_images: answers are names of images, not labels.
        foreign: an answer that no training row has as its label, such as `new_turtle`.
    """

    columns: tuple[str, ...]
    number: int
    of_images: bool
    foreign: str | None


class Evidence(NamedTuple):
    """Facts about a competition's labels by which its question is recognised.

    Attributes:
        counts: the number of rows of each label.
        kind: what a row holds.
        reason: why cells are read as that.
        ranked: the answers of the sample submission, if it asks for several in order.
        graded: labels are numbers, and the requested metric depends on the distance between them.
    """

    counts: Counter[str]
    kind: LabelKind
    reason: str
    ranked: Ranked | None
    graded: bool = False


def _deal_folds(number: int, counts: Counter[str]) -> FoldConfig:
    """Return plain stratified folds."""
    return FoldConfig(num_folds=number)


def _keep_ranking(config: RankConfig, ranked: Ranked | None, *, unknown: bool) -> RankConfig:
    """Return the settings unchanged, for questions without ranked answers."""
    return config


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question: how it is recognised and named, and the settings a recipe for it starts with.

    Attributes:
        name: the value of `--task`.
        task: the value of `table.task`.
        recognise: returns the reason why the data asks this question, or None.
        several: a row has any number of labels, even none; otherwise exactly one.
        unknown: one label may stand for all unknown individuals.
        row_holds: what a row has, for messages; the same for all questions of a task.
        kind_of_labels: what labels are, for the recipe's first line; {s} is the ending of the plural.
        without_label: what happens to a row without a label.
        rare_rows: a label with at most this many rows is rare.
        rare: the line about rare labels, with the fields `named`, `number` and `total`.
        loss, rule, model, embedding: settings of a new recipe.
        rules: rules of a built-in recipe that fit this question.
        each_label: fields of the rule to change if the metric is a mean over labels.
        make_folds: (number of folds, rows of each known label) -> the settings of folds.
        metric: the most likely metric; None for that of the rule, or for one that the sample submission suggests.
        fit_ranking: (settings, the sample's answers, unknown=a label stands for unknown individuals) -> the settings of
            ranked answers.
        comments: the decisions left to the user, by section of the recipe.
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

    def fit_rule(self, config: RuleConfig, *, label_groups: bool) -> RuleConfig:
        """Return the rule of a built-in recipe if it answers this question, otherwise that of a new recipe.

        Args:
            label_groups: names of labels start with a group.
        """
        if config.kind not in self.rules:
            return self.rule
        return config if label_groups or config.kind not in UNGROUPED else replace(config, kind=UNGROUPED[config.kind])


def _recognise_votes(evidence: Evidence) -> str | None:
    """Recognise columns of votes."""
    return evidence.reason if evidence.kind is LabelKind.VOTES else None


def _recognise_numbers(evidence: Evidence) -> str | None:
    """Recognise columns of numbers."""
    return evidence.reason if evidence.kind is LabelKind.NUMBERS else None


def _recognise_questions(evidence: Evidence) -> str | None:
    """Recognise columns that each hold classes of their own."""
    return evidence.reason if evidence.kind is LabelKind.CLASSES else None


def _recognise_grades(evidence: Evidence) -> str | None:
    """Recognise rows of one numeric label each, if the metric depends on distances between labels."""
    if not evidence.graded or evidence.kind is not LabelKind.ONE:
        return None
    return f"{len(evidence.counts)} numeric labels, and the metric depends on the distance between them"


def _recognise_labels(evidence: Evidence) -> str | None:
    """Recognise rows of several labels."""
    return evidence.reason if evidence.kind is LabelKind.SEVERAL else None


def _recognise_identities(evidence: Evidence) -> str | None:
    """Recognise individuals: the sample asks for answers in order, or labels are many, with few rows each."""
    if evidence.ranked is not None:
        return f"one label per row, and the sample submission asks for {evidence.ranked.number} answers in order"
    rows = sorted(evidence.counts.values())
    if len(rows) < MIN_IDENTITIES or (median := rows[len(rows) // 2]) > MAX_ROWS_PER_IDENTITY:
        return None
    return f"one of {len(rows)} labels per row, most of them with at most {median} rows"


def _recognise_classes(evidence: Evidence) -> str | None:
    """Recognise any labels as classes."""
    return f"one label per row: {evidence.reason}"


def _hold_images_out(number: int, counts: Counter[str]) -> FoldConfig:
    """Return folds that hold out images of identities with 3 or more, so that 2 remain to train; else with 2."""
    enough = any(count >= 3 for count in counts.values())
    return FoldConfig(num_folds=number, scheme="hold_out", hold_out_from=3 if enough else 2)


def _fit_ranking(config: RankConfig, ranked: Ranked | None, *, unknown: bool) -> RankConfig:
    """Return the settings of ranked answers, as many and of the kind that the sample submission shows."""
    number = DEFAULT_NUM_ANSWERS if ranked is None else ranked.number
    return replace(
        config,
        num_answers=number,
        answers="images" if ranked is not None and ranked.of_images else "identities",
        num_neighbours=max(config.num_neighbours, number),
        scored=config.scored if unknown else "all",
    )


# The first that recognises the data is chosen, so the order matters: special questions come first, and the last one
# accepts any labels.
QUESTIONS: dict[str, Question] = {
    question.name: question
    for question in (
        Question(
            name="votes",
            task="votes",
            recognise=_recognise_votes,
            row_holds="votes",
            kind_of_labels="labels with votes",
            rare="{named} leading the vote in 2 rows or fewer: too few to learn, and not in every fold",
            loss="kl_divergence",
            rule=RuleConfig(kind="probability", calibrate="temperature"),
            rules=("probability",),
            metric="kl_divergence",
            comments={
                "train": ("vote_weight=1.0 weights each row by its number of votes, 0.5 by the square root of it.",)
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
                    'To weight questions, in the order of label_columns: loss_params={"weights": "2 1 1"}, and',
                    'score=ScoreConfig(params={"weights": "2 1 1"}) if the competition weights them like this.',
                )
            },
        ),
        Question(
            name="multilabel",
            task="multilabel",
            recognise=_recognise_labels,
            several=True,
            row_holds="several labels",
            kind_of_labels="labels, several per row",
            without_label="kept as rows to which no label applies",
            loss="bce",
            rule=RuleConfig(kind="threshold", beta=1.0),
            rules=("threshold", "group_thresholds", "class_thresholds", "top", "share"),
            each_label={"kind": "class_thresholds"},
            comments={
                "rule": ("Set beta and average (over samples, labels, or all cells) to the competition's F-beta.",)
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
            rare="{number} of {total} identities with a single row each: in the gallery, never validated",
            loss="arcface",
            rule=RuleConfig(kind="rank"),
            rules=("rank",),
            model=ModelConfig(head="embedding", embedding_size=128),
            embedding=EmbeddingConfig(scale=30.0, margin=0.3),
            make_folds=_hold_images_out,
            fit_ranking=_fit_ranking,
            comments={"ranking": ("Set num_answers to the k of the competition's MAP@k.",)},
        ),
        Question(
            name="multiclass",
            task="multiclass",
            recognise=_recognise_classes,
            row_holds="one label",
            kind_of_labels="classes, one per row",
            loss="cross_entropy",
            rule=RuleConfig(kind="argmax"),
            rules=("argmax",),
        ),
    )
}
