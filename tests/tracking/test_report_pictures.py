"""Pictures of a report are what they have to be, or an error that the page names."""

from __future__ import annotations

import pytest

from imettk.tracking.report_pictures import gallery, worst_errors

IMAGE = "aGk="
HIT = {"label": "a", "id": 7, "image": IMAGE, "similarity": None, "right": None}
TILE = {"id": "x", "image": IMAGE, "truth": [{"label": "a", "prob": 1, "right": 0}], "answers": [], "loss": 3}


def test_values_are_made_what_they_have_to_be():
    errors = worst_errors({"rows": "9", "wrong": 2.0, "tiles": [TILE]})
    assert errors["rows"] == 9 and errors["tiles"][0]["truth"] == [{"label": "a", "prob": 1.0, "right": False}]
    shown = gallery({"title": 1, "truth": "t", "legend": "l", "rows": [{"query": HIT, "hits": [HIT]}]})
    assert shown["title"] == "1" and shown["rows"][0]["hits"][0] == HIT | {"id": "7"}


@pytest.mark.parametrize("image", ["<script>", 7, None])
def test_what_is_no_picture_is_an_error(image):
    with pytest.raises((ValueError, TypeError)):
        worst_errors({"rows": 1, "wrong": 1, "tiles": [TILE | {"image": image}]})
