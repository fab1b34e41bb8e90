"""Scores are values, a table and a picture."""

import re

import pytest

from imettk import Scores
from imettk.errors import MissingFileError
from imettk.tracking.files import read_json


def test_scores_are_those_of_the_file(reported_run):
    written, scores = read_json(reported_run / "scores.json"), Scores(reported_run)
    assert dict(scores) == written and len(scores) == len(written)
    assert scores.table.loc["OOF", "score"] == written["oof"]
    assert scores.table["score"].tolist() == [*written["folds"].values(), written["oof"]]
    shown = scores._repr_html_()
    assert "<svg" in shown and all(f"{name}: #" in shown for name in re.findall(r"var\((--\w+)\)", shown))
    assert f"<td>{written['oof']:.4f}</td>" in shown and f"{written['oof']:.4f}" in repr(scores)


def test_a_folder_without_scores_says_what_writes_them(tmp_path):
    with pytest.raises(MissingFileError, match="has no scores: run `validate` first"):
        Scores(tmp_path)
