"""The recipe: an experiment described in frozen sections, with JSON in and out.

Each section checks its own ranges when made; the recipe checks what its sections need of each other.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imettk.config import earlier, fits
from imettk.config.answers import PredictConfig, RankConfig, RuleConfig, ScoreConfig
from imettk.config.choices import VIEWS, Loss, RuleChoice
from imettk.config.data import CacheConfig, FoldConfig, ImageFormat
from imettk.config.fields import unknown_field
from imettk.config.model import EmbeddingConfig, ModelConfig
from imettk.config.own import load_own
from imettk.config.parameters import PLAIN, bind
from imettk.config.section import Parameter, Section
from imettk.config.session import SessionConfig
from imettk.config.stage import StageConfig
from imettk.config.table import TableFormat
from imettk.config.training import TrainConfig
from imettk.errors import ConfigError, MissingFileError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from imettk.metrics import Scorer
    from imettk.tasks import Task
    from imettk.tasks.scale import Kind


@earlier.takes_earlier_names("")
@dataclass(frozen=True, kw_only=True)
class Recipe(Section):
    """A complete experiment.

    Attributes:
        source_sha256: hash of the user's own `.py` recipe, which is part of the fingerprint; "" for others.
    """

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
                f"`table.channel_files` must name one file for each channel, got {len(files)} files for "
                f"{self.images.channels} channels"
            )
        self._check_predictions()
        fits.check_fits(self)
        fits.check_losses(self)
        self._check_watch()
        self._check_average()
        self._check_ranking()

    @property
    def validation_scores(self) -> tuple[str, ...]:
        """The values that a validation during training measures, by the names that `train.watch` takes."""
        row = fits.loss_row(self, self.train.loss)
        losses = () if row is not None and row.takes == "embeddings" else ("loss",)
        return (*losses, "score", *self.task.watched)

    @property
    def predict_size(self) -> tuple[int, int]:
        """The (height, width) of images that are predicted, in pixels."""
        return self.predict.image_size or self.images.image_size

    @property
    def task(self) -> Task:
        """The task, a row of TASKS."""
        return fits.task_of(self)

    @property
    def target_scale(self) -> Kind:
        """The scale in which numbers are learned."""
        return fits.target_scale(self)

    @property
    def answers_images(self) -> bool:
        """True if answers are similar images, not labels."""
        return "ranked" in self.rule_row.gives and self.ranking.answers == "images"

    @property
    def ranks_by_neighbours(self) -> bool:
        """True if answers are ranked by neighbours, not by a classifier's probabilities."""
        return self.model.embeds and "ranked" in self.rule_row.gives and self.ranking.by == "neighbours"

    @property
    def scorer(self) -> Scorer:
        """The metric that runs are judged by, bound to its parameters."""
        scorer = fits.scorer_of(self)
        if scorer is None:
            load_own(self.score.metric or self.rule.kind, self.source_sha256)  # raises: the file has not been run
        assert scorer is not None
        return scorer

    @property
    def fitted_rule(self) -> RuleConfig:
        """The section `rule` with the F-beta that thresholds are fitted for, which may be the metric's."""
        return fits.fitted_rule(self)

    @property
    def rule_row(self) -> RuleChoice:
        """The rule that turns predictions into answers, a row of RULES or a user's own."""
        row = fits.rule_row(self)
        if row is None:
            load_own(self.rule.kind, self.source_sha256)  # raises, as above
        assert row is not None
        return row

    def loss_row(self, stage: StageConfig | None = None) -> tuple[Loss, dict[str, Parameter]]:
        """Return the loss of a stage, or of the training for None, with its own parameters."""
        name, given = fits.stage_loss(self, stage)
        row = fits.loss_row(self, name)
        if row is None:
            load_own(name, self.source_sha256)  # raises, as above
        assert row is not None
        return row, bind("loss_params", f"the loss {name}", row.own_params, given)

    def lower_is_better(self) -> bool:
        """Return True if lower values of `train.watch` are better."""
        return fits.lower_is_better(self)

    def _check_predictions(self) -> None:
        images = self.images
        if images.fit == "centre_crop":
            assert images.load_size is not None
            if any(side > most for side, most in zip(self.predict_size, images.load_size, strict=True)):
                raise ConfigError(
                    f"`predict.image_size` must be at most `images.load_size` {images.load_size} with `images.fit` "
                    f"centre_crop, got {self.predict_size}"
                )
        elif any(VIEWS[view].crop is not None for view in self.predict.views):
            raise ConfigError(
                "`predict.views` with crops needs `images.fit` centre_crop and `images.load_size` above `image_size`"
            )

    def _check_watch(self) -> None:
        rows = [fits.loss_row(self, name) for name in fits.loss_names(self)]
        if self.train.watch == "loss" and any(row is not None and row.takes == "embeddings" for row in rows):
            raise ConfigError(
                "`train.watch` must be score with triplets or pairs, whose loss depends on the whole batch"
            )
        if self.train.watch not in self.validation_scores:
            raise ConfigError(
                f"`train.watch` must be {' or '.join(self.validation_scores)} with a {self.table.task} table, got "
                f"{self.train.watch}"
            )

    def _check_average(self) -> None:
        count, last = self.train.average_last, self.stages[-1]
        if 1 < last.num_cycles < count:
            raise ConfigError(
                f"`train.average_last` must be at most {last.num_cycles}, the cycles of the last stage, got {count}"
            )
        if count and last.early_stop is not None:
            raise ConfigError(
                f"`stages.{len(self.stages) - 1}.early_stop` must be none with `train.average_last`: weights are added "
                "to the mean as they come, and the last ones must be known before"
            )

    def _check_ranking(self) -> None:
        ranks, embeds, ranking = self.rule.kind == "rank", self.model.embeds, self.ranking
        if self.table.unknown_label is not None and not ranks:
            raise ConfigError("`table.unknown_label` needs `rule.kind` rank, the only rule that can answer it")
        if ranks and ranking.by == "neighbours" and not embeds:
            raise ConfigError("`ranking.by` neighbours needs a `model.head` embedding; use probs for a classifier")
        if embeds and self.model.centres == 0 and not (ranks and ranking.by == "neighbours"):
            raise ConfigError(
                "`model.centres` 0 gives no probabilities: it needs `rule.kind` rank and `ranking.by` neighbours"
            )
        if ranks and ranking.answers == "images" and ranking.by != "neighbours":
            raise ConfigError("`ranking.answers` images needs `ranking.by` neighbours")
        if ranks and ranking.answers == "images" and ranking.rerank:
            raise ConfigError(f"`ranking.rerank` must be 0 with `ranking.answers` images, got {ranking.rerank}")
        if ranks and ranking.scored == "train" and self.table.unknown_label is None:
            raise ConfigError("`ranking.scored` train needs `table.unknown_label`, the answer for all other identities")
        if ranks and self.table.answer_columns and len(self.table.answer_columns) != ranking.num_answers:
            raise ConfigError(
                f"`table.answer_columns` must name one column an answer, got {len(self.table.answer_columns)} for "
                f"`ranking.num_answers` {ranking.num_answers}"
            )

    def _check_stage(self, position: int) -> None:
        stage, groups = self.stages[position], self.model.layer_groups
        if len(stage.lr) not in ((1, groups + 1) if groups else (1,)):
            more = f", or {groups + 1} (one a layer group, then the head)" if groups else " with model.layer_groups 0"
            raise ConfigError(f"`stages.{position}.lr` must hold 1 value{more}, got {len(stage.lr)}")
        if groups and stage.frozen_groups > groups:  # the number of blocks is known when the network is made
            raise ConfigError(
                f"`stages.{position}.frozen_groups` must be at most model.layer_groups "
                f"({groups}), got {stage.frozen_groups}"
            )
        before = self.stages[position - 1] if position else None
        same = ("optimizer", "lookahead", "frozen_groups", "freeze_batchnorm")
        if stage.keep_optimizer and (
            before is None or any(getattr(before, name) != getattr(stage, name) for name in same)
        ):
            raise ConfigError(
                f"`stages.{position}.keep_optimizer` needs a stage before it with the same "
                f"{', '.join(f'`{name}`' for name in same)}: set it to false"
            )
        if stage.sampler == "identities" and (not self.task.exclusive or self.task.numbered):
            raise ConfigError(
                f"`stages.{position}.sampler` identities needs a multiclass table, with one identity an image"
            )
        if stage.mix_classes != "any" and (not self.task.exclusive or self.task.numbered or self.train.teacher):
            raise ConfigError(
                f"`stages.{position}.mix_classes` {stage.mix_classes} needs one class an image: a multiclass or "
                "ordinal table without a `train.teacher`"
            )


def to_json(recipe: Recipe) -> str:
    """Return the recipe as indented JSON, which `from_json` reads back to an equal recipe."""
    return json.dumps(dataclasses.asdict(recipe), indent=2) + "\n"


def from_json(text: str, *, where: str = "recipe.json") -> Recipe:
    """Read a recipe that `to_json` wrote, by this version or an earlier one.

    Args:
        where: the file, for messages.

    Raises:
        ConfigError: it is not JSON, or a field is unknown, of the wrong type or out of range; the message names the
            field and, for an unknown one, the nearest valid name.
    """
    from pydantic import ValidationError

    try:
        return _reader().validate_json(_of_today(text))
    except ValidationError as error:
        first = error.errors()[0]
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    place = first["loc"]
    if place and place[-1] in PLAIN:  # a parameter may have four types: pydantic adds the one that it tried first
        place, first["msg"] = place[:-1], "Input should be true or false, a number or text"
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
    """Return pydantic's reader of recipes. Making one takes longer than a hundred readings, so it is made once."""
    from pydantic import TypeAdapter

    return TypeAdapter(Recipe)


def read_recipe(path: Path) -> Recipe:
    """Read a saved recipe; raise `MissingFileError` with the command that writes it if there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(
            f"{path} is missing: give a RECIPE, or run `imettk prepare` first, which saves it"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text ({error}): is it a recipe.json of imettk?") from None
    return from_json(text, where=str(path))
