"""Try a user's own code once when a recipe is made: its signature fits, and a tiny call returns the right thing.

A mistake is found in seconds, not an hour later in a kernel. Recipes without such code import nothing heavy.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, TypeAlias

from imettk.config.choices import load
from imettk.config.fields import leaves
from imettk.config.fits import answers_one_column
from imettk.config.own import describe, file_of, find_own, is_own
from imettk.config.recipe import Recipe
from imettk.config.transform_checks import check_transforms
from imettk.errors import ConfigError

NUM_ROWS, NUM_LABELS = 4, 3  # to try losses, metrics and rules on
FEATURES = 8  # to try losses and heads on
DRAWS = 4  # calls of an augmentation, which is random
Fault: TypeAlias = str | None  # the message for a user's own code that does not do what it must


def own_names(recipe: Recipe) -> list[tuple[str, str]]:
    """Return (field, name) for all of a user's own code that a recipe names."""
    return [
        (field, value)
        for field, value in leaves(recipe)
        if re.sub(r"\.\d+", "", field) in CHECKS and isinstance(value, str) and is_own(value)
    ]


def describe_own(recipe: Recipe) -> str:
    """Describe all of a user's own code in one line, as in `loss recipe:tversky (mine.py)`; "" without any."""
    kinds = {"rule.kind": "rule", "images.reader": "image reader"}
    parts = [
        f"{kinds.get(field, field.split('.')[-1])} {name} ({os.path.basename(file_of(name, recipe.source_sha256))})"
        for field, name in own_names(recipe)
    ]
    return ", ".join(dict.fromkeys(parts))


def check_own(recipe: Recipe) -> None:
    """Raise `ConfigError` if a user's own code has the wrong signature, raises, or returns the wrong thing.

    Transforms that are given as text are tried too. Code in a recipe's file that has not been run is not checked.
    """
    check_transforms(recipe)
    for field, name in own_names(recipe):
        made = find_own(name, recipe.source_sha256)
        if made is None:
            continue
        try:
            fault = CHECKS[re.sub(r"\.\d+", "", field)](recipe, made, field)
        except Exception as error:
            fault = describe(error) or f"{type(error).__name__}: {' '.join(str(error).split())}"
        if fault:
            raise ConfigError(f"`{field}` {name}: {fault}")


def _misfit(function: Any, arguments: str, params: Mapping[str, Any] | None = None) -> Fault:
    """Return a message if a function cannot be called with these arguments, such as `size, channels`.

    Args:
        params: keyword arguments beside them.
    """
    if not callable(function):
        return f"must be a function ({arguments}), got {type(function).__name__}"
    try:
        inspect.signature(function).bind(*arguments.split(", "), **(params or {}))
    except TypeError:
        return f"must take ({arguments}), got {getattr(function, '__name__', function)}{inspect.signature(function)}"
    except ValueError:  # functions written in C may have no signature to inspect
        return None
    return None


def _shape(value: Any) -> str:
    """Return the dtype and shape of an array or tensor, or the type of anything else, in words."""
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{value.dtype} {tuple(shape)}".removeprefix("torch.")


def _try_augmentation(recipe: Recipe, made: Any, field: str) -> Fault:
    if fault := _misfit(made, "size, channels"):
        return fault
    import albumentations as A
    import numpy as np
    from albumentations.core.composition import BaseCompose, BasicTransform

    images = recipe.images
    transforms = made(images.image_size, images.channels)
    if not isinstance(transforms, list | tuple):
        return f"must return a list of albumentations transforms, got {type(transforms).__name__}"
    for transform in transforms:
        if not isinstance(transform, BasicTransform | BaseCompose):
            return f"must return a list of albumentations transforms, got one with {type(transform).__name__}"
    compose = A.Compose(list(transforms))
    pixels = np.zeros((*(images.load_size or images.image_size), images.channels), np.uint8)
    for _ in range(DRAWS):
        image = compose(image=pixels)["image"]
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != pixels.shape[2:]:
            return f"must return images of uint8 (H, W, {images.channels}), got {_shape(image)}"
    return None


def _try_loss(recipe: Recipe, made: Any, field: str) -> Fault:
    import torch

    row, params = recipe.loss_row(None if field.startswith("train.") else recipe.stages[int(field.split(".")[1])])
    if row.settings is not None:
        params = load(row.settings)(recipe.embedding, None) | params
    function, takes_embeddings = row.load(), row.takes == "embeddings"
    if fault := _misfit(function, "embeddings, targets" if takes_embeddings else "logits, targets", params):
        return fault
    task = recipe.task
    width = FEATURES if takes_embeddings else task.num_outputs(NUM_LABELS)
    plain = torch.from_numpy(_targets(recipe, NUM_ROWS))
    mixes = any(stage.mixes or stage.label_smoothing for stage in recipe.stages)
    for targets in (plain, *((task.soften(plain, width),) if mixes or recipe.train.teacher else ())):
        logits = torch.linspace(-2, 2, NUM_ROWS * width).view(NUM_ROWS, width).requires_grad_()
        losses = function(torch.nn.functional.normalize(logits) if takes_embeddings else logits, targets, **params)
        if not torch.is_tensor(losses) or losses.shape != (NUM_ROWS,) or not losses.is_floating_point():
            return f"must return the loss of each sample, float ({NUM_ROWS},), got {_shape(losses)}"
        if not losses.isfinite().all():
            return f"must be finite for logits from -2 to 2, got {losses.tolist()}"
        if not losses.requires_grad:
            return "must have a gradient: does it detach, or compute outside torch?"
    return None


def _try_head(recipe: Recipe, made: Any, field: str) -> Fault:
    if fault := _misfit(made, "num_features, num_outputs"):
        return fault
    import torch

    num_maps = len(recipe.model.levels) or recipe.model.last_levels
    features, num_outputs = [FEATURES * (place + 2) for place in range(num_maps)], recipe.task.num_outputs(NUM_LABELS)
    maps = [torch.zeros(2, count, 4, 4) for count in features]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        head = made(features, num_outputs)
        if not isinstance(head, torch.nn.Module):
            return f"must return a torch module, got {type(head).__name__}"
        outputs = head.eval()(maps)
    logits = getattr(outputs, "logits", outputs)
    if not torch.is_tensor(logits) or logits.shape != (2, num_outputs):
        return f"must turn a list of maps {tuple(maps[-1].shape)} into logits (2, {num_outputs}), got {_shape(logits)}"
    return None


def _try_backbone(recipe: Recipe, made: Any, field: str) -> Fault:
    if fault := _misfit(made, "channels"):
        return fault
    import torch

    images, levels = recipe.images, recipe.model.levels
    least = levels[-1] + 1 if levels else recipe.model.last_levels
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        backbone = made(images.channels)
        if not isinstance(backbone, torch.nn.Module):
            return f"must return a torch module, got {type(backbone).__name__}"
        features = backbone.eval()(torch.zeros(1, images.channels, *images.image_size))
    maps = list(features) if isinstance(features, list | tuple) else [features]
    for level in maps:
        if not torch.is_tensor(level) or level.ndim != 4 or level.shape[0] != 1:
            return f"must turn an image (1, {images.channels}, H, W) into maps (1, F, h, w), got {_shape(level)}"
    if len(maps) < least:
        wanted = f"`model.levels` {levels[-1]}" if levels else f"`model.last_levels` {least}"
        return f"must return a list of {least} maps or more for {wanted}, got {len(maps)}"
    return None


def _try_reader(recipe: Recipe, made: Any, field: str) -> Fault:
    return _misfit(made, "path")  # there is no file to try it on; `data.reader` checks what it returns for each file


def _try_metric(recipe: Recipe, made: Any, field: str) -> Fault:
    import numpy as np

    scorer = recipe.scorer
    score, targets, probs = scorer.metric.score, _targets(recipe, NUM_ROWS), _probs(recipe, NUM_ROWS)
    if answers_one_column(recipe):
        targets, probs = recipe.task.label_matrix(targets, NUM_LABELS)[:, :1].astype(np.uint8), probs[:, :1]
    function = score[scorer.targets] if isinstance(score, Mapping) else score
    needs = {
        "answers": targets.astype(bool) if targets.ndim == 2 else targets,
        "ranked": np.tile(np.arange(NUM_LABELS), (NUM_ROWS, 1)),
    }
    if fault := _misfit(function, f"{scorer.needs}, targets", scorer.params):
        return fault
    value = function(needs.get(scorer.needs, probs), targets, **scorer.params)
    if not isinstance(value, float | int | np.floating | np.integer) or not math.isfinite(value):
        return f"must return a finite number, got {_shape(value) if hasattr(value, 'shape') else repr(value)}"
    return None


def _try_rule(recipe: Recipe, made: Any, field: str) -> Fault:
    import numpy as np

    rule, rows = recipe.rule_row.load(), 4 * NUM_ROWS
    targets, probs = _targets(recipe, rows), _probs(recipe, rows)
    context = SimpleNamespace(plan=recipe.fitted_rule, label_groups=("all",) * NUM_LABELS, given_shares=None)
    if not isinstance(rule, type) or not hasattr(rule, "fit"):
        return f"must be a class with `fit`, as postprocess.rule.Rule has it, got {type(rule).__name__}"
    # A RuleFitter names the rule that it fits; a user's Rule fits itself.
    fitted = rule(context).fit(probs, targets) if hasattr(rule, "rule") else rule.fit(probs, targets, context)
    answers = fitted.apply(probs)
    if not isinstance(answers, np.ndarray) or answers.shape != targets.shape:
        return f"apply() must return answers in the shape of the targets, {targets.shape}, got {_shape(answers)}"
    again = type(fitted).from_json(json.loads(json.dumps(fitted.to_json())))
    if not np.array_equal(again.apply(probs), answers):
        return "answers differ after to_json() and from_json(): does to_json() leave something out?"
    return None


def _targets(recipe: Recipe, num_rows: int) -> Any:
    """Return targets of `num_rows` rows in the form of the recipe's task."""
    labels = [str(number) for number in range(NUM_LABELS)]
    cells = [[labels[row % NUM_LABELS]] for row in range(num_rows)]
    if recipe.task.votes:
        cells = [[str(1 + (row + label) % NUM_LABELS) for label in range(NUM_LABELS)] for row in range(num_rows)]
    return recipe.task.make_targets(cells, {label: number for number, label in enumerate(labels)}, NUM_LABELS)


def _probs(recipe: Recipe, num_rows: int) -> Any:
    """Return probabilities of `num_rows` rows, float32 (N, O)."""
    import numpy as np

    values = np.random.default_rng(0).random((num_rows, recipe.task.num_outputs(NUM_LABELS)), np.float32)
    return values / values.sum(1, keepdims=True) if recipe.task.exclusive else values


# By the field that names the code, without the number of a stage.
CHECKS: dict[str, Callable[[Recipe, Any, str], Fault]] = {
    "train.loss": _try_loss,
    "stages.loss": _try_loss,
    "stages.augmentation": _try_augmentation,
    "model.head": _try_head,
    "model.backbone": _try_backbone,
    "images.reader": _try_reader,
    "score.metric": _try_metric,
    "rule.kind": _try_rule,
}
