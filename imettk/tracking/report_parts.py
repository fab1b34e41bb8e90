"""One run as its report shows it: facts, charts, tables and pictures, each read by itself.

A report is most needed when something went wrong, so a file that is missing or damaged is named and the rest is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from imettk.config import Recipe, fingerprint, read_recipe, to_json
from imettk.errors import MissingFileError, UserError
from imettk.pictures.charts import Line, Span, draw_lines, draw_scores, draw_shares, draw_time_line
from imettk.tracking.files import read_json
from imettk.tracking.journal import read_sessions
from imettk.tracking.report_charts import confusion_chart, probability_charts, threshold_charts, value_charts
from imettk.tracking.report_facts import Fact, noted_facts, score_facts, training_facts
from imettk.tracking.report_pictures import gallery, worst_errors
from imettk.tracking.report_tables import confused_classes, gain_tables, label_table, member_table, part_tables
from imettk.tracking.run_dir import CURVES, ERRORS, LABEL_SCORES, RunDir
from imettk.tracking.summary import CHAIN, FACTS, FoldSummary, RunSummary, find_journals, read_facts, summarise_fold

GALLERIES = ("ranking_worst.json", "ranking_some.json", "label_conflicts.json")
COUNTS = {"true": "true", "expected": "before the rule (sum of probabilities)", "chosen": "after the rule (answers)"}
CURVE_TITLES = {
    "train/loss": "Training loss",
    "validate/score": "Validation score while training",
    "validate/loss": "Validation loss",
    "train/lr": "Learning rate (the highest of all parameter groups)",
}
AXES = {"train/loss": "loss", "validate/loss": "loss", "train/lr": "learning rate"}  # the score's is the metric's name


def metric_title(scores: dict[str, Any]) -> str:
    """Return the metric's name in print; version 0.1.0 wrote only `metric`.

    Args:
        scores: the content of `scores.json`.
    """
    return str(scores.get("title") or scores["metric"])


def draw_fold_scores(scores: dict[str, Any]) -> str:
    """Draw the score of each fold and, with its interval, of all rows out of fold, as SVG; the argument as above."""
    folds, oof = scores["folds"], scores["oof"]
    names = [*(f"fold {fold}" for fold in folds), "OOF"]
    return draw_scores(names, [*folds.values(), oof], [None] * len(folds) + [scores.get("interval")])


class Parts:
    """A run, read once; every attribute is ready for the page.

    Attributes:
        metric: the metric's name in print.
        faults: what is missing or damaged, a line each.
    """

    def __init__(self, folder: Path, inputs: Sequence[Path] = ()) -> None:
        self.folder, self.name = folder, folder.resolve().name
        self._run = RunDir(folder, inputs)
        self.faults: list[str] = []
        self.recipe: Recipe | None = self._try("recipe.json", lambda: read_recipe(self._path("recipe.json")), "prepare")
        self.scores: dict[str, Any] = self._read("scores.json", "validate") or {}
        self.metric: str = self._try("scores.json", self._metric_title) or "score"
        self._ensemble: dict[str, Any] = self._read("ensemble.json") or {}
        self.folds = self._read_folds(find_journals([folder, *inputs]))
        self.summary = self._summary()
        self.facts = self._facts()
        self.time_line = self._try("fold*/journal.jsonl", self._time_line)
        self.fold_scores = self._try("scores.json", self._fold_scores)
        self.curves = self._try("fold*/journal.jsonl", self._curves) or []
        self._frame: pd.DataFrame | None = self._try(LABEL_SCORES, self._label_frame)
        curves, errors = self._read(CURVES) or {}, self._read(ERRORS) or {}
        oof = self._try("scores.json", self._oof) or ""
        self.probabilities = self._try(CURVES, lambda: probability_charts(curves, oof)) or []
        self.decisions = self._join(
            {CURVES: lambda: threshold_charts(curves) + value_charts(curves), LABEL_SCORES: self._shares}
        )
        self.confusion = self._try(CURVES, lambda: confusion_chart(curves))
        self.confused = self._try(CURVES, lambda: confused_classes((curves.get("confusion") or {}).get("pairs")))
        if self.confused is None:  # version 0.1.0 kept them with the errors
            self.confused = self._try(ERRORS, lambda: confused_classes(errors.get("confused")))
        frame = self._frame
        self.labels = None if frame is None else self._try(LABEL_SCORES, partial(label_table, frame))
        self.gains = self._join(
            {
                "scores.json": lambda: part_tables(self.scores) + gain_tables(self.scores, self.metric),
                "ensemble.json": lambda: member_table(self._ensemble, self.metric),
            }
        )
        self.errors = self._try(ERRORS, lambda: worst_errors(errors)) if errors else None
        galleries = {name: content for name in GALLERIES if (content := self._read(name)) is not None}
        shown = [self._try(name, partial(gallery, content)) for name, content in galleries.items()]
        self.galleries = [content for content in shown if content]

    @property
    def title(self) -> str:
        """The recipe's name and the run's own name in the log."""
        if self.recipe is None:
            return self.name
        return f"{self.recipe.name} {self.summary.name if self.summary else ''}".strip()

    @property
    def label_word(self) -> str:
        """The word for a column of the answers: a label, or the target of a number."""
        return "target" if self.recipe is not None and self.recipe.task.numeric else "label"

    @property
    def decides(self) -> bool:
        """True if there is anything to show about decisions."""
        return bool(self.decisions or self.confusion or self.confused)

    @property
    def recipe_json(self) -> str:
        return "" if self.recipe is None else to_json(self.recipe)

    def _path(self, name: str) -> Path:
        return self._run.find_optional(name) or self.folder / name

    def _try(self, what: str, read: Callable[[], Any], written_by: str | None = None) -> Any:
        """Return what `read` returns; None if it fails, after noting the fault.

        Args:
            what: the file that is read, for the note.
            written_by: the command that writes it; None if a run may do without it.
        """
        try:
            return read()
        except MissingFileError:
            if written_by is not None:
                self.faults.append(f"{what} is missing: `imettk {written_by}` writes it")
        except UserError as error:
            self.faults.append(str(error))
        except Exception as error:  # a damaged file can be wrong in any way
            if (fault := f"{what} is damaged ({type(error).__name__}: {error})") not in self.faults:
                self.faults.append(fault)
        return None

    def _join(self, parts: dict[str, Callable[[], list[Any]]]) -> list[Any]:
        """Return lists that are read from several files as one list, without those that cannot be read."""
        return [item for what, read in parts.items() for item in self._try(what, read) or []]

    def _read(self, name: str, written_by: str | None = None) -> Any:
        """Read a JSON file; arguments as of `_try`."""

        def read() -> Any:
            content = read_json(self._path(name))
            if content is None:
                raise MissingFileError(name)
            if not isinstance(content, dict):
                raise TypeError("no object")
            return content

        return self._try(name, read, written_by)

    def _read_folds(self, journals: dict[int, Path]) -> dict[int, FoldSummary]:
        """Read the journals; an ensemble has none and needs none."""
        if not journals and not self._ensemble:
            self.faults.append("fold*/journal.jsonl is missing: `imettk train` writes it")
        return {
            fold: summary
            for fold, path in journals.items()
            if (summary := self._try(str(path), partial(summarise_fold, path))) is not None
        }

    def _summary(self) -> RunSummary | None:
        """Return what the log knows of a run, read piece by piece: `summarise` fails with its first damaged file."""
        if self.recipe is None:
            return None
        facts = self._try(FACTS, lambda: read_facts(self.folder)) or {}
        chain = self._read(CHAIN) or {}
        return RunSummary(self.folder, self.recipe, fingerprint(self.recipe), self.folds, self.scores, facts, chain)

    def _facts(self) -> list[Fact]:
        """Return the facts of the run, the scores first."""
        run = self.summary
        return self._join(
            {
                "scores.json": lambda: score_facts(self.scores, self.metric),
                FACTS: lambda: [] if run is None else noted_facts(run.facts),
                "fold*/journal.jsonl": lambda: training_facts(run, self.folds.values()),
                CHAIN: lambda: [Fact("kernels", ", ".join(run.kernels))] if run and run.kernels else [],
                "folder": lambda: [Fact("folder", str(self.folder))],
            }
        )

    def _metric_title(self) -> str | None:
        return metric_title(self.scores) if self.scores else None

    def _oof(self) -> str:
        """Return the out-of-fold score in words; "" before `validate`."""
        return f"OOF {self.metric} {self.scores['oof']:.4f}" if self.scores else ""

    def _time_line(self) -> str | None:
        if not self.folds:
            return None
        rows = {f"fold {fold}": read_sessions(summary.journal) for fold, summary in self.folds.items()}
        for sessions in rows.values():
            if sessions[-1].state == "killed":  # a journal without an end looks the same while the session still runs
                sessions[-1] = sessions[-1]._replace(state="killed or running")
        start = min(session.start for sessions in rows.values() for session in sessions)
        return draw_time_line(
            {
                name: [Span(session.start - start, session.end - start, session.state) for session in sessions]
                for name, sessions in rows.items()
            }
        )

    def _fold_scores(self) -> str | None:
        return draw_fold_scores(self.scores) if self.scores else None

    def _curves(self) -> list[tuple[str, str]]:
        """Return titles and charts of losses, scores and rates over the steps of all sessions."""
        charts = []
        for key, title in CURVE_TITLES.items():
            lines = []
            for fold, summary in self.folds.items():
                if points := summary.curves.get(key):
                    _, steps, values = zip(*points, strict=True)
                    lines.append(Line(f"fold {fold}", steps, values, marked=key.startswith("validate")))
            if lines:
                axis = AXES.get(key, self.metric)
                charts.append((title, draw_lines(lines, x="step", y=axis, log=key == "train/lr", whole=True)))
        return charts

    def _shares(self) -> list[tuple[str, str]]:
        """Return title and chart of how often each label is true and answered."""
        frame = self._frame
        if frame is None or not {"true", "chosen"} <= set(frame):
            return []
        shares = {text: frame[name].to_numpy(float) for name, text in COUNTS.items() if name in frame}
        labels = frame["name"].fillna(frame["label"]) if "name" in frame else frame["label"]
        return [("Rows of each label", draw_shares(labels.tolist(), shares))]

    def _label_frame(self) -> pd.DataFrame | None:
        path = self._path(LABEL_SCORES)
        if not path.is_file():
            return None
        texts = dict.fromkeys(("label", "name", "group"), str)  # labels such as 007 or NA stay what they are
        frame = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""])
        return frame.assign(label=frame["label"].fillna(""))
