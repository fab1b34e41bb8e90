"""What a run folder holds for its report: facts, charts, tables and pictures, each read by itself.

What is missing or damaged is named, and the rest is shown all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imettk.config import Recipe, fingerprint, read_recipe, to_json
from imettk.errors import MissingFileError, UserError
from imettk.pictures.charts import Line, Span, draw_lines, draw_scores, draw_shares, draw_time_line
from imettk.tracking.files import read_json
from imettk.tracking.journal import read_sessions
from imettk.tracking.report_charts import (
    confused_classes,
    confusion_chart,
    part_tables,
    probability_charts,
    threshold_charts,
    value_charts,
)
from imettk.tracking.report_pictures import gallery, worst_errors
from imettk.tracking.run_dir import CURVES, ERRORS, LABEL_SCORES, RunDir
from imettk.tracking.summary import CHAIN, FACTS, FoldSummary, RunSummary, find_journals, read_facts, summarise_fold

MOST_LABELS = 1500  # rows of the table on the page
GALLERIES = ("ranking_worst.json", "ranking_some.json", "label_conflicts.json")
COUNTS = {"true": "true", "expected": "before the rule (sum of probabilities)", "chosen": "after the rule (answers)"}
CURVE_TITLES = {
    "train/loss": "Training loss",
    "validate/score": "Validation score while training",
    "validate/loss": "Validation loss",
    "train/lr": "Learning rate (largest of the groups)",
}


class Parts:
    """One run as its report shows it.

    Attributes:
        metric: what the metric is called in print.
        faults: what is missing or damaged, a line each.
    """

    def __init__(self, folder: Path, inputs: Sequence[Path] = ()) -> None:
        self.folder, self.name = folder, folder.resolve().name
        self._run = RunDir(folder, inputs)
        self.faults: list[str] = []
        self.recipe: Recipe | None = self._try("recipe.json", lambda: read_recipe(self._path("recipe.json")), "prepare")
        self.scores: dict[str, Any] = self._read("scores.json", "validate") or {}
        self.metric: str = self._try("scores.json", self._name_of_metric) or "score"
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
        self.labels = self._try(LABEL_SCORES, self._labels)
        self.gains = self._join({"scores.json": self._gains, "ensemble.json": self._members})
        self.errors = self._try(ERRORS, lambda: worst_errors(errors)) if errors else None
        galleries = {name: content for name in GALLERIES if (content := self._read(name)) is not None}
        shown = [self._try(name, partial(gallery, content)) for name, content in galleries.items()]
        self.galleries = [found for found in shown if found]

    @property
    def title(self) -> str:
        """The recipe's name and the run's own."""
        if self.recipe is None:
            return self.name
        return f"{self.recipe.name} {self.summary.name if self.summary else ''}".strip()

    @property
    def decides(self) -> bool:
        """Whether there is anything to show of decisions."""
        return bool(self.decisions or self.confusion or self.confused)

    @property
    def recipe_json(self) -> str:
        return "" if self.recipe is None else to_json(self.recipe)

    def _path(self, name: str) -> Path:
        return self._run.find_optional(name) or self.folder / name

    def _try(self, what: str, read: Callable[[], Any], written_by: str | None = None) -> Any:
        """What `read` gives; None where that fails, which is named. A report must not fall with one of its parts."""
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
        """Lists that are read from some files, as one: of those that can be read."""
        return [one for what, read in parts.items() for one in self._try(what, read) or []]

    def _read(self, name: str, written_by: str | None = None) -> Any:
        """A JSON file; one that is not there is named only where every run has it."""

        def read() -> Any:
            content = read_json(self._path(name))
            if content is None:
                raise MissingFileError(name)
            if not isinstance(content, dict):
                raise TypeError("no object")
            return content

        return self._try(name, read, written_by)

    def _read_folds(self, journals: dict[int, Path]) -> dict[int, FoldSummary]:
        """What the journals say; an ensemble has none, and lacks none."""
        if not journals and not self._ensemble:
            self.faults.append("fold*/journal.jsonl is missing: `imettk train` writes it")
        return {
            fold: found
            for fold, path in journals.items()
            if (found := self._try(str(path), partial(summarise_fold, path))) is not None
        }

    def _summary(self) -> RunSummary | None:
        """As the log has it, but read piece by piece."""
        if self.recipe is None:
            return None
        facts = self._try(FACTS, lambda: read_facts(self.folder)) or {}
        chain = self._read(CHAIN) or {}
        return RunSummary(self.folder, self.recipe, fingerprint(self.recipe), self.folds, self.scores, facts, chain)

    def _facts(self) -> list[tuple[str, str]]:
        """What was run, as names and values."""
        run = self.summary
        rows = self._join(
            {
                "folder": lambda: [("folder", self.folder)],
                "fold*/journal.jsonl": self._training_facts,
                CHAIN: lambda: [] if run is None else [("kernels", ", ".join(run.kernels))],
                "scores.json": self._score_facts,
                FACTS: self._noted_facts,
            }
        )
        return [(name, str(value)) for name, value in rows if value not in (None, "")]

    def _training_facts(self) -> list[tuple[str, Any]]:
        run, folds = self.summary, self.folds.values()
        rows = [] if run is None else [("fingerprint", run.fingerprint)]
        if folds:
            trained = sum(one.step >= one.num_steps for one in folds)
            rows += [
                ("folds trained", f"{trained}" if run is None else f"{trained} of {run.recipe.folds.num_folds}"),
                ("sessions, hours", f"{sum(one.sessions for one in folds)}, {sum(one.hours for one in folds):.2f}"),
                ("code", ", ".join(dict.fromkeys(code[:12] for one in folds for code in one.codes))),
            ]
        return rows

    def _name_of_metric(self) -> str | None:
        """What the metric is called in print; earlier versions had no other name for it."""
        return str(self.scores.get("title") or self.scores["metric"]) if self.scores else None

    def _oof(self) -> str:
        """What the run scores out of fold, in words."""
        return f"OOF {self.metric} {self.scores['oof']:.4f}" if self.scores else ""

    def _score_facts(self) -> list[tuple[str, Any]]:
        if not self.scores:
            return []
        low, high = self.scores.get("interval") or (None, None)
        interval = "" if low is None else f" (95%: {low:.4f} to {high:.4f})"
        constant = self.scores.get("constant")
        return [
            (f"OOF {self.metric}", f"{self.scores['oof']:.4f}{interval}"),
            ("best constant answer", None if constant is None else f"{constant:.4f}"),
        ]

    def _noted_facts(self) -> list[tuple[str, Any]]:
        """What no stage knows."""
        facts = {} if self.summary is None else self.summary.facts
        board = facts.get("lb", {})
        return [
            ("note", facts.get("note", {}).get("text")),
            *((f"LB {side}", board.get(side)) for side in ("public", "private")),
        ]

    def _time_line(self) -> str | None:
        if not self.folds:
            return None
        rows = {f"fold {fold}": read_sessions(one.journal) for fold, one in self.folds.items()}
        for sessions in rows.values():
            if sessions[-1].state == "killed":  # which a journal cannot tell from one that still runs
                sessions[-1] = sessions[-1]._replace(state="killed or running")
        start = min(one.start for sessions in rows.values() for one in sessions)
        return draw_time_line(
            {
                name: [Span((one.start - start) / 3600, (one.end - start) / 3600, one.state) for one in sessions]
                for name, sessions in rows.items()
            }
        )

    def _fold_scores(self) -> str | None:
        if not self.scores:
            return None
        folds, oof = self.scores["folds"], self.scores["oof"]
        names = [*(f"fold {fold}" for fold in folds), "OOF"]
        return draw_scores(names, [*folds.values(), oof], [None] * len(folds) + [self.scores.get("interval")])

    def _curves(self) -> list[tuple[str, str]]:
        """Titles and charts of what happened over the steps of all sessions."""
        charts = []
        for key, title in CURVE_TITLES.items():
            lines = []
            for fold, one in self.folds.items():
                if points := one.curves.get(key):
                    _, steps, values = zip(*points, strict=True)
                    lines.append(Line(f"fold {fold}", steps, values, marked=key.startswith("validate")))
            if lines:
                metric = self.metric if key == "validate/score" else key.partition("/")[2]
                charts.append((title, draw_lines(lines, x="step", y=metric, log=key == "train/lr")))
        return charts

    def _shares(self) -> list[tuple[str, str]]:
        """Title and chart of how often each label is true and answered."""
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
        texts = dict.fromkeys(("label", "name", "group"), str)
        frame = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""])
        return frame.assign(label=frame["label"].fillna(""))

    def _labels(self) -> dict[str, Any] | None:
        """The table of labels: columns, rows as text, and how many there are in all."""
        if self._frame is None:
            return None
        frame = self._frame.dropna(axis="columns", how="all")
        shown = frame.sort_values("true", ascending=False, kind="stable") if "true" in frame else frame
        rows = [[_cell(value) for value in row] for row in shown.head(MOST_LABELS).itertuples(index=False)]
        return {"columns": [str(name).replace("_", " ") for name in shown], "rows": rows, "total": len(frame)}

    def _gains(self) -> list[dict[str, Any]]:
        """Tables of what questions score, and of what views, pools of units and refinement add."""
        tables, metric = part_tables(self.scores), self.metric
        best_of, sign = (min, -1) if self.scores.get("lower_is_better") else (max, 1)
        if views := self.scores.get("views"):
            best = best_of(value for name, value in views.items() if name != "together")
            rows = [[name, f"{value:.4f}", ""] for name, value in views.items()]
            rows[-1][2] = f"{sign * (views['together'] - best):+.4f}"
            tables.append({"title": "Test-time augmentation", "columns": ["view", metric, "gain"], "rows": rows})
        if len(pools := self.scores.get("pools", {})) > 1:
            rows = [[name, f"{value:.4f}", "chosen" * (name == self.scores["pool"])] for name, value in pools.items()]
            tables.append({"title": "Several images an answer", "columns": ["pooled by", metric, ""], "rows": rows})
        if (plain := self.scores.get("without_refinement")) is not None:
            rows = [["without", f"{plain:.4f}", ""], ["with", f"{self.scores['oof']:.4f}", ""]]
            rows[1][2] = f"{sign * (self.scores['oof'] - plain):+.4f}"
            tables.append({"title": "Expansion and re-ranking", "columns": ["", metric, "gain"], "rows": rows})
        return tables

    def _members(self) -> list[dict[str, Any]]:
        """A table of what each member of an ensemble adds."""
        ensemble, metric = self._ensemble, self.metric
        if not (members := ensemble.get("members")):
            return []
        rows = [
            [
                name,
                f"{ensemble['weights'].get(name, 0):.3f}",
                f"{one['oof']:.4f}",
                "" if one["gain"] is None else f"{one['gain']:+.4f}",
            ]
            for name, one in members.items()
        ]
        title = f"Ensemble ({ensemble['method']})"
        return [{"title": title, "columns": ["member", "weight", f"{metric} alone", "adds"], "rows": rows}]


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and not np.isfinite(value)):
        return ""
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    return str(value)
