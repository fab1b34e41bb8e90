"""Paths in a run folder, and in the read-only folders of earlier runs that feed it.

run_dir/  recipe.json  recipe_source.json  table.json  folds.csv  bad_images.csv  cache/  rule.json  scores.json
          label_scores.csv  curves.json  errors.json  judged.safetensors  submission.csv  report.html
          fold0/ status.json  journal.jsonl  checkpoints/  model.safetensors  oof.safetensors  test.safetensors
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imettk.config import ExtraTable, Recipe, differences, fingerprint, read_recipe, to_json
from imettk.errors import MismatchError, MissingFileError
from imettk.files import write_atomically
from imettk.tracking.files import sha256
from imettk.tracking.pseudo_files import LEARNED, copy_file, locate_pseudo
from imettk.tracking.recipe_file import recall_source, remember_source

CACHE = "cache"  # a folder of images that `prepare` decoded and resized
BAD_IMAGES = "bad_images.csv"
DUPLICATE_GROUPS = "duplicate_groups.csv"  # this and the next two are written by `duplicates`
DROPPED = "duplicates_dropped.csv"
KNOWN_ANSWERS = "known_answers.csv"
LABEL_SCORES = "label_scores.csv"
JUDGED = "judged.safetensors"  # what the metric judges of each out-of-fold row, for comparisons with other runs
JUDGED_BY_TRY = "judged_by_try.safetensors"  # a copy for the search, which the run's later validations leave as it is
CURVES = "curves.json"  # this and the next are written by `validate` for the report
ERRORS = "errors.json"
PREPARED = ("folds.csv", BAD_IMAGES, DUPLICATE_GROUPS, DROPPED, KNOWN_ANSWERS, "table.json")  # small files, not images


class RunDir:
    """A run folder, which is written to, and any number of `inputs`, which are only read.

    A file is taken from the run folder if it has one, otherwise from the inputs.

    Args:
        prepared: folders of which only the prepared data is taken, after all others: their trainings are of other runs.
    """

    def __init__(self, path: Path, inputs: Sequence[Path] = (), *, prepared: Sequence[Path] = ()) -> None:
        self.path = path
        self.inputs = tuple(inputs)
        self._prepared = tuple(prepared)
        for folder in self.inputs:
            if not folder.is_dir():
                raise MissingFileError(f"--inputs: {folder} is not a folder")

    def run_below(self, name: str) -> RunDir:
        """Return the run in a folder below, or below an input, that takes the prepared data of this one."""
        earlier = [root / name for root in self.inputs if (root / name).is_dir()]
        return RunDir(self.path / name, earlier, prepared=[self.path, *self.inputs, *self._prepared])

    def fold(self, fold: int) -> Path:
        """Return the folder of a fold in the run folder, after making it if it is missing."""
        folder = self.path / f"fold{fold}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def fold_everywhere(self, fold: int) -> list[Path]:
        """Return the existing folders of a fold, in the run folder and in all inputs."""
        return [folder for root in (self.path, *self.inputs) if (folder := root / f"fold{fold}").is_dir()]

    def find(self, name: str, *, written_by: str) -> Path:
        """Return the path of the file of this name.

        Args:
            written_by: the command that writes it, for the message.

        Raises:
            MissingFileError: no folder has it.
            MismatchError: the run folder does not have it, and inputs have different ones.
        """
        if (own := self.path / name).is_file():
            return own
        attached = [folder / name for folder in self.inputs if (folder / name).is_file()]
        if not attached and (name in PREPARED or name.startswith(f"{CACHE}/")):
            attached = [folder / name for folder in self._prepared if (folder / name).is_file()]
        if not attached:
            places = " or ".join(str(folder) for folder in (self.path, *self.inputs))
            raise MissingFileError(f"{name} is not in {places}: run `imettk {written_by}` first, which writes it")
        # Several kernels may have the same input; two different ones mean that outputs of two experiments are attached.
        if len({sha256(path) for path in attached}) > 1:
            raise MismatchError(f"{' and '.join(map(str, attached))} differ: give only inputs that belong together")
        return attached[0]

    def find_optional(self, name: str) -> Path | None:
        """Return the path of the file of this name, or None; raise `MismatchError` as `find` does."""
        try:
            return self.find(name, written_by="")
        except MissingFileError:
            return None

    def carry_prepared(self, folder: Path) -> None:
        """Copy the files that `prepare` and `duplicates` left, without the cache, into another run folder."""
        for name in PREPARED:
            if (path := self.find_optional(name)) is not None and path.parent != folder:
                write_atomically(folder / name, path.read_bytes())
        for root in (self.path, *self.inputs, *self._prepared):
            for path in root.glob(f"{LEARNED}*"):
                if not (folder / path.name).is_file():
                    copy_file(path, folder / path.name)

    def trained_folds(self) -> list[int]:
        """Return the folds that have a finished model, in the run folder or in an input."""
        return list(self.fold_files("model.safetensors"))

    def fold_files(self, name: str) -> dict[int, Path]:
        """Return the file of this name of each fold that has one, in the run folder or else in the first input."""
        files: dict[int, Path] = {}
        for root in (self.path, *self.inputs):
            for path in root.glob(f"fold*/{name}"):
                if (number := path.parent.name[4:]).isdigit():  # folders such as `fold0-old` are copies
                    files.setdefault(int(number), path)
        return dict(sorted(files.items()))

    def model(self, fold: int) -> Path:
        """Return the path of a fold's trained model."""
        return self.find(f"fold{fold}/model.safetensors", written_by="train")

    def has_training(self) -> bool:
        """Return True if a fold of the run folder has begun to train."""
        return self.path in self.with_training()

    def with_training(self) -> list[Path]:
        """Return the folders, the run folder first, in which a fold has begun to train."""
        patterns = ("fold*/checkpoints/*", "fold*/model.safetensors")
        return [root for root in (self.path, *self.inputs) if any(any(root.glob(pattern)) for pattern in patterns)]

    def recipe(self) -> Recipe:
        """Return the recipe that an earlier command saved in the run folder, or in the first input that has one.

        Raises:
            MissingFileError: no folder has a recipe.
            MismatchError: the inputs come from different experiments.
        """
        saved = [folder / "recipe.json" for folder in (self.path, *self.inputs) if (folder / "recipe.json").is_file()]
        if not saved:
            return read_recipe(self.path / "recipe.json")
        recipes = [read_recipe(path) for path in saved]
        # Fields outside the fingerprint, such as paths and session limits, may differ from kernel to kernel.
        for path, recipe in zip(saved, recipes, strict=True):
            if fingerprint(recipe) != fingerprint(recipes[0]):
                changed = "; ".join(differences(recipes[0], recipe))
                raise MismatchError(
                    f"{path} is of another experiment than {saved[0]} ({changed}): give RECIPE, or other --inputs"
                )
        return self.locate(recall_source(saved[0].parent, recipes[0]))

    def saved_extra(self) -> list[ExtraTable]:
        """Return the extra tables of the recipes that earlier commands saved, in the run folder and in all inputs."""
        saved = [path for folder in (self.path, *self.inputs) if (path := folder / "recipe.json").is_file()]
        return [table for path in saved for table in read_recipe(path).table.extra]

    def locate(self, recipe: Recipe) -> Recipe:
        """Return the recipe with its pseudo labels in the run folder or an input, if they lie there."""
        return locate_pseudo(recipe, (self.path, *self.inputs, *self._prepared))

    def save_recipe(self, recipe: Recipe) -> None:
        """Write the recipe, unless a training with another one has begun in this folder.

        Raises:
            MismatchError: another one has; the message has the fields that differ, old and new.
        """
        if self.has_training():
            require_same_recipe(self.path, recipe, "Use a new --run-dir")
        path = self.path / "recipe.json"
        write_atomically(path, to_json(recipe).encode())
        remember_source(self.path, recipe)


def require_same_recipe(folder: Path, recipe: Recipe, remedy: str) -> None:
    """Require that a folder in which a training has begun is of this recipe, if it has one.

    Args:
        remedy: what to do otherwise, for the message.

    Raises:
        MismatchError: it is of another recipe; the message has the fields that differ, old and new.
    """
    path = folder / "recipe.json"
    if path.is_file() and fingerprint(old := read_recipe(path)) != fingerprint(recipe):
        raise MismatchError(
            f"{folder} holds the training of another recipe: {'; '.join(differences(old, recipe))}. {remedy}"
        )
