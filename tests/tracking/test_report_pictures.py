"""Pictures of a report have the expected types, or raise an error that the page names."""

from __future__ import annotations

import pytest

from imettk.tracking.report_pictures import gallery, worst_errors

IMAGE = "aGk="
HIT = {"label": "a", "id": 7, "image": IMAGE, "similarity": None, "right": None}
TILE = {"id": "x", "image": IMAGE, "truth": [{"label": "a", "prob": 1, "right": 0}], "answers": [], "loss": 3}


def test_values_are_made_what_they_have_to_be():
    errors = worst_errors({"rows": "9", "wrong": 2.0, "tiles": [TILE]})
    assert errors["rows"] == 9 and errors["wrong"] == 2 and not errors["numeric"]
    assert errors["tiles"][0]["differing"] == [
        {"name": "missed", "items": [{"label": "a", "prob": 1.0, "right": False}], "left_out": 0}
    ]
    shown = gallery({"title": 1, "truth": "t", "legend": "l", "rows": [{"query": HIT, "hits": [HIT]}]})
    assert shown["title"] == "1" and shown["rows"][0]["hits"][0] == HIT | {"id": "7"}


def item(label: str, right: bool, prob: float | None = 0.5) -> dict[str, object]:
    return {"label": label, "prob": prob, "right": right}


@pytest.mark.parametrize(
    ("truth", "answers", "sides", "right"),
    [
        ([item("a", False)], [item("b", False)], {"true": ["a"], "answered": ["b"]}, []),
        ([item("a", True), item("b", False)], [item("a", True)], {"missed": ["b"]}, ["a"]),
        ([item("a", True)], [item("a", True), item("b", False)], {"wrongly answered": ["b"]}, ["a"]),
        ([item("3", True, None)], [item("4", False, None)], {"true": ["3"], "answered": ["4"]}, []),
    ],
)
def test_what_differs_stands_apart_from_what_is_right(truth, answers, sides, right):
    (tile,) = worst_errors({"rows": 1, "wrong": 1, "tiles": [TILE | {"truth": truth, "answers": answers}]})["tiles"]
    assert {side["name"]: [entry["label"] for entry in side["items"]] for side in tile["differing"]} == sides
    assert [entry["label"] for entry in tile["right"]] == right


@pytest.mark.parametrize("image", ["<script>", 7, None])
def test_what_is_no_picture_is_an_error(image):
    with pytest.raises((ValueError, TypeError)):
        worst_errors({"rows": 1, "wrong": 1, "tiles": [TILE | {"image": image}]})
