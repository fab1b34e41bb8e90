"""The one description of an experiment: frozen dataclasses, JSON in and out, a fingerprint of what changes the weights.

A recipe is read from JSON with every name and type checked; each section checks its own ranges when it is made.
Sections that change the trained weights are listed in `WEIGHT_SECTIONS`; two recipes that agree there can share
checkpoints.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from imettk.errors import ConfigError, MissingFileError
from imettk.fields import leaves, unknown_field
from imettk.plans import (
    CachePlan,
    ExtraTable,
    FoldPlan,
    ImageFormat,
    ModelPlan,
    PredictPlan,
    RulePlan,
    Section,
    TableFormat,
)
from imettk.train_plans import SessionPlan, StagePlan, TrainPlan

__all__ = [
    "CachePlan",
    "ExtraTable",
    "FoldPlan",
    "ImageFormat",
    "ModelPlan",
    "PredictPlan",
    "Recipe",
    "RulePlan",
    "SessionPlan",
    "StagePlan",
    "TableFormat",
    "TrainPlan",
    "differences",
    "fingerprint",
    "from_json",
    "read_recipe",
    "to_json",
]


@dataclass(frozen=True, kw_only=True)
class Recipe(Section):
    """One experiment, complete. `source_sha256` is the hash of a user's own `.py` recipe, else empty."""

    name: str = "unnamed"
    source_sha256: str = ""
    table: TableFormat = field(default_factory=TableFormat)
    folds: FoldPlan = field(default_factory=FoldPlan)
    images: ImageFormat = field(default_factory=ImageFormat)
    cache: CachePlan = field(default_factory=CachePlan)
    model: ModelPlan = field(default_factory=ModelPlan)
    train: TrainPlan = field(default_factory=TrainPlan)
    stages: tuple[StagePlan, ...] = (StagePlan(),)
    predict: PredictPlan = field(default_factory=PredictPlan)
    rule: RulePlan = field(default_factory=RulePlan)
    session: SessionPlan = field(default_factory=SessionPlan)

    def __post_init__(self) -> None:
        self._require(len(self.stages) >= 1, "stages", "at least one stage")
        for position in range(len(self.stages)):
            self._check_stage(position)
        files = self.table.channel_files
        if files and len(files) != self.images.channels:
            raise ConfigError(
                f"`table.channel_files` must name one file a channel, got {len(files)} files for "
                f"{self.images.channels} channels"
            )
        if any(view.startswith("crop") for view in self.predict.views) and self.images.fit != "centre_crop":
            raise ConfigError(
                "`predict.views` with crops need `images.fit` centre_crop and a larger `images.load_size`"
            )
        multiclass = self.table.task == "multiclass"
        losses = {stage.loss or self.train.loss for stage in self.stages} | {self.train.loss}
        if (self.rule.kind == "argmax") != multiclass or (
            losses != {"cross_entropy"} if multiclass else "cross_entropy" in losses
        ):
            raise ConfigError(
                f"a {self.table.task} table needs "
                + (
                    "`train.loss` cross_entropy and `rule.kind` argmax"
                    if multiclass
                    else "a `train.loss` and `rule.kind` for several labels a row, such as bce and threshold"
                )
                + f", got {', '.join(sorted(losses))} and {self.rule.kind}"
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
        if stage.sampler == "identities" and self.table.task == "multilabel":
            raise ConfigError(f"`stages.{position}.sampler` identities needs a multiclass table: one identity an image")


# Environment: when a session began, as `time.monotonic()` of the machine it runs on, which no change of the clock
# moves; a kernel sets it, and `imettk train` for its processes.
SESSION_START = "IMETTK_SESSION_START"
# Environment: into how many pieces micro-batches are cut; set where several processes start again for want of memory.
SPLIT = "IMETTK_SPLIT"
MEMORY_SHORT_CODE = 75  # exit code of a process that asks for that
PREPARE_SECTIONS = ("table", "folds")
WEIGHT_SECTIONS = (*PREPARE_SECTIONS, "images", "model", "train", "stages", "source_sha256")


def fingerprint(recipe: Recipe, sections: tuple[str, ...] = WEIGHT_SECTIONS) -> str:
    """16 hex digits that change when, and only when, something in `sections` changes."""
    content = json.loads(to_json(_normal(recipe)))
    chosen = json.dumps({name: content[name] for name in sections}, sort_keys=True)
    return hashlib.sha256(chosen.encode()).hexdigest()[:16]


def differences(old: Recipe, new: Recipe, sections: tuple[str, ...] = WEIGHT_SECTIONS) -> list[str]:
    """One line for each field of `sections` that differs: its name, old and new value."""
    before, after = (dict(leaves(_normal(recipe))) for recipe in (old, new))
    names = [name for name in {**before, **after} if name.split(".")[0] in sections]
    absent = "(absent)"
    return [
        f"{name}: {before.get(name, absent)!r} -> {after.get(name, absent)!r}"
        for name in names
        if before.get(name, absent) != after.get(name, absent)
    ]


def to_json(recipe: Recipe) -> str:
    """The recipe as indented JSON that `from_json` reads back to an equal recipe."""
    return json.dumps(dataclasses.asdict(recipe), indent=2) + "\n"


def from_json(text: str, *, where: str = "recipe.json") -> Recipe:
    """Read what `to_json` wrote.

    Raises:
        ConfigError: not JSON, or a field is unknown, of the wrong type or out of range; the message names the field
            and, for an unknown one, the nearest valid name.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Recipe).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "unexpected_keyword_argument":
        raise ConfigError(f"{where}: {unknown_field(name, Recipe())}")
    raise ConfigError(f"{where}: {name + ': ' if name else ''}{first['msg']}, got {str(first['input'])[:80]!r}")


def read_recipe(path: Path) -> Recipe:
    """Read a saved recipe; `MissingFileError` names the stage that writes it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(
            f"{path} is missing: give a RECIPE, or run `imettk prepare` first, which writes it"
        ) from None
    return from_json(text, where=str(path))


def _normal(recipe: Recipe) -> Recipe:
    """The recipe as JSON would give it back: a float field that a `.py` recipe sets to 14 holds 14.0."""
    return from_json(to_json(recipe), where=recipe.name)
