"""The file of a chain: damage and later versions are one line, and earlier versions can read it."""

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
def test_a_state_of_wrong_types_is_one_line(tmp_path, text):
    (tmp_path / "chain.json").write_text(text)
    with pytest.raises(MismatchError, match=r"chain\.json is damaged"):
        read_chain(tmp_path)


@pytest.mark.parametrize("place", ["chain", "job"])
def test_the_state_of_a_later_version_is_named_as_such(begin, place):
    _, follower = begin(folds=[0])
    follower.look()
    path = follower.folder / "chain.json"
    content = json.loads(path.read_text())
    (content if place == "chain" else content["jobs"][0])["orbit"] = 7
    path.write_text(json.dumps(content))
    with pytest.raises(MismatchError, match="'orbit', a field of a later imettk"):
        read_chain(follower.folder)


def test_a_jobs_command_is_called_stage_in_the_file(begin):
    """Earlier versions wrote it so, and read it so after a return to them."""
    _, follower = begin(folds=[0])
    follower.look()
    content = json.loads((follower.folder / "chain.json").read_text())
    job = content["jobs"][0]
    assert next(iter(job)) == "stage" and job["stage"] == "prepare" and "command" not in job
    chain = read_chain(follower.folder)
    assert chain is not None and [job.command for job in chain.jobs] == ["prepare"]
