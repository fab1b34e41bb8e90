"""The log of all runs: an MLflow store with SQLite, made from run folders and made again from them at any time.

A run of imettk is a run there: what its weights depend on as parameters, the rest of the recipe and where it is as
tags, curves and scores as metrics with the fold in front (`fold0/train/loss`), so that folds share a chart.
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
from imettk.progress import say
from imettk.tracking.lock import hold_folder
from imettk.tracking.summary import RunSummary

DATABASE = "mlflow.db"
EXPERIMENT = "imettk"
_BATCH = 1000  # metrics in one call; 100 of parameters and tags
_MAX_VALUE = 5000  # characters of a value


@dataclass(frozen=True)
class Entry:
    """A run in the log.

    Attributes:
        name: 6 hex digits.
        recipe: every field as text, by its dotted name.
        metrics: the last value of each.
        tags: what else is known, by its name without the prefix.
    """

    name: str
    started: float
    recipe: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]


class Ledger:
    """A store in a folder, held by this process alone while it is open.

    Args:
        way: to the same folder, by a name that a URI takes as it is.

    Raises:
        UserError: MLflow is missing.
        BusyError: another process writes there.
        DataError: the database is of something else, or damaged.
    """

    def __init__(self, folder: Path, way: Path | None = None) -> None:
        self.path = folder / DATABASE
        self._client = _open(self.path, way or folder)
        found = self._client.get_experiment_by_name(EXPERIMENT)
        artifacts = (folder / "artifacts").resolve().as_uri()
        self._experiment = found.experiment_id if found else self._client.create_experiment(EXPERIMENT, artifacts)

    def take(self, run: RunSummary) -> str:
        """Bring a run in, or what is new of it; "new", "more", or "nothing new".

        A fold is recognised by the moment when it began. A copy that is older than what was taken gives nothing.
        """
        stored = self._find(run)
        if stored is None:
            words = {"run_name": run.recipe.name, "start_time": int(1000 * run.started)}
            stored = self._client.create_run(self._experiment, **words, tags={"imettk.name": run.name})
            verdict = "new"
        else:
            lines = {fold: int(stored.data.tags.get(f"imettk.fold{fold}.lines", 0)) for fold in run.folds}
            if any(one.lines < lines[fold] for fold, one in run.folds.items()):
                return "nothing new"
            verdict = "nothing new"
            if run.folds and stored.data.tags.get("imettk.name") == run.name_before_training:
                self._client.set_tag(stored.info.run_id, "imettk.name", run.name)  # as a log made anew would have it
        self._recipe(stored, run)
        points = self._curves(stored, run) + self._scores(stored, run)
        for first in range(0, len(points), _BATCH):
            self._client.log_batch(stored.info.run_id, metrics=points[first : first + _BATCH])
        tags = {name: value for name, value in _tags(run).items() if stored.data.tags.get(name) != value}
        for name, value in tags.items():  # last: a kill before it makes the next import look at everything again
            self._client.set_tag(stored.info.run_id, name, value)
        return "more" if verdict != "new" and (points or tags) else verdict

    def entries(self) -> list[Entry]:
        """Every run, the oldest first."""
        return sorted((_entry(run) for run in self._runs()), key=lambda entry: entry.started)

    def _runs(self) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment], max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _find(self, run: RunSummary) -> Any:
        """The run of which some fold began at the same moment, or that was taken in of this folder before any did.

        Raises:
            MismatchError: another fold of it began at another moment: two trainings lie in one folder.
        """
        starts = {f"imettk.fold{fold}.started": repr(one.started) for fold, one in run.folds.items()}
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
                    f"{run.folder}: {fold} is another training than in {tags.get('imettk.folder')}, and the other "
                    "folds are the same: keep only one of the two folders"
                )
            if same or tags.get("imettk.name") in (run.name, run.name_before_training):
                return stored
        return None

    def _recipe(self, stored: Any, run: RunSummary) -> None:
        """Parameters never change, as the weights depend on them; the rest of a recipe may."""
        from mlflow.entities import Param, RunTag

        fields = {name: str(value)[:_MAX_VALUE] for name, value in leaves(run.recipe) if name != "source_sha256"}
        fixed = {name: value for name, value in fields.items() if name.split(".")[0] in WEIGHT_SECTIONS}
        others = {f"recipe.{name}": value for name, value in fields.items() if name not in fixed}
        data = stored.data
        params = [Param(name, value) for name, value in fixed.items() if name not in data.params]
        tags = [RunTag(name, value) for name, value in others.items() if data.tags.get(name) != value]
        for first in range(0, max(len(params), len(tags)), 100):
            part = slice(first, first + 100)
            self._client.log_batch(stored.info.run_id, params=params[part], tags=tags[part])

    def _curves(self, stored: Any, run: RunSummary) -> list[Any]:
        """Points beyond those that are there: a session that repeats steps repeats their values."""
        from mlflow.entities import Metric

        points = []
        for fold, one in run.folds.items():
            for name, curve in one.curves.items():
                key = f"fold{fold}/{name}"
                last = -1
                if key in stored.data.metrics:
                    last = max(point.step for point in self._client.get_metric_history(stored.info.run_id, key))
                points += [Metric(key, value, int(1000 * when), step) for when, step, value in curve if step > last]
        return points

    def _scores(self, stored: Any, run: RunSummary) -> list[Any]:
        """Values of the run as a whole that have changed."""
        from mlflow.entities import Metric

        lb = run.facts.get("lb", {})
        values = {
            "sessions": sum(one.sessions for one in run.folds.values()),
            "hours": round(sum(one.hours for one in run.folds.values()), 6),
            "folds_done": sum(one.step == one.num_steps for one in run.folds.values()),
            "oof": run.scores.get("oof"),
            "test": run.scores.get("test"),
            "lb_public": lb.get("public"),
            "lb_private": lb.get("private"),
            **{f"fold{fold}/score": value for fold, value in run.scores.get("folds", {}).items()},
        }
        for part, scores in run.scores.get("parts", {}).items():
            # MLflow takes no other signs.
            values |= {re.sub(r"[^\w. -]", "_", part) + f"/{name}": value for name, value in scores.items()}
        low, high = run.scores.get("interval") or (None, None)
        values |= {"oof_low": low, "oof_high": high}
        if jobs := run.chain.get("jobs"):
            values["gpu_hours"] = sum(job["seconds"] for job in jobs if job["gpu"]) / 3600
        now = int(1000 * time.time())  # of several values of a step MLflow shows the one of the latest time
        before = stored.data.metrics
        return [
            Metric(name, float(value), now, 0)
            for name, value in values.items()
            if value is not None and before.get(name) != float(value)
        ]


@contextlib.contextmanager
def open_ledger(folder: Path) -> Iterator[Ledger]:
    """The log of this folder, made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    with hold_folder(folder), _plain_way(folder) as way, _one_line(folder / DATABASE):
        yield Ledger(folder, way)


def find_entry(entries: Sequence[Entry], name: str) -> Entry:
    """The run with this name or beginning of a name; `UserError` where it is not there or not the only one."""
    found = [entry for entry in entries if entry.name.startswith(name)]
    if len(found) != 1:
        names = ", ".join(entry.name for entry in (found or entries)) or "none"
        raise UserError(f"{'several runs are' if found else 'no run is'} named {name!r} (there: {names})")
    return found[0]


def _open(path: Path, way: Path) -> Any:
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    try:
        from mlflow.tracking import MlflowClient
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: `pip install imettk[log]`") from None
    for name in ("mlflow", "alembic"):  # they tell of every table that they make
        logging.getLogger(name).setLevel(logging.WARNING)
    if not path.exists():
        say(f"making {path}, which takes some seconds")
    try:
        return MlflowClient(f"sqlite:///{(way / DATABASE).absolute()}")
    except Exception as error:  # of MLflow, alembic, SQLAlchemy or SQLite
        reason = str(error).splitlines()[0]
        if any(words in reason for words in ("disk", "readonly", "unable to open")):  # SQLite's, of the machine
            raise OSError(f"{path} cannot be read or written ({reason})") from None
        raise DataError(f"{path} is no log of imettk ({reason}): give another one") from None


@contextlib.contextmanager
def _plain_way(folder: Path) -> Iterator[Path]:
    """A way to the folder that no URI misreads: by a link, where its name has a letter that means something there.

    Quoted, it would be read as it is by some versions of SQLAlchemy, and by parts of MLflow.
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
    """What MLflow and the libraries below it raise while they read or write, as an `OSError` with one line."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("mlflow", "alembic", "sqlalchemy", "sqlite3"):
            raise
        reason = next((line for line in str(error).splitlines() if "sqlite3" in line), str(error).splitlines()[0])
        raise OSError(f"{path} cannot be read or written ({reason})") from error


def _tags(run: RunSummary) -> dict[str, str]:
    """By which a run is recognised, what no number says, and how much of it is here."""
    tags = {
        "imettk.fingerprint": run.fingerprint,
        "imettk.folder": str(run.folder),
        "imettk.metric": run.scores.get("metric", ""),
        "imettk.code": " ".join(dict.fromkeys(code for one in run.folds.values() for code in one.codes)),
        "imettk.pack": run.chain.get("pack", ""),
        "imettk.kernels": " ".join(run.kernels)[:_MAX_VALUE],
        "imettk.note": run.facts.get("note", {}).get("text", ""),
    }
    for fold, one in run.folds.items():
        tags |= {f"imettk.fold{fold}.started": repr(one.started), f"imettk.fold{fold}.lines": str(one.lines)}
    return {name: value for name, value in tags.items() if value or name == "imettk.note"}


def _entry(stored: Any) -> Entry:
    tags = dict(stored.data.tags)
    others = {name.removeprefix("recipe."): value for name, value in tags.items() if name.startswith("recipe.")}
    return Entry(
        name=tags.get("imettk.name", ""),
        started=stored.info.start_time / 1000,
        recipe={**dict(stored.data.params), **others},
        metrics=dict(stored.data.metrics),
        tags={name[7:]: value for name, value in tags.items() if name.startswith("imettk.")},
    )
