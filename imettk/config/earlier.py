"""Names that fields of a recipe had in earlier versions: read with a note, and hashed as they were."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from imettk.errors import ConfigError

EMBEDDING = "metric"  # the first name of the section `embedding`
# Classes of sections that were called `...Plan`, and MetricPlan, which is EmbeddingConfig.
SECTIONS = ("Cache", "Embedding", "Fold", "Model", "Predict", "Rank", "Rule", "Score", "Session", "Stage", "Train")
# Fields of `train` that are parameters of the loss focal now, and what they were by default.
FOCAL = {"focal_gamma": "gamma", "focal_alpha": "alpha", "focal_constant": "constant_weight"}
DEFAULTS = {"focal_gamma": 2.0, "focal_alpha": 0.25, "focal_constant": False}
# What `images.mean` and `images.std` were by default, before they followed the weights.
IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
Class = TypeVar("Class")


@functools.cache  # so that it is said once
def _note(text: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # of several processes the first
        from imettk.progress import say  # here, for a kernel imports the package before there are libraries

        say(f"note: {text}")


def renamed_class(name: str) -> str | None:
    """Return what a section's class of an earlier version is called today, None for any other name."""
    section = "Embedding" if name == "MetricPlan" else name.removesuffix("Plan")
    if section == name or section not in SECTIONS:
        return None
    if name != "MetricPlan":  # the section's own note says it
        _note("the sections of a recipe are now FoldConfig, ModelConfig, ...; FoldPlan, ModelPlan, ... are still read")
    return f"{section}Config"


def _note_embedding() -> None:
    _note("the section `metric` of a recipe is now `embedding`, and MetricPlan EmbeddingConfig")


def _note_focal(names: Iterable[str], places: Iterable[str] = ("train",)) -> None:
    if old := list(names):
        where = " and ".join(f"`{place}.loss_params`" for place in places)
        _note(f"{_listed(old)} {'are' if old[1:] else 'is'} now {where} {', '.join(FOCAL[name] for name in old)}")


def _listed(old: Iterable[str]) -> str:
    return ", ".join(f"`train.{name}`" for name in old)


def takes_metric(recipe: type[Class]) -> type[Class]:
    """Let the class Recipe be made with `metric`, and be asked for it."""

    def rename(given: dict[str, Any]) -> None:
        if EMBEDDING in given:
            _note_embedding()
            given["embedding"] = given.pop(EMBEDDING)

    def metric(self: Any) -> Any:
        _note_embedding()
        return self.embedding

    recipe.metric = property(metric)  # type: ignore[attr-defined]  # no field, so that `replace` does not pass it on
    return _made_from(recipe, rename)


def takes_focal(plan: type[Class]) -> type[Class]:
    """Let the class TrainConfig be made with the parameters of the loss focal."""

    def move(given: dict[str, Any]) -> None:
        old = {name: given.pop(name) for name in FOCAL if name in given}
        loss = given.get("loss", "bce")
        if loss == "focal":
            _note_focal(old)
            given["loss_params"] = given.get("loss_params", {}) | {FOCAL[name]: value for name, value in old.items()}
        elif said := _beyond(old):
            raise ConfigError(
                f"`{next(iter(said))}` of TrainConfig is a parameter of the loss focal, and `loss` is {loss}: leave it "
                "out, or write it in `loss_params` of the stage whose `loss` is focal"
            )

    return _made_from(plan, move)


def _made_from(section: type[Class], translate: Callable[[dict[str, Any]], None]) -> type[Class]:
    """Let a class translate the keywords that it is made with."""
    make: Callable[..., None] = section.__init__

    @functools.wraps(make)
    def __init__(self: Any, **given: Any) -> None:
        translate(given)
        make(self, **given)

    section.__init__ = __init__  # type: ignore[method-assign]
    return section


def _beyond(old: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in old.items() if value != DEFAULTS[name]}


def read(content: Any, embedding: Mapping[str, Any]) -> Any:
    """Return what a recipe.json holds, under the names of today.

    Args:
        content: as JSON has it; changed in place. What is not as it should be is left for the reader to refuse.
        embedding: the section's defaults: a note is only for what somebody has set.
    """
    if not isinstance(content, dict):
        return content
    if isinstance(old := content.get(EMBEDDING), dict):
        if "embedding" in content:
            raise ConfigError("holds both `embedding` and `metric`, its earlier name: remove one of them")
        if any(value != embedding.get(name) for name, value in old.items()):
            _note_embedding()
        content["embedding"] = content.pop(EMBEDDING)
    train, stages = content.get("train"), content.get("stages")
    if isinstance(train, dict):
        _read_focal(train, [stage for stage in (stages if isinstance(stages, list) else []) if isinstance(stage, dict)])
    return content


def _read_focal(train: dict[str, Any], stages: list[dict[str, Any]]) -> None:
    """Move the parameters to where the loss is focal: the training's, else that of stages."""
    old = _beyond({name: train.pop(name) for name in FOCAL if name in train})
    if train.get("loss") == "focal":
        places = {"train": train}
    else:
        places = {f"stages.{number}": stage for number, stage in enumerate(stages) if stage.get("loss") == "focal"}
    if old and not places:
        _note(f"{_listed(old)} left out, as no loss of this recipe is focal; a training begun with it cannot go on")
    elif old:
        _note_focal(old, places)
        for place in places.values():
            if isinstance(given := place.setdefault("loss_params", {}), dict):
                place["loss_params"] = {FOCAL[name]: value for name, value in old.items()} | given


def renamed(flag: str) -> str:
    """Return an option such as `--metric.margin` under its name of today."""
    if not flag.startswith(f"--{EMBEDDING}."):
        return flag
    _note_embedding()
    return f"--embedding.{flag.partition('.')[2]}"


def joined(options: list[tuple[str, list[str]]], params: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return options with those such as `--train.focal-gamma 1` as one, `--train.loss-params`.

    Args:
        options: (flag, values).
        params: what the recipe says there, which stays beside them.
    """
    kept, words = [], [str(word) for pair in params.items() for word in pair]
    old: dict[str, str] = {}
    for flag, values in options:
        section, _, name = flag[2:].replace("-", "_").rpartition(".")
        if section == "train" and name in FOCAL:
            old[name] = " ".join(values) or "True"
        elif (section, name) == ("train", "loss_params"):
            words = values
        else:
            kept.append((flag, values))
    if not old:
        return options
    _note_focal(old)
    return [*kept, ("--train.loss-params", [*words, *(word for name in old for word in (FOCAL[name], old[name]))])]


def hashed_as_before(chosen: dict[str, Any], losses: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return what a fingerprint is made of, under the names that fields had first.

    Args:
        chosen: sections without what is at its default; changed in place.
        losses: name, and parameters that are not at their default, of the loss of the training and of each stage.
    """
    if "embedding" in chosen:
        chosen[EMBEDDING] = chosen.pop("embedding")
    if "train" not in chosen or "stages" not in chosen:
        return chosen
    train = chosen["train"]
    known: dict[str, dict[str, Any]] = {}  # parameters by loss, which need not be said again
    for section, (name, params) in zip([train, *chosen["stages"]], losses, strict=True):
        section.pop("loss_params", None)
        if name == "focal" and name not in known:
            train |= {old: params[new] for old, new in FOCAL.items() if new in params}
            if later := {key: value for key, value in params.items() if key not in FOCAL.values()}:
                section["loss_params"] = later
        elif params != known.get(name, {}):
            section["loss_params"] = params
        known.setdefault(name, params)
    return chosen
