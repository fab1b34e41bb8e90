"""`try`: a search over a few recipes on one fold that any session may stop, and any later one continues.

Either a fixed grid, or successive halving (Jamieson and Talwalkar, arXiv 1502.07943): all candidates train for a
quarter of their schedule, the better half of them to a half, the better half of these to the end. No library for
hyperparameter search is used: those keep their trials in a database of their own, and restart a trial that was cut
short. Here a checkpoint resumes at any step with the same bits, so a rung costs only the steps that it adds, a
candidate is a run folder that `train` may continue, and the state of a search is a small file of scores.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imettk.commands.dry_run import duration, plan_fold
from imettk.commands.train import chosen_folds, train
from imettk.commands.validate import validate
from imettk.config import Recipe
from imettk.errors import ConfigError, TrainingError
from imettk.evaluation.standings import compare_candidates, conclude, keep_judged_for_search, table_of
from imettk.experiment.candidates import BASE, Candidate, Search, find_rungs, open_search, require_alike
from imettk.experiment.failures import describe_failure
from imettk.experiment.grid import parse_vary
from imettk.experiment.in_time import longest_validation
from imettk.experiment.prepared import Prepared, choose_compute, read_prepared
from imettk.experiment.teacher import with_teacher
from imettk.progress import say
from imettk.tracking.files import read_json
from imettk.tracking.journal import read_journal, read_sessions
from imettk.tracking.lock import hold_folder
from imettk.tracking.run_dir import RunDir
from imettk.tracking.summary import find_journals, write_fact
from imettk.training.schedule import validated_steps
from imettk.training.session import STEP_LIMIT


@dataclass(frozen=True)
class Request:
    """The options of `try`.

    Attributes:
        vary: such as `stages.0.lr=1e-3,3e-3`; empty to continue the search in the run folder.
        fold: to train; None is fold 0, or that of the search in the run folder.
        halving: judge candidates on the way, and go on with the better half.
        budget: seconds of this session; None for those of the recipe's session.
    """

    vary: tuple[str, ...] = ()
    fold: int | None = None
    halving: bool = False
    budget: float | None = None


@dataclass(frozen=True)
class _Work:
    """A search in this session.

    Attributes:
        recipes: of the candidates, by name.
        prepared: the data, the same for all of them.
        started: when the session began, on `time.monotonic()`.
        end: when nothing may begin any more.
    """

    search: Search
    recipes: dict[str, Recipe]
    data_dir: Path
    run: RunDir
    prepared: Prepared
    started: float
    end: float

    def run_of(self, candidate: Candidate) -> RunDir:
        """Return the run of a candidate, which finds what `prepare` left in the search's own folders."""
        return self.run.run_below(candidate.name)

    def journal_of(self, candidate: Candidate) -> Path:
        """Return the path of a candidate's journal, the longest one if an input has another."""
        run, fold = self.run_of(candidate), self.search.fold
        return find_journals([run.path, *run.inputs]).get(fold, run.path / f"fold{fold}" / "journal.jsonl")

    def validations(self, candidate: Candidate) -> list[dict[str, Any]]:
        """Return the validations of a candidate's training so far."""
        return [event for event in read_journal(self.journal_of(candidate)) if event["event"] == "validate"]

    def seconds(self, candidate: Candidate) -> float:
        """Return the seconds of a candidate's sessions, those that were killed included."""
        return sum(span.end - span.start for span in read_sessions(self.journal_of(candidate)))

    def fits(self, seconds: float = 0.0) -> bool:
        """Return whether something that takes so long may still begin."""
        return time.monotonic() + seconds < self.end

    def save(self) -> None:
        self.search.save(self.run.path)


def search(recipe: Recipe, data_dir: Path, run: RunDir, request: Request, *, started: float) -> list[Path]:
    """Train and score the candidates until done or until the session must end, and print their table.

    Each candidate is a run folder below this one. `search.json` keeps the scores that decide which of them go on. A
    candidate that fails is noted there, and the others go on; the next session tries it again. Only the base must not
    fail, as all are compared with it.

    Args:
        started: when the session began, on `time.monotonic()`.

    Returns:
        The folders of the candidates that were scored in this session.

    Raises:
        ConfigError: a field, a value or the number of recipes is wrong; nothing has been trained then.
        MismatchError: the folder holds another search, or a training.
        MissingFileError: `prepare` has not run.
    """
    limit, margin = recipe.session.limit_seconds, recipe.session.margin_seconds
    budget = _budget(recipe, request)
    vary = parse_vary(request.vary)
    content, grid = open_search(recipe, run, vary, fold=request.fold, halving=request.halving)
    chosen_folds(recipe, content.fold)
    choose_compute(recipe)  # before the data is read: a device that is missing is no candidate's fault
    prepared = read_prepared(recipe, data_dir, run)
    if not len(prepared.rows(content.fold, valid=True)):
        raise ConfigError(f"fold {content.fold} validates no row, so there is nothing to compare candidates by")
    recipes = {candidate.name: made for candidate, (_, made) in zip(content.candidates, grid, strict=True)}
    # To trainings, a budget below their own limit is a session that began earlier: the recipe stays as it is.
    work = _Work(content, recipes, data_dir, run, prepared, started + budget - limit, started + budget - margin)
    _require_rungs(work)
    run.path.mkdir(parents=True, exist_ok=True)
    with hold_folder(run.path):
        run.save_recipe(recipe)
        _forget_faults(work)
        work.save()
        say(f"{len(grid)} candidates on fold {content.fold}, each with a run folder below {run.path}")
        scored = list(_score_all(work)) if _train_all(work) else []
        if any(content.waiting(rung) for rung in range(len(content.rungs))) or content.unscored():
            _tell_left(work)
        else:
            _tell_result(work)
    return scored


def _budget(recipe: Recipe, request: Request) -> float:
    """Return the seconds of this session; raise `ConfigError` if there is no time in them for anything."""
    limit, margin = recipe.session.limit_seconds, recipe.session.margin_seconds
    budget = limit if request.budget is None else request.budget
    if budget <= margin:
        raise ConfigError(
            f"--budget must be more than the {margin:g} s that `session.margin_seconds` keeps free, got {budget:g} s"
        )
    if budget > limit:
        say(
            f"note: --budget is {duration(budget)}, and the session ends after {duration(limit)}: "
            "--session.limit-seconds sets that"
        )
    return min(budget, limit)


def _require_rungs(work: _Work) -> None:
    """Raise `ConfigError` if validations are too rare for candidates to be judged at like shares of their steps."""
    steps = {}
    for name, recipe in work.recipes.items():
        try:
            steps[name] = _rung_steps(work, recipe)
        except Exception:  # its training meets the same fault, which is then noted
            if name == BASE:
                raise
    require_alike(steps, work.search)


def _forget_faults(work: _Work) -> None:
    """Let candidates that failed in an earlier session be tried again, as what they lacked may be there now."""
    for candidate in work.search.candidates:
        if candidate.fault is not None:
            say(f"{candidate.name} failed in an earlier session and is tried again: {candidate.fault}")
            candidate.fault = None


def _rung_steps(work: _Work, recipe: Recipe) -> list[int]:
    # With pseudo labels as the fold has them: rows of which it is unsure make no steps.
    learned, _ = with_teacher(recipe, work.prepared, work.search.fold)
    spans = plan_fold(recipe, work.prepared, work.search.fold, distilled=learned)
    return find_rungs(validated_steps(spans, recipe.train.validate_epochs), work.search.rungs)


def _train_all(work: _Work) -> bool:
    """Train rung by rung; return False if the session has to end before all is trained."""
    for rung, share in enumerate(work.search.rungs):
        for candidate in work.search.waiting(rung):
            if not work.fits():
                return False
            say(f"{candidate.title}: up to {share:.0%} of its steps")
            try:
                score = _advance(work, candidate, rung)
            except Exception as error:
                _note_fault(work, candidate, error)
                continue
            if score is None:
                return False
            candidate.scores.append(score)
            work.save()
    return True


def _advance(work: _Work, candidate: Candidate, rung: int) -> float | None:
    """Train a candidate up to a rung, and return its score there; None if the session ended before."""
    recipe, run, fold = work.recipes[candidate.name], work.run_of(candidate), work.search.fold
    step = _rung_steps(work, recipe)[rung]
    until = step if work.search.rungs[rung] < 1 else None
    train(recipe, work.data_dir, run, fold=fold, started=work.started, until_step=until)
    status = read_json(run.fold(fold) / "status.json") or {}
    # Another reason at this very step may mean that there was no time left for its validation.
    is_there = until is not None and status.get("step", 0) >= until and status.get("reason") == STEP_LIMIT
    if not is_there and fold not in run.trained_folds():
        return None
    # The last one up to the rung: an early stop of a stage moves the steps of those that follow.
    scores = [event["score"] for event in work.validations(candidate) if event["step"] <= step]
    if not scores:
        raise TrainingError(f"{work.journal_of(candidate)} has no validation up to step {step}")
    return float(scores[-1])


def _score_all(work: _Work) -> Iterator[Path]:
    """Score the candidates that are trained to the end, as far as time allows; yield the folder of each."""
    for candidate in work.search.unscored():
        recipe, run = work.recipes[candidate.name], work.run_of(candidate)
        if not work.fits(longest_validation(run, work.search.fold, recipe) * len(recipe.predict.views)):
            return
        say(f"{candidate.title}:")
        try:
            validate(recipe, work.data_dir, run, fold=work.search.fold)
        except Exception as error:
            _note_fault(work, candidate, error)
            continue
        write_fact(run.path, "note", text=candidate.title)
        keep_judged_for_search(run)
        candidate.score = float(read_json(run.path / "scores.json", needs=("oof",))["oof"])
        work.save()
        yield run.path


def _note_fault(work: _Work, candidate: Candidate, error: Exception) -> None:
    """Note that a candidate failed; raise the error again if the search cannot go on without it."""
    fault = describe_failure(error)
    if candidate.name == BASE or fault is None:
        raise error
    candidate.fault = fault
    work.save()
    say(f"{candidate.name} failed: {fault}")


def _tell_left(work: _Work) -> None:
    """Print how far each candidate has come, and how to continue."""
    for candidate in work.search.candidates:
        say(f"  {work.search.state(candidate):<16} {candidate.title}")
    words = ["imettk", "try", "--data", str(work.data_dir), "--run-dir", str(work.run.path)]
    inputs = ["--inputs", *map(str, work.run.inputs)] if work.run.inputs else []
    say(f"the search is paused; `{shlex.join([*words, *inputs])}` continues")


def _tell_result(work: _Work) -> None:
    """Print the table of all candidates, why some failed, and the conclusion."""
    candidates, scorer = work.search.candidates, work.recipes[BASE].scorer
    runs = {candidate.name: work.run_of(candidate) for candidate in candidates}
    seconds = {candidate.name: work.seconds(candidate) for candidate in candidates}
    standings = compare_candidates(work.search, scorer, runs)
    say(table_of(work.search, standings, scorer.title, seconds))
    for candidate in candidates:
        if candidate.fault is not None:
            say(f"{candidate.name} failed: {candidate.fault}")
    for fault in standings.faults:
        say(f"note: {fault}")
    for line in conclude(standings, runs[standings.best], work.data_dir, seconds):
        say(line)
