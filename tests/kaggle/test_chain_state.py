"""A chain's file of another kind or version is one line."""

from __future__ import annotations

import json

import pytest

from imettk.errors import MismatchError
from imettk.kaggle.chain_state import read_chain


@pytest.mark.parametrize("content", ["{", "[]", '{"time": 1}', ""])
def test_a_damaged_state_is_one_line(tmp_path, content):
    (tmp_path / "chain.json").write_text(content)
    with pytest.raises(MismatchError, match=r"chain\.json is damaged.*: put a copy in its place, or begin"):
        read_chain(tmp_path)
    assert read_chain(tmp_path / "none") is None


@pytest.mark.parametrize("text", ["[]", "null", '"text"', "7", '{"jobs": 7}', '{"jobs": [7]}', "{}"])
def test_a_state_of_other_types_is_one_line(tmp_path, text):
    (tmp_path / "chain.json").write_text(text)
    with pytest.raises(MismatchError, match=r"chain\.json is damaged"):
        read_chain(tmp_path)


@pytest.mark.parametrize("place", ["chain", "job"])
def test_a_later_versions_state_is_said_to_be_one(begin, place):
    _, follower = begin(folds=[0])
    follower.look()
    path = follower.folder / "chain.json"
    content = json.loads(path.read_text())
    (content if place == "chain" else content["jobs"][0])["orbit"] = 7
    path.write_text(json.dumps(content))
    with pytest.raises(MismatchError, match="'orbit', of a later imettk"):
        read_chain(follower.folder)
