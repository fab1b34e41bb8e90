"""A user's own, tried once when a recipe is made: it can be called as it will be, and gives what it should.

Nothing heavy is imported for recipes without a user's own.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from imettk.config.choices import load
from imettk.config.fields import leaves
from imettk.config.fits import answers_one_column
from imettk.config.own import describe, file_of, find_own, is_own
from imettk.config.recipe import Recipe
from imettk.errors import ConfigError

NUM_ROWS, NUM_LABELS = 4, 3  # that losses, metrics and rules are tried on
FEATURES = (8, 16)  # channels of the maps that heads are tried on
DRAWS = 4  # of an augmentation
Wrong = str | None  # what a user's own should do, and what it does


def own_names(recipe: Recipe) -> list[tuple[str, str]]:
    """Return every user's own that a recipe names: (field, name)."""
    return [
        (field, value)
        for field, value in leaves(recipe)
        if re.sub(r"\.\d+", "", field) in CHECKS and isinstance(value, str) and is_own(value)
    ]


def tell_own(recipe: Recipe) -> str:
    """Return all of a user's own in one line, as in `loss recipe:tversky (mine.py)`; empty without any."""
    kinds = {"rule.kind": "rule", "images.reader": "image reader"}
    parts = [
        f"{kinds.get(field, field.split('.')[-1])} {name} ({os.path.basename(file_of(name, recipe.source_sha256))})"
        for field, name in own_names(recipe)
    ]
    return ", ".join(dict.fromkeys(parts))


def check_own(recipe: Recipe) -> None:
    """Raise `ConfigError` where a user's own cannot be called as it will be, raises, or gives something else.

    What stands in a recipe's file that has not been run is passed over.
    """
    for field, name in own_names(recipe):
        found = find_own(name, recipe.source_sha256)
        if found is None:
            continue
        try:
            wrong = CHECKS[re.sub(r"\.\d+", "", field)](recipe, found, field)
        except Exception as error:
            wrong = describe(error) or f"{type(error).__name__}: {' '.join(str(error).split())}"
        if wrong:
            raise ConfigError(f"`{field}` {name}: {wrong}")


def _misfit(function: Any, arguments: str, params: Mapping[str, Any] | None = None) -> Wrong:
    """Return what is wrong with a function that is called with these arguments, as in `size, channels`.

    Args:
        params: given to it by name beside them.
    """
    if not callable(function):
        return f"must be a function ({arguments}), got {type(function).__name__}"
    try:
        inspect.signature(function).bind(*arguments.split(", "), **(params or {}))
    except TypeError:
        return f"must take ({arguments}), got {getattr(function, '__name__', function)}{inspect.signature(function)}"
    except ValueError:  # one of C, which does not say
        return None
    return None


def _shape(given: Any) -> str:
    """Return type and shape of what was given, in words."""
    shape = getattr(given, "shape", None)
    return type(given).__name__ if shape is None else f"{given.dtype} {tuple(shape)}".removeprefix("torch.")


def _try_augmentation(recipe: Recipe, found: Any, field: str) -> Wrong:
    if wrong := _misfit(found, "size, channels"):
        return wrong
    import albumentations as A
    import numpy as np
    from albumentations.core.composition import BaseCompose, BasicTransform

    images = recipe.images
    transforms = found(images.image_size, images.channels)
    if not isinstance(transforms, list | tuple):
        return f"must return a list of albumentations transforms, got {type(transforms).__name__}"
    for transform in transforms:
        if not isinstance(transform, BasicTransform | BaseCompose):
            return f"must return a list of albumentations transforms, which holds {type(transform).__name__}"
    compose = A.Compose(list(transforms))
    pixels = np.zeros((*(images.load_size or images.image_size), images.channels), np.uint8)
    for _ in range(DRAWS):
        image = compose(image=pixels)["image"]
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != pixels.shape[2:]:
            return f"must make uint8 (H, W, {images.channels}) of such an image, got {_shape(image)}"
    return None


def _try_loss(recipe: Recipe, found: Any, field: str) -> Wrong:
    import torch

    row, params = recipe.loss_row(None if field.startswith("train.") else recipe.stages[int(field.split(".")[1])])
    if row.settings is not None:
        params = load(row.settings)(recipe.embedding, None) | params
    function, takes_embeddings = row.load(), row.takes == "embeddings"
    if wrong := _misfit(function, "embeddings, targets" if takes_embeddings else "logits, targets", params):
        return wrong
    task = recipe.task
    width = FEATURES[0] if takes_embeddings else task.num_outputs(NUM_LABELS)
    plain = torch.from_numpy(_targets(recipe, NUM_ROWS))
    mixes = any(stage.mixup or stage.cutmix or stage.label_smoothing for stage in recipe.stages)
    for targets in (plain, *((task.soften(plain, width),) if mixes or recipe.train.teacher else ())):
        logits = torch.linspace(-2, 2, NUM_ROWS * width).view(NUM_ROWS, width).requires_grad_()
        losses = function(torch.nn.functional.normalize(logits) if takes_embeddings else logits, targets, **params)
        if not torch.is_tensor(losses) or losses.shape != (NUM_ROWS,) or not losses.is_floating_point():
            return f"must return the loss of each sample, float ({NUM_ROWS},), got {_shape(losses)}"
        if not losses.isfinite().all():
            return f"must be finite for logits from -2 to 2, got {losses.tolist()}"
        if not losses.requires_grad:
            return "gives no gradient: does it detach, or compute outside of torch?"
    return None


def _try_head(recipe: Recipe, found: Any, field: str) -> Wrong:
    if wrong := _misfit(found, "num_features, num_outputs"):
        return wrong
    import torch

    features, outputs = list(FEATURES[-recipe.model.last_levels :]), recipe.task.num_outputs(NUM_LABELS)
    maps = [torch.zeros(2, count, 4, 4) for count in features]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        head = found(features, outputs)
        if not isinstance(head, torch.nn.Module):
            return f"must return a torch module, got {type(head).__name__}"
        given = head.eval()(maps)
    logits = getattr(given, "logits", given)
    if not torch.is_tensor(logits) or logits.shape != (2, outputs):
        return f"must turn a list of maps {tuple(maps[-1].shape)} into logits (2, {outputs}), got {_shape(logits)}"
    return None


def _try_backbone(recipe: Recipe, found: Any, field: str) -> Wrong:
    if wrong := _misfit(found, "channels"):
        return wrong
    import torch

    images, least = recipe.images, recipe.model.last_levels
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        backbone = found(images.channels)
        if not isinstance(backbone, torch.nn.Module):
            return f"must return a torch module, got {type(backbone).__name__}"
        given = backbone.eval()(torch.zeros(1, images.channels, *images.image_size))
    maps = list(given) if isinstance(given, list | tuple) else [given]
    wrong = next((each for each in maps if not torch.is_tensor(each) or each.ndim != 4 or each.shape[0] != 1), None)
    if wrong is not None:
        return f"must turn an image (1, {images.channels}, H, W) into maps (1, F, h, w), got {_shape(wrong)}"
    if len(maps) < least:
        return f"must give a list of {least} maps or more for `model.last_levels` {least}, got {len(maps)}"
    return None


def _try_reader(recipe: Recipe, found: Any, field: str) -> Wrong:
    return _misfit(found, "path")  # what it gives for a file is looked at with each file


def _try_metric(recipe: Recipe, found: Any, field: str) -> Wrong:
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
    if wrong := _misfit(function, f"{scorer.needs}, targets", scorer.params):
        return wrong
    given = function(needs.get(scorer.needs, probs), targets, **scorer.params)
    if not isinstance(given, float | int | np.floating | np.integer) or not math.isfinite(given):
        return f"must return a finite number, got {_shape(given) if hasattr(given, 'shape') else repr(given)}"
    return None


def _try_rule(recipe: Recipe, found: Any, field: str) -> Wrong:
    import numpy as np

    made, rows = recipe.rule_row.load(), 4 * NUM_ROWS
    targets, probs = _targets(recipe, rows), _probs(recipe, rows)
    context = SimpleNamespace(plan=recipe.fitted_rule, label_groups=("all",) * NUM_LABELS, given_shares=None)
    if not isinstance(made, type) or not hasattr(made, "fit"):
        return f"must be a class with `fit`, as of postprocess.rule.Rule, got {type(made).__name__}"
    fitted = made(context).fit(probs, targets) if hasattr(made, "rule") else made.fit(probs, targets, context)
    answers = fitted.apply(probs)
    if not isinstance(answers, np.ndarray) or answers.shape != targets.shape:
        return f"apply() must give answers like targets, {targets.shape}, got {_shape(answers)}"
    again = type(fitted).from_json(json.loads(json.dumps(fitted.to_json())))
    if not np.array_equal(again.apply(probs), answers):
        return "answers differ after to_json() and from_json(): does its JSON hold all of it?"
    return None


def _targets(recipe: Recipe, num_rows: int) -> Any:
    """Return targets of so many rows, as the task makes them."""
    labels = [str(number) for number in range(NUM_LABELS)]
    cells = [[labels[row % NUM_LABELS]] for row in range(num_rows)]
    if recipe.task.votes:
        cells = [[str(1 + (row + label) % NUM_LABELS) for label in range(NUM_LABELS)] for row in range(num_rows)]
    return recipe.task.make_targets(cells, {label: number for number, label in enumerate(labels)}, NUM_LABELS)


def _probs(recipe: Recipe, num_rows: int) -> Any:
    """Return probabilities of so many rows, float32 (N, O)."""
    import numpy as np

    values = np.random.default_rng(0).random((num_rows, recipe.task.num_outputs(NUM_LABELS)), np.float32)
    return values / values.sum(1, keepdims=True) if recipe.task.exclusive else values


# By the field that names it, without the number of a stage.
CHECKS: dict[str, Callable[[Recipe, Any, str], Wrong]] = {
    "train.loss": _try_loss,
    "stages.loss": _try_loss,
    "stages.augmentation": _try_augmentation,
    "model.head": _try_head,
    "model.backbone": _try_backbone,
    "images.reader": _try_reader,
    "score.metric": _try_metric,
    "rule.kind": _try_rule,
}
