"""First recipes for a competition: settings that fit its data, and comments on the decisions left to the user."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
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

OBLONG = 1.5  # images with a typical aspect ratio of this or more are not squeezed into squares
STRIPS = 0.1  # if a larger share of images are strips, these are cropped before they are squeezed
FEW_ROWS = 5_000  # up to this many rows, three folds do at first
FEW_STEPS = 3_000  # with fewer steps in all, averaged weights must forget faster

Comments = dict[str, tuple[str, ...]]


def start_recipe(guess: Guess, looks: Looks, name: str, point: StartingPoint) -> tuple[Recipe, Comments]:
    """Return a recipe that starts from this network, and comments by section or field."""
    rows = guess.num_images
    epochs = point.num_epochs(rows)
    stage = StageConfig(
        num_epochs=epochs,
        batch_size=point.batch_size,
        lr=(point.lr,),
        layer_decay=point.layer_decay,
        warmup_epochs=1,
        augmentation=point.augmentation,
        # The statistics of pretrained weights are those of colour photographs.
        freeze_batchnorm=point.freezes_batchnorm and _channels(looks, guess) == 3 and not looks.grey,
    )
    question = guess.question
    decay = 0.99 if rows * epochs < FEW_STEPS * point.batch_size else 0.999
    recipe = Recipe(
        name=name,
        table=guess.table,
        folds=_folds(guess),
        images=_images(looks, guess, point),
        model=_model(question.model, point),
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
            "`imettk prepare --show-augmentation` draws augmented images.",
            "Leave flips out (here, and in the views below) if mirrored images mean something else, as with text.",
        ),
    }
    if not point.pretrained:
        comments["images"] = ("With a GPU, use 224 to 512 pixels a side.",)
        comments["model"] = (
            "A tiny network with random weights, as `new` downloads nothing. Pretrained weights help most: run",
            "`imettk weights timm:tf_efficientnet_lite0`, then `imettk new` again (for a GPU, with --start strong).",
        )
    return recipe, {**comments, **question.comments, **_table_comments(guess)}


def _model(model: ModelConfig, point: StartingPoint) -> ModelConfig:
    """Return a question's model with the network of a starting point."""
    if point.levels > 1 and model.head == "linear":
        model = replace(model, head="pooled", pool="average", last_levels=point.levels)
    weights = "weights" if point.pretrained else None
    return replace(model, backbone=f"timm:{point.network}", weights=weights, layer_groups=point.layer_groups)


def judge_by(recipe: Recipe, guess: Guess) -> Recipe:
    """Return the recipe with the guessed or requested metric, and a rule that makes the answers it judges."""
    judging = guess.judging
    if judging.metric is None:
        return recipe
    return replace(recipe, score=ScoreConfig(metric=judging.metric), rule=judging.rule or recipe.rule)


def recipe_like(base: Recipe, guess: Guess, looks: Looks, name: str) -> tuple[Recipe, Comments]:
    """Return a built-in recipe with the table, folds, images and rule of this data, and comments.

    Raises:
        ConfigError: the recipe is for rows that hold something else.
    """
    question, held = guess.question, {question.task: question.row_holds for question in QUESTIONS.values()}
    if (holds := held.get(base.table.task, f"a {base.table.task} task")) != question.row_holds:
        raise ConfigError(
            f"--like {base.name} is for rows with {holds}, but these have {question.row_holds} each: choose another "
            "recipe, or leave --like out"
        )
    images = base.images
    channels = _channels(looks, guess)
    if channels != images.channels:
        # A background of one value serves any number of channels; one value per channel does not fit another number.
        is_single = len(images.background) != images.channels or images.channels == 1
        background = images.background if is_single else images.background[:1]
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
        "Random weights, as `new` downloads nothing. For pretrained ones, run",
        f'`imettk weights {base.model.backbone}` once, and add model=replace(base.model, weights="weights").',
    )
    return recipe, {"model": weights} | _table_comments(guess)


def _table_comments(guess: Guess) -> Comments:
    """Return comments on fields of the table's format."""
    comments: Comments = {}
    if guess.table.train_images.startswith(".."):
        comments["table.train_images"] = ("relative to the folder of the tables",)
    if missing := int((~guess.found).sum()):
        number = f"{missing} rows have" if missing > 1 else "1 row has"
        comments["table.on_missing_image"] = (f'{number} no image; "error" would stop there',)
    return comments


def _units(guess: Guess) -> int:
    """Count the rows with an image, or their groups: folds deal these out whole."""
    frame, group = guess.frame[guess.found], guess.table.group_column
    return len(frame) if group is None else int(frame[group].nunique())


def _folds(guess: Guess) -> FoldConfig:
    """Return the settings of folds: fewer for small data, never more than there are units."""
    number = max(2, min(3 if len(guess.frame) <= FEW_ROWS else 5, _units(guess)))
    counts = Counter(guess.labels)
    counts.pop(guess.table.unknown_label or "", None)
    return guess.question.make_folds(number, counts)


def _channels(looks: Looks, guess: Guess) -> int:
    """Return the number of channels of an image, of one file or of several."""
    return len(guess.table.channel_files) or looks.channels


def _images(looks: Looks, guess: Guess, point: StartingPoint) -> ImageFormat:
    """Return the format of images: their size, shape, channels and normalisation."""
    channels = _channels(looks, guess)
    aspect: Aspect = "crop_marginal" if looks.strips > STRIPS else "stretch"
    insides = looks.insides
    form = ImageFormat(image_size=image_size(looks, point), aspect=aspect, white=insides.white, frame=insides.frame)
    if channels == form.channels and not looks.grey:
        return form  # colour images keep the usual mean and std, those that pretrained weights know
    return replace(form, channels=channels, mean=looks.mean, std=looks.std)


def image_size(looks: Looks, point: StartingPoint) -> tuple[int, int]:
    """Return the (height, width) to train with: about the network's side, as oblong as the images are.

    Only a network with random weights gets images no larger than they are. Small images are enlarged for a pretrained
    one, whose weights know objects of a certain size.
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
    """Return the multiple of `step` nearest to so many pixels."""
    return round(pixels / step) * step


def _ranking(guess: Guess, config: RankConfig) -> RankConfig:
    """Return the settings of ranked answers that fit the question and the sample submission."""
    return guess.question.fit_ranking(config, guess.ranked, unknown=guess.table.unknown_label is not None)
