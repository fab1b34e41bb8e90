"""The one description of an experiment: frozen dataclasses, JSON in and out, a fingerprint of what changes the weights.

A recipe is read from JSON with every name and type checked; each section checks its own ranges when it is made.
Sections that change the trained weights are listed in `WEIGHT_SECTIONS`; two recipes that agree there can share
checkpoints.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imettk.config import earlier, fits
from imettk.config.answers import PredictConfig, RankConfig, RuleConfig, ScoreConfig
from imettk.config.choices import LOSSES, VIEWS, Loss, RuleChoice
from imettk.config.data import CacheConfig, FoldConfig, ImageFormat
from imettk.config.fields import leaves, unknown_field
from imettk.config.model import EmbeddingConfig, ModelConfig
from imettk.config.own import load_own
from imettk.config.parameters import PLAIN, bind
from imettk.config.section import Parameter, Section
from imettk.config.table import TableFormat
from imettk.config.training import SessionConfig, StageConfig, TrainConfig
from imettk.errors import ConfigError, MissingFileError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from imettk.metrics import Scorer
    from imettk.tasks import Task
    from imettk.tasks.scale import Kind


@earlier.takes_earlier_names("")
@dataclass(frozen=True, kw_only=True)
class Recipe(Section):
    """One experiment, complete. `source_sha256` is the hash of a user's own `.py` recipe, else empty."""

    name: str = "unnamed"
    source_sha256: str = ""
    table: TableFormat = field(default_factory=TableFormat)
    folds: FoldConfig = field(default_factory=FoldConfig)
    images: ImageFormat = field(default_factory=ImageFormat)
    cache: CacheConfig = field(default_factory=CacheConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    stages: tuple[StageConfig, ...] = (StageConfig(),)
    predict: PredictConfig = field(default_factory=PredictConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    rule: RuleConfig = field(default_factory=RuleConfig)
    ranking: RankConfig = field(default_factory=RankConfig)
    session: SessionConfig = field(default_factory=SessionConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(len(self.stages) >= 1, "stages", "at least one stage")
        for position in range(len(self.stages)):
            self._check_stage(position)
        files = self.table.channel_files
        if files and len(files) != self.images.channels:
            raise ConfigError(
                f"`table.channel_files` must name one file a channel, got {len(files)} files for "
                f"{self.images.channels} channels"
            )
        if any(VIEWS[view].crop is not None for view in self.predict.views) and self.images.fit != "centre_crop":
            raise ConfigError(
                "`predict.views` with crops need `images.fit` centre_crop and a larger `images.load_size`"
            )
        fits.check_fits(self)
        fits.check_losses(self)
        self._check_watch()
        self._check_ranking()

    @property
    def validation_scores(self) -> tuple[str, ...]:
        """The names of what a validation during training gives, which can be watched."""
        row = fits.loss_row(self, self.train.loss)
        losses = () if row is not None and row.takes == "embeddings" else ("loss",)
        return (*losses, "score", *self.task.watched)

    @property
    def task(self) -> Task:
        """What is asked of an image."""
        return fits.task_of(self)

    @property
    def target_scale(self) -> Kind:
        """In which scale numbers are learned."""
        return fits.target_scale(self)

    @property
    def answers_images(self) -> bool:
        """Whether answers are images that are alike, and no labels."""
        return "ranked" in self.rule_row.gives and self.ranking.answers == "images"

    @property
    def asks_neighbours(self) -> bool:
        """Whether neighbours decide, and not what the network says of classes."""
        return self.model.embeds and "ranked" in self.rule_row.gives and self.ranking.by == "neighbours"

    @property
    def scorer(self) -> Scorer:
        """The metric that runs are judged by, with its parameters."""
        scorer = fits.scorer_of(self)
        if scorer is None:
            load_own(self.score.metric or self.rule.kind, self.source_sha256)
        assert scorer is not None
        return scorer

    @property
    def fitted_rule(self) -> RuleConfig:
        """The section `rule`, with the F-beta that thresholds are fitted for."""
        return fits.fitted_rule(self)

    @property
    def rule_row(self) -> RuleChoice:
        """How predictions become answers."""
        row = fits.rule_row(self)
        if row is None:
            load_own(self.rule.kind, self.source_sha256)
        assert row is not None
        return row

    def loss_row(self, stage: StageConfig | None = None) -> tuple[Loss, dict[str, Parameter]]:
        """Return the loss of a stage, or of the training, and its own parameters."""
        name, given = fits.stage_loss(self, stage)
        row = fits.loss_row(self, name)
        if row is None:
            load_own(name, self.source_sha256)
        assert row is not None
        return row, bind("loss_params", f"the loss {name}", row.own_params, given)

    def lower_is_better(self) -> bool:
        """Return whether what `train.watch` follows is better when it is lower."""
        return fits.lower_is_better(self)

    def _check_watch(self) -> None:
        rows = [fits.loss_row(self, name) for name in fits.loss_names(self)]
        if self.train.watch == "loss" and any(row is not None and row.takes == "embeddings" for row in rows):
            raise ConfigError("`train.watch` must be score with triplets or pairs, whose loss depends on the batch")
        if self.train.watch not in self.validation_scores:
            raise ConfigError(
                f"`train.watch` must be {' or '.join(self.validation_scores)} with a {self.table.task} table, got "
                f"{self.train.watch}, which no validation gives there"
            )

    def _check_ranking(self) -> None:
        ranks, embeds, plan = self.rule.kind == "rank", self.model.embeds, self.ranking
        if self.table.unknown_label is not None and not ranks:
            raise ConfigError("`table.unknown_label` needs `rule.kind` rank, which knows where to put it")
        if ranks and plan.by == "neighbours" and not embeds:
            raise ConfigError("`ranking.by` neighbours needs a `model.head` embedding; take probs for a classifier")
        if embeds and self.model.centres == 0 and not (ranks and plan.by == "neighbours"):
            raise ConfigError("`model.centres` 0 knows no classes: it needs `rule.kind` rank by neighbours")
        if ranks and plan.answers == "images" and plan.by != "neighbours":
            raise ConfigError("`ranking.answers` images needs `ranking.by` neighbours")
        if ranks and plan.answers == "images" and plan.rerank:
            raise ConfigError(f"`ranking.rerank` must be 0 with `ranking.answers` images, got {plan.rerank}")
        if ranks and plan.scored == "train" and self.table.unknown_label is None:
            raise ConfigError("`ranking.scored` train needs `table.unknown_label`, which stands for all others")
        if ranks and self.table.answer_columns and len(self.table.answer_columns) != plan.num_answers:
            raise ConfigError(
                f"`table.answer_columns` must name one column an answer, got {len(self.table.answer_columns)} for "
                f"`ranking.num_answers` {plan.num_answers}"
            )

    def _check_stage(self, position: int) -> None:
        stage, groups = self.stages[position], self.model.layer_groups
        if len(stage.lr) not in (1, groups + 1):
            raise ConfigError(
                f"`stages.{position}.lr` must hold 1 value, or {groups + 1} "
                f"(model.layer_groups and the head), got {len(stage.lr)}"
            )
        if stage.frozen_groups > groups:
            raise ConfigError(
                f"`stages.{position}.frozen_groups` must be at most model.layer_groups "
                f"({groups}), got {stage.frozen_groups}"
            )
        if stage.sampler == "identities" and (not self.task.exclusive or self.task.numbered):
            raise ConfigError(f"`stages.{position}.sampler` identities needs a multiclass table: one identity an image")


# Environment: when a session began, as `time.monotonic()` of the machine it runs on, which no change of the clock
# moves; a kernel sets it, and `imettk train` for its processes.
SESSION_START = "IMETTK_SESSION_START"
# Environment: into how many pieces micro-batches are cut; set where several processes start again for want of memory.
SPLIT = "IMETTK_SPLIT"
EXIT_OUT_OF_MEMORY = 75  # exit code of a process that asks for that
PREPARE_SECTIONS = ("table", "folds")
WEIGHT_SECTIONS = (*PREPARE_SECTIONS, "images", "model", "embedding", "train", "stages", "source_sha256")


def fingerprint(recipe: Recipe, sections: tuple[str, ...] = WEIGHT_SECTIONS) -> str:
    """16 hex digits that change when, and only when, something in `sections` changes.

    Fields at their default are left out: a training goes on, and its weights are read, by a later imettk that has more.
    """
    normal, sections = _normal(recipe), _with_score(recipe, sections)
    chosen = {name: _beyond_defaults(getattr(normal, name)) for name in sections}
    losses = [_loss_beyond_defaults(normal, stage) for stage in (None, *normal.stages)]
    content = json.dumps(earlier.hashed_as_before(chosen, losses), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def differences(old: Recipe, new: Recipe, sections: tuple[str, ...] = WEIGHT_SECTIONS) -> list[str]:
    """One line for each field of `sections` that differs: its name, old and new value."""
    before, after = (dict(leaves(_normal(recipe))) for recipe in (old, new))
    sections = tuple({*_with_score(old, sections), *_with_score(new, sections)})
    names = [name for name in {**before, **after} if name.split(".")[0] in sections]
    absent = "(absent)"
    return [
        f"{name}: {before.get(name, absent)!r} -> {after.get(name, absent)!r}"
        for name in names
        if before.get(name, absent) != after.get(name, absent)
    ]


def _with_score(recipe: Recipe, sections: tuple[str, ...]) -> tuple[str, ...]:
    """The sections, and the metric's where it decides which weights are kept and when a rate falls."""
    follows = "train" in sections and recipe.train.watch == "score" and recipe.score != ScoreConfig()
    return (*sections, "score") if follows else sections


def to_json(recipe: Recipe) -> str:
    """The recipe as indented JSON that `from_json` reads back to an equal recipe."""
    return json.dumps(dataclasses.asdict(recipe), indent=2) + "\n"


def from_json(text: str, *, where: str = "recipe.json") -> Recipe:
    """Read what `to_json` wrote.

    Raises:
        ConfigError: not JSON, or a field is unknown, of the wrong type or out of range; the message names the field
            and, for an unknown one, the nearest valid name.
    """
    from pydantic import ValidationError

    try:
        return _reader().validate_json(_of_today(text))
    except ValidationError as error:
        first = error.errors()[0]
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    place = first["loc"]
    if place and place[-1] in PLAIN:  # pydantic adds the type that it tried first
        place, first["msg"] = place[:-1], "Input should be true or false, a number or a text"
    name = ".".join(str(part) for part in place)
    if first["type"] == "unexpected_keyword_argument":
        raise ConfigError(f"{where}: {unknown_field(name, Recipe())}")
    raise ConfigError(f"{where}: {name + ': ' if name else ''}{first['msg']}, got {str(first['input'])[:80]!r}")


def _of_today(text: str) -> str:
    """Return a recipe's JSON under the names of today; text that is no JSON is returned unchanged."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(earlier.read(content, _defaults()))


@functools.cache  # a recipe is read dozens of times in a command
def _defaults() -> dict[str, Any]:
    return dict(json.loads(to_json(Recipe())))


@functools.cache
def _reader() -> TypeAdapter[Recipe]:
    """What reads JSON into a recipe; making it takes longer than a hundred readings, so it is made once."""
    from pydantic import TypeAdapter

    return TypeAdapter(Recipe)


def read_recipe(path: Path) -> Recipe:
    """Read a saved recipe; `MissingFileError` names the stage that writes it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(
            f"{path} is missing: give a RECIPE, or run `imettk prepare` first, which writes it"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text in UTF-8 ({error}): is it a recipe.json of imettk?") from None
    return from_json(text, where=str(path))


def _beyond_defaults(value: Any) -> Any:
    """Of a section the fields that say something else than their default, by name; any other value as it is."""
    if isinstance(value, tuple):
        return [_beyond_defaults(one) for one in value]
    if not dataclasses.is_dataclass(value):
        return value
    said = {}
    for item in dataclasses.fields(value):
        made = item.default_factory
        default = item.default if made is dataclasses.MISSING else made()
        if (content := getattr(value, item.name)) != default:
            said[item.name] = _beyond_defaults(content)
    return said


def _loss_beyond_defaults(recipe: Recipe, stage: StageConfig | None) -> tuple[str, dict[str, Parameter]]:
    """Return a stage's loss, or the training's, and its parameters that are not at their default."""
    name, params = fits.stage_loss(recipe, stage)
    if name not in LOSSES:  # one of a recipe file, which may not have been run
        return name, params
    takes = LOSSES[name].own_params
    usual = bind("loss_params", name, takes, {})
    said = bind("loss_params", name, takes, params)
    return name, {key: value for key, value in said.items() if key not in usual or value != usual[key]}


def _normal(recipe: Recipe) -> Recipe:
    """The recipe as JSON would give it back: a float field that a `.py` recipe sets to 14 holds 14.0.

    ImageNet's mean and std count as not given, for they were the default of earlier versions.
    """
    normal = from_json(to_json(recipe), where=recipe.name)
    given: dict[str, Any] = {
        name: None for name, usual in earlier.IMAGENET.items() if getattr(normal.images, name) == usual
    }
    return dataclasses.replace(normal, images=dataclasses.replace(normal.images, **given)) if given else normal
