"""Where a competition of one's own begins: a recipe that fits its data, and what a person should decide in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from imettk.config import (
    FoldConfig,
    ImageFormat,
    PredictConfig,
    RankConfig,
    Recipe,
    ScoreConfig,
    StageConfig,
    TrainConfig,
)
from imettk.data.framing import Aspect
from imettk.errors import ConfigError
from imettk.starter.guess_answers import Guess
from imettk.starter.look import Looks
from imettk.starter.questions import QUESTIONS
from imettk.starter.starting_points import StartingPoint

OBLONG = 1.5  # the typical aspect ratio from which on images are no squares
STRIPS = 0.1  # share of images that are strips, from which on they are cut before they are squeezed
FEW_ROWS = 5_000  # up to which three folds do at first
FEW_STEPS = 3_000  # of a training, below which averaged weights forget faster

Comments = dict[str, tuple[str, ...]]


def start_recipe(guess: Guess, looks: Looks, name: str, point: StartingPoint) -> tuple[Recipe, Comments]:
    """A recipe that begins at this point, and comments by section or field."""
    rows = guess.num_images
    epochs = point.num_epochs(rows)
    stage = StageConfig(
        num_epochs=epochs,
        batch_size=point.batch_size,
        lr=(point.lr,),
        layer_decay=point.layer_decay,
        warmup_epochs=1,
        augmentation=point.augmentation,
    )
    question = guess.question
    decay = 0.99 if rows * epochs < FEW_STEPS * point.batch_size else 0.999
    recipe = Recipe(
        name=name,
        table=guess.table,
        folds=_folds(guess),
        images=_images(looks, guess, point),
        model=replace(
            question.model,
            backbone=f"timm:{point.network}",
            weights="weights" if point.pretrained else None,
            layer_groups=point.layer_groups,
        ),
        embedding=question.embedding,
        train=TrainConfig(loss=question.loss, ema_decay=decay if point.averages else None),
        stages=(stage,),
        predict=PredictConfig(views=("plain", "hflip")),
        rule=guess.judging.rule or question.rule,
        score=ScoreConfig(metric=guess.judging.metric),
        ranking=_ranking(guess, RankConfig()),
    )
    comments: Comments = {
        "stages": (
            "`imettk prepare --show-augmentation` draws what an augmentation does.",
            "Without flips (here, and in the views below) where left and right are not alike, as in text.",
        ),
    }
    if not point.pretrained:
        comments["images"] = ("On a GPU: 224 to 512 pixels a side.",)
        comments["model"] = (
            "Tiny, with random weights, since nothing is downloaded. Pretrained ones gain most: fetch them with",
            "`imettk weights timm:tf_efficientnet_lite0` and run `imettk new` again; for a GPU, with --start strong.",
        )
    return recipe, {**comments, **question.comments, **_table_comments(guess)}


def judge_by(recipe: Recipe, guess: Guess) -> Recipe:
    """The recipe judged by the metric that was guessed or asked for, with answers that it judges."""
    judging = guess.judging
    if judging.metric is None:
        return recipe
    return replace(recipe, score=ScoreConfig(metric=judging.metric), rule=judging.rule or recipe.rule)


def recipe_like(base: Recipe, guess: Guess, looks: Looks, name: str) -> tuple[Recipe, Comments]:
    """A built-in recipe with table, folds, images and rule of this data.

    Raises:
        ConfigError: its rows hold something else.
    """
    question, held = guess.question, {question.task: question.row_holds for question in QUESTIONS.values()}
    if (holds := held.get(base.table.task, f"a {base.table.task} task")) != question.row_holds:
        raise ConfigError(
            f"--like {base.name} is for rows with {holds}, and these have {question.row_holds} each; take another "
            "recipe, or none"
        )
    images = base.images
    channels = _channels(looks, guess)
    if channels != images.channels:
        one = len(images.background) != images.channels or images.channels == 1
        background = images.background if one else images.background[:1]
        images = replace(images, channels=channels, mean=looks.mean, std=looks.std, background=background)
    images = replace(images, white=looks.insides.white or images.white, frame=looks.insides.frame or images.frame)
    try:
        recipe = replace(
            base,
            name=name,
            table=guess.table,
            folds=replace(base.folds, num_folds=max(2, min(base.folds.num_folds, _units(guess)))),
            images=images,
            rule=question.fit_rule(base.rule, label_groups=guess.label_groups),
            ranking=_ranking(guess, base.ranking),
        )
    except ConfigError as error:
        raise ConfigError(f"--like {base.name} does not fit this data: {error}") from None
    weights = (
        "Random weights, since nothing is downloaded. For pretrained ones, fetch them once with",
        f'`imettk weights {base.model.backbone}`, and add model=replace(base.model, weights="weights").',
    )
    return recipe, {"model": weights} | _table_comments(guess)


def _table_comments(guess: Guess) -> Comments:
    comments: Comments = {}
    if guess.table.train_images.startswith(".."):
        comments["table.train_images"] = ("from the folder of the tables",)
    if missing := int((~guess.found).sum()):
        comments["table.on_missing_image"] = (f'{missing} rows have no image; "error" stops at them',)
    return comments


def _units(guess: Guess) -> int:
    """Rows with an image, or their groups: what folds are made of."""
    frame, group = guess.frame[guess.found], guess.table.group_column
    return len(frame) if group is None else int(frame[group].nunique())


def _folds(guess: Guess) -> FoldConfig:
    number = max(2, min(3 if len(guess.frame) <= FEW_ROWS else 5, _units(guess)))
    counts = Counter(guess.labels)
    counts.pop(guess.table.unknown_label or "", None)
    return guess.question.make_folds(number, counts)


def _channels(looks: Looks, guess: Guess) -> int:
    return len(guess.table.channel_files) or looks.channels


def _images(looks: Looks, guess: Guess, point: StartingPoint) -> ImageFormat:
    channels = _channels(looks, guess)
    aspect: Aspect = "crop_marginal" if looks.strips > STRIPS else "stretch"
    insides = looks.insides
    form = ImageFormat(image_size=image_size(looks, point), aspect=aspect, white=insides.white, frame=insides.frame)
    if channels == form.channels and not looks.grey:  # the usual mean and std of photos
        return form
    return replace(form, channels=channels, mean=looks.mean, std=looks.std)


def image_size(looks: Looks, point: StartingPoint) -> tuple[int, int]:
    """About the point's pixels a side, no more than the images have where they need not, and oblong where they are.

    Pretrained networks get small images enlarged: their weights know things of a certain size.
    """
    height, width = looks.size
    ratio = max(height, width) / min(height, width)
    side, step = point.side, point.multiple
    if point.square:
        return side, side
    most = side + 2 * step if point.pretrained else max(2 * step, _rounded(max(height, width), step))
    long = min(side if ratio < OBLONG else side + 2 * step, most)
    short = long if ratio < OBLONG else max(2 * step, _rounded(long / ratio, step))
    return (long, short) if height >= width else (short, long)


def _rounded(pixels: float, step: int) -> int:
    return round(pixels / step) * step


def _ranking(guess: Guess, plan: RankConfig) -> RankConfig:
    return guess.question.fit_ranking(plan, guess.ranked, unknown=guess.table.unknown_label is not None)
