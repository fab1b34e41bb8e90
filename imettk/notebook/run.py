"""A run as an object: its commands, its tables and its scores."""

from __future__ import annotations

import operator
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from imettk.config import Recipe, to_json
from imettk.errors import ConfigError, MissingFileError
from imettk.files import write_atomically
from imettk.notebook.budget import session_words
from imettk.notebook.page import Page
from imettk.notebook.process import run_command
from imettk.notebook.recipes import load_recipe
from imettk.notebook.scores import Scores
from imettk.tracking.files import read_json
from imettk.tracking.recipe_file import remember_source
from imettk.tracking.report import REPORT, write_report
from imettk.tracking.run_dir import RunDir

AnyPath = str | os.PathLike[str]
STATUS = ("state", "step", "num_steps", "sessions", "reason")


def open_run(
    run_dir: AnyPath,
    recipe: Recipe | AnyPath | None = None,
    *,
    data: AnyPath = "data",
    inputs: AnyPath | Sequence[AnyPath] = (),
    fields: Mapping[str, Any] | None = None,
) -> Run:
    """Open a run folder, which the first command makes if it is new.

    Relative paths are those of now: a later change of the working directory does not move the run.

    Args:
        run_dir: the folder for all results.
        recipe: a Recipe, or what `load_recipe` takes; None takes the recipe that the folder or an input holds.
        data: the competition's folder.
        inputs: folders of earlier runs, one or several, only read.
        fields: values of some of the recipe's fields, as for `load_recipe`.

    Raises:
        ConfigError: the recipe or a field is not valid, or there is no recipe.
        MissingFileError: an input is not a folder.
    """
    several = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    folder = RunDir(Path(run_dir).absolute(), [Path(path).absolute() for path in several])
    if folder.path.exists() and not folder.path.is_dir():
        raise MissingFileError(f"{folder.path} is a file, not a folder")
    if isinstance(recipe, str | os.PathLike):
        recipe = load_recipe(recipe, fields)
    elif fields:
        raise ConfigError("`fields` change a recipe that is given by its name or file: change a Recipe by `replace`")
    if recipe is not None and not isinstance(recipe, Recipe):
        raise ConfigError(f"`recipe` must be a Recipe, a name or a file, got {recipe!r}")
    return Run(folder, Path(data).absolute(), recipe or folder.recipe())


class Run:
    """A run folder with its recipe and its data; `open_run` makes one.

    Every command runs in a process of its own, as on the command line, and gives the same bits and the same errors. An
    interrupt of the cell ends it; a training saves first, and the same call continues it.

    Attributes:
        folder: the run folder with its inputs.
        path: of the run folder.
        data: the competition's folder.
        recipe: the recipe.
    """

    def __init__(self, folder: RunDir, data: Path, recipe: Recipe) -> None:
        self.folder = folder
        self.path, self.data, self.recipe = folder.path, data, recipe

    def __repr__(self) -> str:
        trained = len(self.folder.trained_folds())
        return f"<Run {self.path}: {self.recipe.name}, {trained} of {self.recipe.folds.num_folds} folds trained>"

    def command(self, name: str, *words: AnyPath, environment: Mapping[str, str] | None = None) -> None:
        """Run any command of the command line that works in a run folder.

        Args:
            name: such as "duplicates".
            words: its options, such as "--action", "group".
            environment: variables that only the command gets.

        Raises:
            UserError: what the command raises; its message is the line that the command line prints.
        """
        with tempfile.TemporaryDirectory() as folder:
            recipe = Path(folder, "recipe.json")
            write_atomically(recipe, to_json(self.recipe).encode())
            remember_source(recipe.parent, self.recipe)
            common = [str(recipe), "--data", str(self.data), "--run-dir", str(self.path)]
            if self.folder.inputs:
                common += ["--inputs", *map(str, self.folder.inputs)]
            run_command([name, *common, *map(str, words)], dict(environment or {}))

    def prepare(self) -> None:
        """Check the table and every image, make the folds, and keep the images decoded."""
        self.command("prepare")

    def preflight(self) -> None:
        """Run every command in miniature, and estimate the hours of a whole run."""
        self.command("preflight")

    def train(
        self,
        fold: int | None = None,
        *,
        budget: str | float | None = None,
        processes: int | None = None,
    ) -> pd.DataFrame:
        """Train until done or until the time is over; call it again to continue exactly there.

        Args:
            fold: None for all folds in turn.
            budget: the time that this call may take, such as "8h" or "45m", or in seconds; None is the session's limit.
            processes: processes that share each batch; None is one for each GPU.

        Returns:
            The table `status`.
        """
        words, environment = session_words(self.recipe, budget)
        if processes is not None:
            words += ["--processes", str(processes)]
        self.command("train", *_fold(fold), *words, environment=environment)
        return self.status

    def validate(self, fold: int | None = None) -> Scores:
        """Predict out of fold, fit the decision rule, and return the scores."""
        self.command("validate", *_fold(fold))
        return self.scores

    def infer(self, fold: int | None = None, *, answers: AnyPath | None = None) -> pd.DataFrame:
        """Predict the test set, write the submission, and return it.

        Args:
            fold: predict with the model of this fold alone; None takes all trained folds.
            answers: a table with the known answers, to score.
        """
        known = [] if answers is None else ["--answers", str(answers)]
        _, environment = session_words(self.recipe, None)
        self.command("infer", *_fold(fold), *known, environment=environment)
        return self.submission

    def report(self) -> Page:
        """Write the page of the run, and return it to be shown in the cell."""
        for fault in write_report([self.path], self.path / REPORT, inputs=self.folder.inputs):
            print(f"note: {fault}")
        return Page(self.path / REPORT)

    @property
    def status(self) -> pd.DataFrame:
        """Each fold's state (new, running, paused, done or failed), step, number of steps and sessions."""
        rows = [self._status_of(fold) for fold in range(self.recipe.folds.num_folds)]
        frame = pd.DataFrame(rows, index=pd.RangeIndex(len(rows), name="fold"), columns=list(STATUS))
        return frame.astype({"num_steps": "Int64"})

    def _status_of(self, fold: int) -> dict[str, Any]:
        """Return what the status file of a fold says, the run folder's before those of the inputs."""
        files = (read_json(folder / "status.json") for folder in self.folder.fold_everywhere(fold))
        status = next((content for content in files if content), {"state": "new", "step": 0, "sessions": 0})
        return {name: status.get(name, "" if name == "reason" else None) for name in STATUS}

    @property
    def scores(self) -> Scores:
        """The scores that `validate` wrote."""
        return Scores(self.path, self.folder.inputs)

    @property
    def oof(self) -> pd.DataFrame:
        """Out-of-fold predictions: `id`, `fold`, a column for each label, and the truth; see `oof_frame`."""
        from imettk.evaluation.frames import oof_frame

        return oof_frame(self.recipe, self.folder)

    @property
    def test(self) -> pd.DataFrame:
        """Test predictions, the mean over folds: `id`, and a column for each label."""
        from imettk.evaluation.frames import test_frame

        return test_frame(self.recipe, self.folder)

    @property
    def folds(self) -> pd.DataFrame:
        """The folds that `prepare` made: `id` and `fold`."""
        from imettk.evaluation.run_tables import fold_frame

        return fold_frame(self.folder)

    @property
    def submission(self) -> pd.DataFrame:
        """The submission that `infer` wrote: ids are text, and so are labels such as 007."""
        from imettk.evaluation.run_tables import submission_frame

        return submission_frame(self.folder)


def _fold(fold: int | None) -> list[str]:
    return [] if fold is None else ["--fold", str(whole_fold(fold))]


def whole_fold(fold: int) -> int:
    """Return a fold, also one of numpy, as Python's integer.

    Raises:
        ConfigError: it is something else, of which a command would take True for 1.
    """
    try:
        if not isinstance(fold, bool):
            return operator.index(fold)
    except TypeError:
        pass
    raise ConfigError(f"`fold` must be a whole number, or None for all, got {fold!r}")
