"""Where a competition of one's own begins: a recipe that fits its data, and what a person should decide in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from imettk.config import (
    FoldPlan,
    ImageFormat,
    PredictPlan,
    RankPlan,
    Recipe,
    ScorePlan,
    StagePlan,
    TrainPlan,
)
from imettk.data.framing import Aspect
from imettk.errors import ConfigError
from imettk.starter.guess import Guess
from imettk.starter.look import Looks
from imettk.starter.questions import QUESTIONS

BACKBONE = "timm:test_resnet"  # of random weights, few images teach a larger one no more, in three times the time
SIDE, MULTIPLE = 128, 16  # pixels
OBLONG = 1.5  # the typical aspect ratio from which on images are no squares
STRIPS = 0.1  # share of images that are strips, from which on they are cut before they are squeezed
SEEN_IMAGES = 16_000  # that training sees, for a table of a thousand rows some minutes on a CPU
MOST_EPOCHS, LEAST_EPOCHS = 60, 5
FEW_ROWS = 5_000  # up to which three folds do at first

Comments = dict[str, tuple[str, ...]]

WEIGHTS = (
    "Tiny, with random weights, since nothing is downloaded. Pretrained ones gain most: fetch them once with",
    '`imettk weights timm:resnet34`, and take ModelPlan(backbone="timm:resnet34", weights="weights") on a GPU.',
)


def start_recipe(guess: Guess, looks: Looks, name: str) -> tuple[Recipe, Comments]:
    """A recipe that trains on a CPU in minutes where there are a thousand images, and comments by section or field."""
    rows = int(guess.found.sum())
    epochs = min(MOST_EPOCHS, max(LEAST_EPOCHS, round(SEEN_IMAGES / max(1, rows))))
    stage = StagePlan(num_epochs=epochs, lr=(2e-3,), warmup_epochs=1, augmentation="flips")
    question = guess.question
    recipe = Recipe(
        name=name,
        table=guess.table,
        folds=_folds(guess),
        images=_images(looks, guess),
        model=replace(question.model, backbone=BACKBONE),
        embedding=question.embedding,
        train=TrainPlan(loss=question.loss),
        stages=(stage,),
        predict=PredictPlan(views=("plain", "hflip")),
        rule=guess.judging.rule or question.rule,
        score=ScorePlan(metric=guess.judging.metric),
        ranking=_ranking(guess, RankPlan()),
    )
    comments: Comments = {
        "images": ("On a GPU: 224 to 512 pixels a side.",),
        "model": WEIGHTS,
        "stages": (
            "On a GPU more epochs, and a stronger augmentation: `imettk prepare --show-augmentation` draws them.",
            "Without flips (here, and in the views below) where left and right are not alike, as in text.",
        ),
    }
    return recipe, {**comments, **question.comments, **_table_comments(guess)}


def judge_by(recipe: Recipe, guess: Guess) -> Recipe:
    """The recipe judged by the metric that was guessed or asked for, with answers that it judges."""
    judging = guess.judging
    if judging.metric is None:
        return recipe
    return replace(recipe, score=ScorePlan(metric=judging.metric), rule=judging.rule or recipe.rule)


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
    if looks.white is not None:
        images = replace(images, white=looks.white)
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


def _folds(guess: Guess) -> FoldPlan:
    number = max(2, min(3 if len(guess.frame) <= FEW_ROWS else 5, _units(guess)))
    counts = Counter(guess.labels)
    counts.pop(guess.table.unknown_label or "", None)
    return guess.question.make_folds(number, counts)


def _channels(looks: Looks, guess: Guess) -> int:
    return len(guess.table.channel_files) or (1 if looks.grey else 3)


def _images(looks: Looks, guess: Guess) -> ImageFormat:
    channels = _channels(looks, guess)
    aspect: Aspect = "crop_marginal" if looks.strips > STRIPS else "stretch"
    form = ImageFormat(image_size=_image_size(looks), aspect=aspect, white=looks.white)
    if channels == form.channels and not looks.grey:  # the usual mean and std of photos
        return form
    return replace(form, channels=channels, mean=looks.mean, std=looks.std)


def _image_size(looks: Looks) -> tuple[int, int]:
    """About `SIDE` pixels a side, no more than the images have, and oblong where they typically are."""
    height, width = looks.size
    ratio = max(height, width) / min(height, width)
    long = min(SIDE if ratio < OBLONG else SIDE + 32, max(2 * MULTIPLE, _rounded(max(height, width))))
    short = long if ratio < OBLONG else max(2 * MULTIPLE, _rounded(long / ratio))
    return (long, short) if height >= width else (short, long)


def _rounded(pixels: float) -> int:
    return round(pixels / MULTIPLE) * MULTIPLE


def _ranking(guess: Guess, plan: RankPlan) -> RankPlan:
    return guess.question.fit_ranking(plan, guess.ranked, unknown=guess.table.unknown_label is not None)
