"""Tables of a report, also of runs that lack a part of what they show."""

from __future__ import annotations

import numpy as np
import pandas as pd

from imettk.tracking.report_tables import (
    MOST_LABELS,
    confused_classes,
    gain_tables,
    label_table,
    member_table,
    part_tables,
)


def test_labels_come_by_frequency_with_few_digits_and_their_columns_are_explained():
    frame = pd.DataFrame(
        {
            "label": ["a", "b"],
            "group": [None, None],
            "true": [3, 1200],
            "expected": [2.71828, 1234.56],
            "precision": [0.5, np.nan],
            "threshold": [0.123456, 2.0],
        }
    )
    table = label_table(frame)
    assert [column["name"] for column in table["columns"]] == ["label", "true", "expected", "precision", "threshold"]
    assert table["rows"] == [["b", "1200", "1235", "", "2.000"], ["a", "3", "2.718", "0.500", "0.123"]]
    assert [column["is_text"] for column in table["columns"]] == [True, False, False, False, False]
    assert table["columns"][3]["meaning"] == "share of the chosen rows that have the label"
    many = label_table(pd.DataFrame({"label": [str(number) for number in range(2000)], "recall": np.zeros(2000)}))
    assert len(many["rows"]) == MOST_LABELS and many["total"] == 2000 and many["rows"][0] == ["0", "0.000"]


def test_confused_classes_have_their_share_unless_an_earlier_version_kept_none():
    pair = {"truth": "a", "answer": "b", "rows": 3}
    assert confused_classes([pair | {"of": 12}])["rows"] == [["a", "b", "3 of 12 (25%)"]]
    assert confused_classes([pair])["rows"] == [["a", "b", "3"]]
    assert confused_classes([]) is None and confused_classes(None) is None


def test_gains_are_gains_for_losses_too():
    scores = {"oof": 0.4, "views": {"plain": 0.5, "hflip": 0.45, "together": 0.4}, "without_refinement": 0.45}
    views, refined = gain_tables(scores | {"lower_is_better": True}, "log loss")
    assert views["columns"] == ["view", "log loss", "gain"]
    assert [row[2] for row in views["rows"]] == ["", "", "+0.0500"] and refined["rows"][1][2] == "+0.0500"
    assert [table["rows"][-1][2] for table in gain_tables(scores, "F2")] == ["-0.1000", "-0.0500"]
    (pools,) = gain_tables({"pools": {"mean": 0.5, "max": 0.6}, "pool": "max"}, "F2")
    assert pools["rows"] == [["mean", "0.5000", ""], ["max", "0.6000", "chosen"]]
    assert gain_tables({}, "F2") == []


def test_members_and_questions():
    ensemble = {
        "method": "mean",
        "weights": {"a": 0.25},
        "members": {"a": {"oof": 0.7, "gain": 0.01}, "b": {"oof": 0.6, "gain": None}},
    }
    (table,) = member_table(ensemble, "F2")
    assert table["rows"] == [["a", "0.250", "0.7000", "+0.0100"], ["b", "0.000", "0.6000", ""]]
    assert member_table({}, "F2") == [] == part_tables({})
    (parts,) = part_tables({"parts": {"root": {"recall": 0.5}, "vowel": {"recall": 0.25}}})
    assert parts["columns"] == ["question", "recall"] and parts["rows"][1] == ["vowel", "0.2500"]
