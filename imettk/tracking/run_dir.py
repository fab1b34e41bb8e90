"""Where things are in a run folder, and in the read-only folders of earlier runs that feed it.

run_dir/  recipe.json  recipe_source.json  table.json  folds.csv  bad_images.csv  cache/  rule.json  scores.json
          label_scores.csv  curves.json  errors.json  submission.csv  report.html
          fold0/ status.json  journal.jsonl  checkpoints/  model.safetensors  oof.safetensors  test.safetensors
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imettk.config import Recipe, differences, fingerprint, read_recipe, to_json
from imettk.errors import MismatchError, MissingFileError
from imettk.files import write_atomically
from imettk.tracking.files import sha256
from imettk.tracking.recipe_file import recall_source, remember_source

CACHE = "cache"  # a folder: images as `prepare` left them
BAD_IMAGES = "bad_images.csv"
DUPLICATE_GROUPS = "duplicate_groups.csv"  # `duplicates` writes these three
DROPPED = "duplicates_dropped.csv"
KNOWN_ANSWERS = "known_answers.csv"
LABEL_SCORES = "label_scores.csv"
CURVES = "curves.json"  # what the report draws: the score over thresholds, the worst errors
ERRORS = "errors.json"


class RunDir:
    """A run folder, written to, and any number of `inputs`, only read.

    A file is taken from the run folder where it is there, else from the inputs.
    """

    def __init__(self, path: Path, inputs: Sequence[Path] = ()) -> None:
        self.path = path
        self.inputs = tuple(inputs)
        for folder in self.inputs:
            if not folder.is_dir():
                raise MissingFileError(f"--inputs: {folder} is no folder")

    def fold(self, fold: int) -> Path:
        """The folder of a fold in the run folder, made where it is missing."""
        folder = self.path / f"fold{fold}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def fold_everywhere(self, fold: int) -> list[Path]:
        """The folders of a fold, in the run folder and in all inputs, that exist."""
        return [folder for root in (self.path, *self.inputs) if (folder := root / f"fold{fold}").is_dir()]

    def find(self, name: str, *, written_by: str) -> Path:
        """The file of this name.

        Raises:
            MissingFileError: no folder has it; the message names the stage that writes it.
            MismatchError: inputs disagree about it, and the run folder has none.
        """
        if (own := self.path / name).is_file():
            return own
        found = [folder / name for folder in self.inputs if (folder / name).is_file()]
        if not found:
            places = " or ".join(str(folder) for folder in (self.path, *self.inputs))
            raise MissingFileError(f"{name} is not in {places}: run `imettk {written_by}` first, which writes it")
        if len({sha256(path) for path in found}) > 1:
            raise MismatchError(
                f"different files {' and '.join(map(str, found))}: give only the inputs that belong together"
            )
        return found[0]

    def find_optional(self, name: str) -> Path | None:
        """The file of this name, or None; `MismatchError` as in `find`."""
        try:
            return self.find(name, written_by="")
        except MissingFileError:
            return None

    def trained_folds(self) -> list[int]:
        """Folds that have a finished model somewhere."""
        names = {
            path.parent.name for root in (self.path, *self.inputs) for path in root.glob("fold*/model.safetensors")
        }
        return sorted(int(name[4:]) for name in names if name[4:].isdigit())

    def model(self, fold: int) -> Path:
        """The trained model of a fold."""
        return self.find(f"fold{fold}/model.safetensors", written_by="train")

    def has_training(self) -> bool:
        """Whether some fold of the run folder has begun to train."""
        return self.path in self.with_training()

    def with_training(self) -> list[Path]:
        """The run folder and those of the inputs in which some fold has begun to train."""
        patterns = ("fold*/checkpoints/*", "fold*/model.safetensors")
        return [root for root in (self.path, *self.inputs) if any(any(root.glob(pattern)) for pattern in patterns)]

    def recipe(self) -> Recipe:
        """The recipe that an earlier stage saved here, or in the first of the inputs that has one.

        Raises:
            MissingFileError: there is none.
            MismatchError: the inputs come from different experiments.
        """
        saved = [folder / "recipe.json" for folder in (self.path, *self.inputs) if (folder / "recipe.json").is_file()]
        if not saved:
            return read_recipe(self.path / "recipe.json")
        recipes = [read_recipe(path) for path in saved]
        for path, recipe in zip(saved, recipes, strict=True):
            if fingerprint(recipe) != fingerprint(recipes[0]):
                changed = "; ".join(differences(recipes[0], recipe))
                raise MismatchError(
                    f"{path} is of another experiment than {saved[0]} ({changed}): give RECIPE, or other --inputs"
                )
        return recall_source(saved[0].parent, recipes[0])

    def save_recipe(self, recipe: Recipe) -> None:
        """Keep the recipe; refused where training in this folder began with another one.

        Raises:
            MismatchError: with the fields that differ, old and new.
        """
        path = self.path / "recipe.json"
        if self.has_training() and path.is_file() and fingerprint(old := read_recipe(path)) != fingerprint(recipe):
            raise MismatchError(
                f"{self.path} holds the training of another recipe: {'; '.join(differences(old, recipe))}. "
                "Use a new --run-dir"
            )
        write_atomically(path, to_json(recipe).encode())
        remember_source(self.path, recipe)
