"""The log of all runs: an MLflow store with SQLite, which can be rebuilt from the run folders at any time.

A run of imettk is a run of MLflow. What its weights depend on are parameters, which MLflow never changes; the rest of
the recipe and the folder are tags; curves and scores are metrics, named by their fold (`fold0/train/loss`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imettk.config import WEIGHT_SECTIONS
from imettk.config.fields import leaves
from imettk.errors import DataError, MismatchError, UserError
from imettk.extras import how_to_install
from imettk.progress import say
from imettk.tracking.lock import hold_folder
from imettk.tracking.summary import RunSummary

DATABASE = "mlflow.db"
EXPERIMENT = "imettk"
# Limits of MLflow.
_BATCH, _SMALL_BATCH = 1000, 100  # metrics, and parameters or tags, in one call
_MAX_VALUE = 5000  # characters of a value


@dataclass(frozen=True)
class Entry:
    """A run in the log.

    Attributes:
        name: 6 hex digits.
        started: start of its first fold, in seconds since the epoch.
        recipe: dotted name of each field -> its value as text.
        metrics: name -> last value.
        tags: imettk's own tags, without their prefix.
    """

    name: str
    started: float
    recipe: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]


class Ledger:
    """A store in a folder; made by `open_ledger`, which locks the folder.

    Args:
        way: another path to the folder, without characters that a URI would misread.

    Raises:
        UserError: MLflow is not installed.
        DataError: the database is damaged, or not a log of imettk.
    """

    def __init__(self, folder: Path, way: Path | None = None) -> None:
        self.path = folder / DATABASE
        self._client = _open(self.path, way or folder)
        known = self._client.get_experiment_by_name(EXPERIMENT)
        artifacts = (folder / "artifacts").resolve().as_uri()
        self._experiment = known.experiment_id if known else self._client.create_experiment(EXPERIMENT, artifacts)

    def take(self, run: RunSummary) -> str:
        """Import a run, or what is new in it; return "new", "more", or "nothing new".

        A fold is recognised by the time at which it began. A copy older than what was imported adds nothing.
        """
        stored = self._find(run)
        if stored is None:
            facts = {"run_name": run.recipe.name, "start_time": int(1000 * run.started)}
            stored = self._client.create_run(self._experiment, **facts, tags={"imettk.name": run.name})
            verdict = "new"
        else:
            lines = {fold: int(stored.data.tags.get(f"imettk.fold{fold}.lines", 0)) for fold in run.folds}
            if any(summary.lines < lines[fold] for fold, summary in run.folds.items()):
                return "nothing new"
            verdict = "nothing new"
            if run.folds and stored.data.tags.get("imettk.name") == run.name_before_training:
                # The run was imported before its training began; a rebuilt log would know it by this name.
                self._client.set_tag(stored.info.run_id, "imettk.name", run.name)
        self._recipe(stored, run)
        points = self._curves(stored, run) + self._scores(stored, run)
        for first in range(0, len(points), _BATCH):
            self._client.log_batch(stored.info.run_id, metrics=points[first : first + _BATCH])
        tags = {name: value for name, value in _tags(run).items() if stored.data.tags.get(name) != value}
        # Tags hold the length of each journal, so they come last: after a kill the next import starts over.
        for name, value in tags.items():
            self._client.set_tag(stored.info.run_id, name, value)
        return "more" if verdict != "new" and (points or tags) else verdict

    def entries(self) -> list[Entry]:
        """Return every run, the oldest first."""
        return sorted((_entry(run) for run in self._runs()), key=lambda entry: entry.started)

    def _runs(self) -> Iterator[Any]:
        """Yield every stored run, page by page."""
        token = None
        while True:
            page = self._client.search_runs([self._experiment], max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _find(self, run: RunSummary) -> Any:
        """Return the stored run that has a fold with the same start, or that was imported from this folder untrained.

        Raises:
            MismatchError: one fold has the same start and another has not: the folder mixes two trainings.
        """
        starts = {f"imettk.fold{fold}.started": repr(summary.started) for fold, summary in run.folds.items()}
        for stored in self._runs():
            tags = stored.data.tags
            if tags.get("imettk.fingerprint") not in (None, run.fingerprint):
                continue
            if not starts:
                if tags.get("imettk.name") == run.name:
                    return stored
                continue
            same = [name for name, value in starts.items() if tags.get(name) == value]
            other = [name for name, value in starts.items() if tags.get(name, value) != value]
            if same and other:
                fold = other[0].split(".")[1]
                raise MismatchError(
                    f"{run.folder}: {fold} is not the training that {tags.get('imettk.folder')} has, although other "
                    "folds are: keep only one of the two folders"
                )
            if same or tags.get("imettk.name") in (run.name, run.name_before_training):
                return stored
        return None

    def _recipe(self, stored: Any, run: RunSummary) -> None:
        """Store the recipe: fields that the weights depend on as parameters, others as tags, which may change."""
        from mlflow.entities import Param, RunTag

        fields = {name: str(value)[:_MAX_VALUE] for name, value in leaves(run.recipe) if name != "source_sha256"}
        fixed = {name: value for name, value in fields.items() if name.split(".")[0] in WEIGHT_SECTIONS}
        others = {f"recipe.{name}": value for name, value in fields.items() if name not in fixed}
        data = stored.data
        params = [Param(name, value) for name, value in fixed.items() if name not in data.params]
        tags = [RunTag(name, value) for name, value in others.items() if data.tags.get(name) != value]
        for first in range(0, max(len(params), len(tags)), _SMALL_BATCH):
            part = slice(first, first + _SMALL_BATCH)
            self._client.log_batch(stored.info.run_id, params=params[part], tags=tags[part])

    def _curves(self, stored: Any, run: RunSummary) -> list[Any]:
        """Return the points beyond the last stored step; a session that repeats earlier steps repeats their values."""
        from mlflow.entities import Metric

        points = []
        for fold, summary in run.folds.items():
            for name, curve in summary.curves.items():
                key = f"fold{fold}/{name}"
                last = -1
                if key in stored.data.metrics:
                    last = max(point.step for point in self._client.get_metric_history(stored.info.run_id, key))
                points += [Metric(key, value, int(1000 * when), step) for when, step, value in curve if step > last]
        return points

    def _scores(self, stored: Any, run: RunSummary) -> list[Any]:
        """Return the scores and totals of the run that have changed."""
        from mlflow.entities import Metric

        lb = run.facts.get("lb", {})
        values = {
            "sessions": sum(summary.sessions for summary in run.folds.values()),
            "hours": round(sum(summary.hours for summary in run.folds.values()), 6),
            "folds_done": sum(summary.step == summary.num_steps for summary in run.folds.values()),
            "oof": run.scores.get("oof"),
            "test": run.scores.get("test"),
            "lb_public": lb.get("public"),
            "lb_private": lb.get("private"),
            **{f"fold{fold}/score": value for fold, value in run.scores.get("folds", {}).items()},
        }
        for part, scores in run.scores.get("parts", {}).items():
            # MLflow allows only these characters in a name.
            values |= {re.sub(r"[^\w. -]", "_", part) + f"/{name}": value for name, value in scores.items()}
        low, high = run.scores.get("interval") or (None, None)
        values |= {"oof_low": low, "oof_high": high}
        if jobs := run.chain.get("jobs"):
            values["gpu_hours"] = sum(job["seconds"] for job in jobs if job["gpu"]) / 3600
        now = int(1000 * time.time())  # MLflow shows the value with the latest time
        known = stored.data.metrics
        return [
            Metric(name, float(value), now, 0)
            for name, value in values.items()
            if value is not None and known.get(name) != float(value)
        ]


@contextlib.contextmanager
def open_ledger(folder: Path) -> Iterator[Ledger]:
    """Open the log in a folder, after making it if it is missing, and lock the folder.

    Raises:
        BusyError: another process has it open.
        UserError, DataError: as `Ledger` does.
        OSError: it cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with hold_folder(folder), _plain_way(folder) as way, _one_line(folder / DATABASE):
        yield Ledger(folder, way)


def find_entry(entries: Sequence[Entry], name: str) -> Entry:
    """Return the run whose name begins like this; raise `UserError` unless there is exactly one."""
    matches = [entry for entry in entries if entry.name.startswith(name)]
    if not matches:
        names = ", ".join(entry.name for entry in entries) or "none"
        raise UserError(f"no run has a name that begins with {name!r} (runs: {names})")
    if len(matches) > 1:
        names = ", ".join(entry.name for entry in matches)
        raise UserError(f"several runs have names that begin with {name!r}: {names}")
    return matches[0]


def _open(path: Path, way: Path) -> Any:
    """Return MLflow's client for the database; `path` is its name in messages."""
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    try:
        from mlflow.tracking import MlflowClient
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: {how_to_install('log', 'mlflow')}") from None
    for name in ("mlflow", "alembic"):  # they log every table that they create
        logging.getLogger(name).setLevel(logging.WARNING)
    if not path.exists():
        say(f"creating {path}, which takes some seconds")
    try:
        return MlflowClient(f"sqlite:///{(way / DATABASE).absolute()}")
    except Exception as error:  # from MLflow, alembic, SQLAlchemy or SQLite
        reason = str(error).splitlines()[0]
        if any(words in reason for words in ("disk", "readonly", "unable to open")):  # the machine's fault, says SQLite
            raise OSError(f"{path} cannot be read or written ({reason})") from None
        raise DataError(f"{path} is not a log of imettk ({reason}): give another one") from None


@contextlib.contextmanager
def _plain_way(folder: Path) -> Iterator[Path]:
    """Yield a path to the folder that no URI misreads: a link if the folder's own path has a special character.

    Quoting is no way out: some versions of SQLAlchemy, and parts of MLflow, do not unquote.
    """
    if not set(str(folder.absolute())) & set("%?#"):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="imettk-log-") as place:
        link = Path(place, "log")
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link


@contextlib.contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Turn what MLflow and the libraries below it raise into an `OSError` with one line."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("mlflow", "alembic", "sqlalchemy", "sqlite3"):
            raise
        reason = next((line for line in str(error).splitlines() if "sqlite3" in line), str(error).splitlines()[0])
        raise OSError(f"{path} cannot be read or written ({reason})") from error


def _tags(run: RunSummary) -> dict[str, str]:
    """Return the tags of a run: what identifies it, facts that are not numbers, and the lengths of its journals."""
    tags = {
        "imettk.fingerprint": run.fingerprint,
        "imettk.folder": str(run.folder),
        "imettk.metric": run.scores.get("metric", ""),
        "imettk.code": " ".join(dict.fromkeys(code for summary in run.folds.values() for code in summary.codes)),
        "imettk.pack": run.chain.get("pack", ""),
        "imettk.kernels": " ".join(run.kernels)[:_MAX_VALUE],
        "imettk.note": run.facts.get("note", {}).get("text", ""),
    }
    for fold, summary in run.folds.items():
        # `repr` keeps every digit of the time, by which the fold is recognised.
        tags |= {f"imettk.fold{fold}.started": repr(summary.started), f"imettk.fold{fold}.lines": str(summary.lines)}
    return {name: value for name, value in tags.items() if value or name == "imettk.note"}


def _entry(stored: Any) -> Entry:
    """Return a stored run as plain values."""
    tags = dict(stored.data.tags)
    others = {name.removeprefix("recipe."): value for name, value in tags.items() if name.startswith("recipe.")}
    return Entry(
        name=tags.get("imettk.name", ""),
        started=stored.info.start_time / 1000,
        recipe={**dict(stored.data.params), **others},
        metrics=dict(stored.data.metrics),
        tags={name[7:]: value for name, value in tags.items() if name.startswith("imettk.")},
    )
