"""The scores of a run, as values and as the output of a cell."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from imettk.errors import MissingFileError
from imettk.tracking.files import read_json
from imettk.tracking.report import light_colours
from imettk.tracking.report_parts import draw_fold_scores, metric_title
from imettk.tracking.run_dir import RunDir


class Scores(Mapping[str, Any]):
    """The content of `scores.json`, which `validate` writes: read `scores["oof"]`, or show it in a cell.

    Attributes:
        metric: the metric's name in print.
        table: a row a fold, then the out-of-fold score of all rows, with its 95% interval where it has one.
    """

    def __init__(self, folder: Path, inputs: Sequence[Path] = ()) -> None:
        path = RunDir(folder, inputs).find_optional("scores.json")
        if path is None or not (scores := read_json(path)):
            raise MissingFileError(f"{folder} has no scores: run `validate` first, which writes them")
        self._values: dict[str, Any] = scores
        self.metric = metric_title(scores)
        low, high = self._values.get("interval") or (None, None)
        folds = self._values["folds"]
        self.table = pd.DataFrame(
            {
                "score": [*folds.values(), self._values["oof"]],
                "low": [None] * len(folds) + [low],
                "high": [None] * len(folds) + [high],
            },
            index=pd.Index([*(f"fold {fold}" for fold in folds), "OOF"], name=self.metric),
        )

    @cached_property
    def picture(self) -> str:
        """The table as a chart, SVG."""
        return draw_fold_scores(self._values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        """Return the table as text."""
        return self.table.to_string(na_rep="", float_format="{:.4f}".format)

    def _repr_html_(self) -> str:
        """Return the table and the picture."""
        table = self.table.to_html(na_rep="", float_format="{:.4f}".format)
        rest = {name: value for name, value in self._values.items() if name not in ("folds", "oof", "interval")}
        details = html.escape(json.dumps(rest, indent=1))
        picture = f'<div style="max-width: 40em; {light_colours()}">{self.picture}</div>'
        return f"{table}{picture}<details><summary>all of scores.json</summary><pre>{details}</pre></details>"
