"""Values of images that are black and white: as the recipe gives them, or as `prepare` measured them for a run."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from imettk.config import Recipe
from imettk.config.white import White, parse_white
from imettk.data.pixel_values import ValueRange
from imettk.data.reader import ImageReader
from imettk.data.sample_table import SampleTable
from imettk.data.source import make_reader
from imettk.data.value_survey import ValueSurvey, measure_values
from imettk.errors import DataError, MismatchError
from imettk.progress import say
from imettk.tracking.files import read_json
from imettk.tracking.run_dir import RunDir

VALUES = "values.png"  # the picture of the values that images hold
FOREIGN = 2.0  # times: how far the whites of training and test images may lie apart before it is said
FEW, MOST = 0.5, 99.5  # percentiles that are told


def reader_of(recipe: Recipe, run: RunDir) -> ImageReader:
    """Return the reader of a run's images, the same for training, validation and test images.

    Raises:
        MissingFileError: `images.white` asks for percentiles, which `prepare` has not measured.
        MismatchError: `prepare` ran for another `images.white`.
        ConfigError: as of `make_reader`.
    """
    if _percentiles(recipe) is None:
        return make_reader(recipe)
    path = run.find("table.json", written_by="prepare")
    if (known := _read_range(path, recipe)) is None:
        raise MismatchError(
            f"{path} is of another `images.white` than {recipe.images.white}: run `imettk prepare` again"
        )
    return make_reader(recipe, known)


class TableValues:
    """Surveys of the values in the images of each table, made once, when they are first needed."""

    def __init__(self, tables: dict[str, SampleTable], reader: ImageReader) -> None:
        self._tables, self._reader = tables, reader
        self._surveys: dict[str, ValueSurvey] = {}

    def survey(self, name: str) -> ValueSurvey:
        """Return the survey of a table's images; raise `DataError` if none of them can be read."""
        if name not in self._surveys:
            self._surveys[name] = measure_values(self._tables[name].paths.tolist(), self._reader)
        return self._surveys[name]

    def surveys(self) -> dict[str, ValueSurvey]:
        """Return the surveys by the names of tables, without tables that have no readable image."""
        found = {}
        for name in self._tables:
            with suppress(DataError):  # unreadable images are reported elsewhere
                found[name] = self.survey(name)
        return found


def settle_range(recipe: Recipe, run: RunDir, values: TableValues) -> ValueRange | None:
    """Return the values at the percentiles of `images.white` in training images; None without percentiles.

    A run whose training has begun, here or in an input, keeps those that it began with.
    """
    wanted = _percentiles(recipe)
    if wanted is None:
        return None
    for path in (folder / "table.json" for folder in run.with_training()):
        if path.is_file() and (known := _read_range(path, recipe)) is not None:
            return known
    measured = values.survey("train")
    found = measured.range_between(wanted.black, wanted.white)
    say(
        f"`images.white` {recipe.images.white}: {found.black:.6g} is black and {found.white:.6g} white, by "
        f"{measured.num_images} training images"
    )
    return found


def draw_range(values: TableValues, white: ValueRange | None, run: RunDir) -> list[str]:
    """Draw the values in the images of each table, with black and white marked; return what is odd."""
    from imettk.pictures.plots import draw_values  # matplotlib, which most runs do without

    if not (surveys := values.surveys()):
        return []
    path = run.path / VALUES
    draw_values(path, {name: survey.numbers for name, survey in surveys.items()}, white)
    spans = []
    for name, survey in surveys.items():
        spans.append(f"from {survey.percentile(FEW):.6g} to {survey.percentile(MOST):.6g} ({name})")
    say(f"{path}: {MOST - FEW:g}% of the values in the images' files lie {', '.join(spans)}")
    return _tell_difference(surveys)


def _tell_difference(surveys: dict[str, ValueSurvey]) -> list[str]:
    if len(surveys) < 2:
        return []
    (first, one), (second, other) = surveys.items()
    low, high = sorted((one.percentile(MOST), other.percentile(MOST)))
    if low > 0 and high <= FOREIGN * low:
        return []
    return [
        f"{MOST:g}% of the values lie at or below {one.percentile(MOST):.6g} in {first} images, and "
        f"{other.percentile(MOST):.6g} in {second} images: they are scaled alike, so one kind will look darker"
    ]


def _percentiles(recipe: Recipe) -> White | None:
    white = None if recipe.images.white is None else parse_white(recipe.images.white)
    return white if white is not None and white.of_set else None


def _read_range(path: Path, recipe: Recipe) -> ValueRange | None:
    """Return what `prepare` measured for a recipe; None if it ran for another `images.white`."""
    values = read_json(path, needs=("recipe",))
    if values["recipe"]["images"].get("white") != recipe.images.white or values.get("white") is None:
        return None
    return ValueRange(*values["white"])
