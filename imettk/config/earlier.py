"""Names that sections and fields of a recipe had in earlier versions: still read, with one note each.

A fingerprint is computed over the earlier names, so a training that an earlier version began goes on after a renaming.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from imettk.errors import ConfigError

# Earlier names and today's, by section; "" holds the sections themselves. A new row is all that a renaming needs.
RENAMED: dict[str, dict[str, str]] = {"": {"metric": "embedding"}, "model": {"last_stages": "last_levels"}}
# Sections whose class was called `...Plan`; MetricPlan is EmbeddingConfig.
PLANS = ("Cache", "Embedding", "Fold", "Model", "Predict", "Rank", "Rule", "Score", "Session", "Stage", "Train")
# Fields of `train` that are parameters of the loss focal today, and their defaults.
FOCAL = {"focal_gamma": "gamma", "focal_alpha": "alpha", "focal_constant": "constant_weight"}
DEFAULTS = {"focal_gamma": 2.0, "focal_alpha": 0.25, "focal_constant": False}
# The defaults of `images.mean` and `images.std` before these followed the weights.
IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
Class = TypeVar("Class")


@functools.cache  # once a process: recipes are read many times in a command
def _note(text: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # torchrun sets it in each process: only the first prints
        from imettk.progress import say  # inside: a kernel imports the package before its libraries are installed

        say(f"note: {text}")


def _note_renamed(section: str, old: str) -> None:
    new = RENAMED[section][old]
    if section:
        _note(f"`{section}.{old}` of a recipe is now `{section}.{new}`")
    else:
        _note(f"the section `{old}` of a recipe is now `{new}`, and {old.title()}Plan {new.title()}Config")


def _note_focal(names: Iterable[str], places: Iterable[str] = ("train",)) -> None:
    if old := list(names):
        new = " and ".join(f"`{place}.loss_params`" for place in places)
        _note(f"{_quoted(old)} {'are' if old[1:] else 'is'} now {new} {', '.join(FOCAL[name] for name in old)}")


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`train.{name}`" for name in names)


def renamed_class(name: str) -> str | None:
    """Return today's name of a section's class that an earlier version had, None for any other name."""
    section = "Embedding" if name == "MetricPlan" else name.removesuffix("Plan")
    if section == name or section not in PLANS:
        return None
    if name != "MetricPlan":  # the note of the section `metric` includes its class
        _note("the sections of a recipe are now FoldConfig, ModelConfig, ...; FoldPlan, ModelPlan, ... are still read")
    return f"{section}Config"


def takes_earlier_names(section: str) -> Callable[[type[Class]], type[Class]]:
    """Return a decorator that lets a section's class be made with earlier names, and its objects be read by them."""

    def decorate(made: type[Class]) -> type[Class]:
        def translate(given: dict[str, Any]) -> None:
            for old, new in RENAMED[section].items():
                if old in given:
                    _note_renamed(section, old)
                    given[new] = given.pop(old)  # `replace` passes today's name too, with the value to be replaced

        for old, new in RENAMED[section].items():
            setattr(made, old, _reads(section, old, new))
        return _translated(made, translate)

    return decorate


def _reads(section: str, old: str, new: str) -> property:
    """Return a property that reads a field by its earlier name; a field of that name would be saved and compared."""

    def read_renamed(self: Any) -> Any:
        _note_renamed(section, old)
        return getattr(self, new)

    return property(read_renamed)


def takes_focal(made: type[Class]) -> type[Class]:
    """Let the class TrainConfig be made with the fields that are parameters of the loss focal today."""

    def translate(given: dict[str, Any]) -> None:
        old = {name: given.pop(name) for name in FOCAL if name in given}
        loss = given.get("loss", "bce")
        if loss == "focal":
            _note_focal(old)
            given["loss_params"] = given.get("loss_params", {}) | {FOCAL[name]: value for name, value in old.items()}
        elif changed := _beyond_defaults(old):
            raise ConfigError(
                f"`{next(iter(changed))}` of TrainConfig is a parameter of the loss focal, and `loss` is {loss}: leave "
                "it out, or write it in `loss_params` of the stage whose `loss` is focal"
            )

    return _translated(made, translate)


def _translated(made: type[Class], translate: Callable[[dict[str, Any]], None]) -> type[Class]:
    """Let `translate` change the keyword arguments of a class before each object is made."""
    make: Callable[..., None] = made.__init__

    @functools.wraps(make)
    def __init__(self: Any, **given: Any) -> None:
        translate(given)
        make(self, **given)

    made.__init__ = __init__  # type: ignore[method-assign]
    return made


def _beyond_defaults(old: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in old.items() if value != DEFAULTS[name]}


def read(content: Any, defaults: Mapping[str, Any]) -> Any:
    """Translate the content of a recipe.json to today's names.

    Args:
        content: parsed JSON; changed in place. Anything malformed is left for the reader to refuse.
        defaults: the default recipe as plain values. A recipe.json holds every field, and a note is only for those that
            somebody has changed.

    Raises:
        ConfigError: it holds an earlier name and today's.
    """
    if not isinstance(content, dict):
        return content
    for section, names in RENAMED.items():
        fields = content.get(section) if section else content
        for old in names:
            if isinstance(fields, dict) and old in fields:
                _rename(fields, section, old, defaults[section] if section else defaults)
    train, stages = content.get("train"), content.get("stages")
    if isinstance(train, dict):
        _read_focal(train, [stage for stage in (stages if isinstance(stages, list) else []) if isinstance(stage, dict)])
    return content


def _rename(fields: dict[str, Any], section: str, old: str, defaults: Mapping[str, Any]) -> None:
    """Move a value from its earlier name to today's."""
    new, prefix = RENAMED[section][old], f"{section}." if section else ""
    if new in fields:
        raise ConfigError(f"holds both `{prefix}{new}` and `{prefix}{old}`, its earlier name: remove one of them")
    value, default = fields.pop(old), defaults[new]
    if isinstance(value, dict) and isinstance(default, dict):
        default = {name: default.get(name) for name in value}  # a section may be given in part
    if value != default:
        _note_renamed(section, old)
    fields[new] = value


def _read_focal(train: dict[str, Any], stages: list[dict[str, Any]]) -> None:
    """Move the parameters to the training if its loss is focal, else to each stage whose loss is."""
    old = _beyond_defaults({name: train.pop(name) for name in FOCAL if name in train})
    if train.get("loss") == "focal":
        places = {"train": train}
    else:
        places = {f"stages.{number}": stage for number, stage in enumerate(stages) if stage.get("loss") == "focal"}
    if old and not places:
        verb = "are" if len(old) > 1 else "is"
        _note(
            f"{_quoted(old)} {verb} left out, as no loss of this recipe is focal; a training begun with it cannot go on"
        )
    elif old:
        _note_focal(old, places)
        for place in places.values():
            if isinstance(given := place.setdefault("loss_params", {}), dict):
                place["loss_params"] = {FOCAL[name]: value for name, value in old.items()} | given


def renamed(flag: str) -> str:
    """Return the option `--metric.margin`, or `--model.last-stages`, under today's name; any other as given."""
    section, _, field = flag.removeprefix("--").partition(".")
    if not field:  # no field of a section: whoever reads options refuses it
        return flag
    if section in RENAMED[""]:
        _note_renamed("", section)
        return f"--{RENAMED[''][section]}.{field}"
    field = field.replace("-", "_")
    if field not in RENAMED.get(section, {}):
        return flag
    _note_renamed(section, field)
    return f"--{section}.{RENAMED[section][field].replace('_', '-')}"


def join_focal(options: list[tuple[str, list[str]]], params: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return options with those such as `--train.focal-gamma 1` joined into one `--train.loss-params`.

    Args:
        options: (flag, values).
        params: the recipe's `train.loss_params`, which the options do not remove.
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
    """Return the content of a fingerprint under the names that fields had first.

    Args:
        chosen: sections without the fields that are at their default; changed in place.
        losses: name and non-default parameters of the loss of the training and of each stage.
    """
    for section, names in RENAMED.items():
        fields = chosen.get(section, {}) if section else chosen
        fields |= {old: fields.pop(new) for old, new in names.items() if new in fields}
    if "train" not in chosen or "stages" not in chosen:
        return chosen
    train = chosen["train"]
    hashed: dict[str, dict[str, Any]] = {}  # parameters by loss: a stage's count only where they differ from these
    for section, (name, params) in zip([train, *chosen["stages"]], losses, strict=True):
        section.pop("loss_params", None)
        if name == "focal" and name not in hashed:
            train |= {old: params[new] for old, new in FOCAL.items() if new in params}
            if later := {key: value for key, value in params.items() if key not in FOCAL.values()}:
                section["loss_params"] = later
        elif params != hashed.get(name, {}):
            section["loss_params"] = params
        hashed.setdefault(name, params)
    return chosen
