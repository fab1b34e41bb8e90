"""`pseudo --rounds`: noisy student (arXiv 1911.04252), a chain of runs, each learning the labels of the one before.

Round 0 is the run folder itself, round 1 is `RUN_DIR/round1`, and so on: run folders like any other, made by the
commands that a user would type. A fold learns the labels of the models that have not seen its validation rows, so the
out-of-fold scores of all rounds may be compared. The state of the chain is which files are there: after a kill the
same command goes on with the first one that is missing, and every decision is made again from the same scores.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from imettk.commands.infer import infer
from imettk.commands.prepare import prepare
from imettk.commands.pseudo_label import add_pseudo_table
from imettk.commands.train import train
from imettk.commands.validate import validate
from imettk.config import Recipe
from imettk.data.csv_files import list_names, read_csv
from imettk.data.folds import GALLERY_ONLY, LEFT_OUT
from imettk.data.table import read_table, read_test_table
from imettk.errors import ConfigError, MismatchError
from imettk.evaluation.judge import judge_of
from imettk.evaluation.members import TEST
from imettk.evaluation.paired import compare_runs
from imettk.evaluation.pseudo import PSEUDO, PSEUDO_CSV
from imettk.evaluation.standings import verdict_of
from imettk.experiment.in_time import longest_validation
from imettk.experiment.predictions import TrainedModels
from imettk.experiment.prepared import ImageRows, choose_compute, open_source, trained_folds
from imettk.postprocess.pseudo import Selection
from imettk.progress import say
from imettk.tracking.files import read_json, write_json
from imettk.tracking.lock import hold_folder
from imettk.tracking.run_dir import JUDGED, RunDir
from imettk.tracking.summary import write_fact
from imettk.tracking.tensors import read_values

FILE = "rounds.json"  # the options of the chain


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
        if number == 0:
            return self.run
        name = f"round{number}"
        earlier = [root / name for root in self.run.inputs if (root / name).is_dir()]
        return RunDir(self.run.path / name, earlier, prepared=[self.run.path, *self.run.inputs])

    def recipe(self, number: int) -> Recipe:
        """Return the recipe of a round, whose labels lie in its own folder."""
        if number == 0:
            return self.base
        folds_csv = self.run.find("folds.csv", written_by="prepare")
        return make_student(self.base, self.round(number).path, folds_csv, self.request.weight)

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
        ConfigError: there is no round to make, or no test row is sure enough.
        MissingFileError: round 0 has no trained fold.
        MismatchError: the folder holds rounds with other options.
    """
    if request.rounds < 1:
        raise ConfigError(f"--rounds must be at least 1, got {request.rounds}")
    end = started + recipe.session.limit_seconds - recipe.session.margin_seconds
    chain = _Chain(recipe, data_dir, run, request, trained_folds(run, None), started, end, [])
    run.path.mkdir(parents=True, exist_ok=True)
    with hold_folder(run.path):
        _keep_options(run, request)
        best = _make_rounds(chain)
        if best is None or not _predict(chain, best):
            say(f"the rounds of {run.path} are paused; run the same command again to continue")
        else:
            say(f"the best is round {best}: {chain.round(best).path}")
    return chain.scored


def _keep_options(run: RunDir, request: Request) -> None:
    """Write the options of the chain; raise `MismatchError` if labels were made with others."""
    options = {**asdict(request.selection), "weight": request.weight}
    is_begun = any((folder / "round1" / PSEUDO).is_file() for folder in (run.path, *run.inputs))
    path = run.find_optional(FILE) if is_begun else None
    known = options if path is None else read_json(path)
    changed = [f"--{name}: {known.get(name)} -> {value}" for name, value in options.items() if known.get(name) != value]
    if changed:
        raise MismatchError(
            f"{path} is of rounds with {'; '.join(changed)}: give the same options, or a copy of the run"
        )
    write_json(run.path / FILE, options)


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
            for name in (PSEUDO_CSV, PSEUDO):  # copied, as their path is part of the recipe
                shutil.copy(earlier / name, folder / name)
    if (folder / PSEUDO).is_file():
        return True
    if not _predict(chain, number - 1):
        return False
    say(f"round {number}: labels by round {number - 1}")
    teacher = chain.recipe(number - 1)
    judge_of(teacher).pseudo_labels(chain.round(number - 1), chain.request.selection, out=folder)
    return True


def make_student(base: Recipe, folder: Path, folds_csv: Path, weight: float | None) -> Recipe:
    """Return the recipe that also learns the labels in a folder, in as many steps as the base takes.

    Epochs have more rows, and their number falls: with more steps as well, a gain could not be told from that of longer
    training, which is the larger one where the base trains too briefly.

    Args:
        folds_csv: of round 0.
        weight: how often a labelled row comes in an epoch; None is 1, or less where the labelled rows would outnumber
            the others, as then their errors count for more than the truth.
    """
    values = read_values(folder / PSEUDO)
    folds = read_csv(folds_csv)["fold"].to_numpy(np.int64)
    own = float(np.mean([(~np.isin(folds, (fold, LEFT_OUT, GALLERY_ONLY))).sum() for fold in values["folds"]]))
    labelled = float(np.mean([sum(rows) for rows in values["sure"]]))
    weight = _rounded(min(1.0, own / max(labelled, 1.0))) if weight is None else weight
    share = own / (own + weight * labelled)
    stages = tuple(
        replace(
            stage,
            num_epochs=_rounded(stage.num_epochs * share),
            warmup_epochs=_rounded(stage.warmup_epochs * share),
            step_epochs=tuple(_rounded(epochs * share) for epochs in stage.step_epochs),
        )
        for stage in base.stages
    )
    training = replace(base.train, validate_epochs=_rounded(base.train.validate_epochs * share))
    return add_pseudo_table(replace(base, stages=stages, train=training), folder, weight)


def _rounded(number: float) -> float:
    """Return a number with few digits, for a field that people read."""
    return float(f"{number:.4g}")


def _train(chain: _Chain, number: int) -> bool:
    """Prepare and train a round; return False if the session ended before."""
    recipe, run = chain.recipe(number), chain.round(number)
    if not any((folder / "table.json").is_file() for folder in (run.path, *run.inputs)):
        if not chain.fits():
            return False
        # No cache of its own: that of round 0 has the images of the test set too.
        weight = recipe.table.extra[-1].weight
        say(f"round {number}: a labelled row comes {weight:g} times in an epoch, and steps are as many as in round 0")
        prepare(replace(recipe, cache=replace(recipe.cache, kind="none")), chain.data_dir, run)
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
    scored = (read_json(run.path / "scores.json") or {}).get("folds", {})
    if (run.path / JUDGED).is_file() and set(scored) == set(map(str, chain.folds)):
        return True
    if not chain.fits(sum(longest_validation(run, fold) for fold in chain.folds) * len(recipe.predict.views)):
        return False
    validate(recipe, chain.data_dir, run, fold=None)
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
        if not chain.fits(longest_validation(run, fold) * times):
            return False
        models.predict(fold, "test", images)
    infer(recipe, chain.data_dir, run, fold=None, started=chain.started)
    return True
