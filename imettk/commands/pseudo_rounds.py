"""`pseudo --rounds`: noisy student (arXiv 1911.04252), a chain of runs, each learning the labels of the one before.

Round 0 is the run folder itself, round 1 is `RUN_DIR/round1`, and so on: run folders like any other, made by the
commands that a user would type. A fold learns the labels of the models that have not seen its validation rows, so the
out-of-fold scores of all rounds may be compared. The state of the chain is which files are there: after a kill the
same command goes on with the first one that is missing, and every decision is made again from the same scores. It may
go on in another folder, with that of the sessions before among its `--inputs`.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from imettk.commands.infer import infer
from imettk.commands.prepare import prepare
from imettk.commands.student import make_student, with_steps_of
from imettk.commands.train import train
from imettk.commands.validate import validate
from imettk.config import Recipe
from imettk.data.csv_files import list_names, read_csv
from imettk.data.table import read_table, read_test_table
from imettk.errors import ConfigError, MismatchError
from imettk.evaluation.judge import judge_of
from imettk.evaluation.members import TEST
from imettk.evaluation.paired import compare_runs
from imettk.evaluation.pseudo import PSEUDO, PSEUDO_CSV
from imettk.evaluation.standings import verdict_of
from imettk.experiment.in_time import longest_validation
from imettk.experiment.predictions import TrainedModels
from imettk.experiment.prepared import ImageRows, Prepared, choose_compute, open_source, read_prepared, trained_folds
from imettk.experiment.rounds import FILE, Beginning, begin, is_scored, note_scored
from imettk.postprocess.pseudo import Selection
from imettk.progress import say
from imettk.tracking.files import write_json
from imettk.tracking.lock import hold_folder
from imettk.tracking.pseudo_files import copy_file
from imettk.tracking.run_dir import RunDir
from imettk.tracking.summary import write_fact

MOST_WEIGHT = 1000  # as for any extra table
# Sections of a round's recipe beside those of its weights; they are always those of round 0.
BESIDE_WEIGHTS = ("cache", "predict", "score", "rule", "ranking", "session")


@dataclass(frozen=True)
class Request:
    """The options of `pseudo --rounds`.

    Attributes:
        rounds: at most so many beyond round 0.
        selection: of the rows; what is open is chosen in each round.
        weight: how often each pseudo-labelled row comes in an epoch; None as in `make_student`.
    """

    rounds: int
    selection: Selection
    weight: float | None = None


@dataclass(frozen=True)
class _Chain:
    """The rounds of a run in this session.

    Attributes:
        base: the recipe of round 0.
        run: the run of round 0.
        folds: those that round 0 has trained, and all rounds train.
        started, end: of the session, on `time.monotonic()`.
        scored: the folders that were validated in this session.
    """

    base: Recipe
    data_dir: Path
    run: RunDir
    request: Request
    folds: list[int]
    started: float
    end: float
    scored: list[Path]

    def round(self, number: int) -> RunDir:
        """Return the run of a round, which takes from round 0 what `prepare` left there, such as its cache."""
        return self.run.run_below(f"round{number}") if number else self.run

    def recipe(self, number: int) -> Recipe:
        """Return the recipe of a round, whose labels lie in its own folder."""
        if number == 0:
            return self.base
        run = self.round(number)
        if begun := run.with_training():  # it goes on as it began, even if an earlier version planned it
            return replace(RunDir(begun[0]).recipe(), **{name: getattr(self.base, name) for name in BESIDE_WEIGHTS})
        student = self.unplanned(number)
        with_labels = read_prepared(student, self.data_dir, run)
        return with_steps_of(self.base, self._prepared, student, with_labels, self.folds)

    def unplanned(self, number: int) -> Recipe:
        """Return the recipe that `prepare` takes for a round, before its steps can be counted."""
        folder = self.round(number).path
        return make_student(self.base, self._prepared, self.folds, folder, weight=self.request.weight)

    @cached_property
    def _prepared(self) -> Prepared:
        return read_prepared(self.base, self.data_dir, self.run)

    def fits(self, seconds: float = 0.0) -> bool:
        """Return whether something that takes so long may still begin."""
        return time.monotonic() + seconds < self.end


def pseudo_rounds(recipe: Recipe, data_dir: Path, run: RunDir, request: Request, *, started: float) -> list[Path]:
    """Label the test rows, train on them, and compare, round by round while it gains or until the session must end.

    Args:
        started: when the session began, on `time.monotonic()`.

    Returns:
        The folders that were validated in this session.

    Raises:
        ConfigError: there is no round to make, an option is out of range or fits no such rule, or no test row is sure
            enough.
        MissingFileError: round 0 has no trained fold.
        MismatchError: the folder holds rounds of other options, or of another recipe.
    """
    end = started + recipe.session.limit_seconds - recipe.session.margin_seconds
    run.path.mkdir(parents=True, exist_ok=True)
    with hold_folder(run.path):
        chain = _Chain(recipe, data_dir, run, request, _begin(recipe, run, request), started, end, [])
        best = _make_rounds(chain)
        if best is None or not _predict(chain, best):
            say(f"the rounds of {run.path} are paused; run the same command again to continue")
        else:
            say(f"the best is round {best}: {chain.round(best).path / 'submission.csv'} is its submission")
    return chain.scored


def _begin(recipe: Recipe, run: RunDir, request: Request) -> list[int]:
    """Check all that is asked before anything is predicted, write `rounds.json`, and return the folds to train.

    Raises:
        ConfigError, MissingFileError, MismatchError: as `pseudo_rounds`.
    """
    if request.rounds < 1:
        raise ConfigError(f"--rounds must be at least 1, got {request.rounds}")
    if request.weight is not None and not 0 < request.weight <= MOST_WEIGHT:
        raise ConfigError(f"--weight must be above 0, and at most {MOST_WEIGHT}, got {request.weight:g}")
    options = {**asdict(request.selection), "weight": request.weight}
    is_begun = any((folder / "round1" / PSEUDO).is_file() for folder in (run.path, *run.inputs))
    content = begin(run, Beginning(options, recipe, trained_folds(run, None)), is_begun=is_begun)
    judge_of(recipe).check_pseudo(request.selection, content["folds"])
    write_json(run.path / FILE, content)
    return list(content["folds"])


def _make_rounds(chain: _Chain) -> int | None:
    """Make round after round; return the number of the best one, or None if the session has to end before."""
    if not _score(chain, 0):
        return None
    for number in range(1, chain.request.rounds + 1):
        if not all(step(chain, number) for step in (_label, _train, _score)):
            return None
        paired = compare_runs(chain.round(number - 1).path, chain.round(number).path)
        gain = (
            f"{paired.title} {paired.second:.4f}, {paired.difference:+.4f} to round {number - 1}, 95% interval "
            f"{paired.low:+.4f} to {paired.high:+.4f} ({verdict_of(paired)})"
        )
        say(f"round {number}: {gain}")
        if (path := chain.round(number).path) in chain.scored:
            write_fact(path, "note", text=f"pseudo round {number}: {gain}")
        if not (paired.difference > 0 if paired.higher else paired.difference < 0):
            say(f"round {number} does not gain: the rounds end here, and round {number - 1} counts")
            return number - 1
    return chain.request.rounds


def _label(chain: _Chain, number: int) -> bool:
    """Label the test rows with the models of the round before; return False if there is no time to predict them."""
    folder = chain.round(number).path
    for earlier in chain.round(number).inputs:
        if (earlier / PSEUDO).is_file() and not (folder / PSEUDO).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            for name in (PSEUDO_CSV, PSEUDO):  # copied, so that the round's folder is whole by itself
                copy_file(earlier / name, folder / name)
    if (folder / PSEUDO).is_file():
        return True
    if not _predict(chain, number - 1):
        return False
    say(f"round {number}: labels by round {number - 1}")
    teacher = chain.recipe(number - 1)
    judge_of(teacher).pseudo_labels(chain.round(number - 1), chain.request.selection, out=folder)
    return True


def _train(chain: _Chain, number: int) -> bool:
    """Prepare and train a round; return False if the session ended before."""
    run = chain.round(number)
    if not any((folder / "table.json").is_file() for folder in (run.path, *run.inputs)):
        if not chain.fits():
            return False
        # No cache of its own: that of round 0 has the images of the test set too.
        student = chain.unplanned(number)
        weight = student.table.extra[-1].weight
        say(f"round {number}: a labelled row comes {weight:g} times in an epoch, and steps are as many as in round 0")
        prepare(replace(student, cache=replace(student.cache, kind="none")), chain.data_dir, run)
    recipe = chain.recipe(number)
    run.path.mkdir(parents=True, exist_ok=True)
    run.save_recipe(recipe)  # with the epochs that `prepare` did not know
    _require_same_folds(chain.run, run)
    for fold in chain.folds:
        if fold not in run.trained_folds():
            if not chain.fits():
                return False
            train(recipe, chain.data_dir, run, fold=fold, started=chain.started)
            if fold not in run.trained_folds():
                return False
    return True


def _require_same_folds(first: RunDir, run: RunDir) -> None:
    """Raise `MismatchError` if a row validates in another fold than in round 0, whose models made its fold's labels."""
    known, dealt = (
        read_csv(part.find("folds.csv", written_by="prepare")).set_index("id")["fold"] for part in (first, run)
    )
    if moved := known.index[(dealt.reindex(known.index) != known).to_numpy()].tolist():
        raise MismatchError(
            f"{run.path}: {list_names(moved, 'row')} in another fold than in {first.path}: its models have seen the "
            "rows that they would be compared on; run `imettk prepare` and `imettk train` again in another --run-dir"
        )


def _score(chain: _Chain, number: int) -> bool:
    """Validate a round, unless it is done; return False if there is no time for it."""
    recipe, run = chain.recipe(number), chain.round(number)
    if is_scored(run.path, recipe, chain.folds):
        return True
    seconds = sum(longest_validation(run, fold, recipe) for fold in chain.folds)
    if not chain.fits(seconds * len(recipe.predict.views)):
        return False
    validate(recipe, chain.data_dir, run, fold=None, folds=chain.folds)
    note_scored(run.path, recipe, chain.folds)
    chain.scored.append(run.path)
    return True


def _predict(chain: _Chain, number: int) -> bool:
    """Predict the test set with all folds of a round, and write its submission; return False if time is short."""
    recipe, run = chain.recipe(number), chain.round(number)
    missing = [fold for fold in chain.folds if run.find_optional(f"fold{fold}/{TEST}") is None]
    if not missing and (run.path / "submission.csv").is_file():
        return True
    labelled = read_table(recipe.table, chain.data_dir)
    table = read_test_table(recipe.table, chain.data_dir, labelled)
    images = ImageRows(table, open_source(recipe, table, chain.data_dir, run), np.arange(len(table)))
    models = TrainedModels(recipe, run, choose_compute(recipe))
    times = len(recipe.predict.views) * len(table) * recipe.folds.num_folds / len(labelled)
    for fold in missing:
        # Not left to `infer`, which drops views where time is short: labels to learn are worth another session.
        if not chain.fits(longest_validation(run, fold, recipe) * times):
            return False
        models.predict(fold, "test", images)
    infer(recipe, chain.data_dir, run, fold=None, started=chain.started)
    return True
