"""Outputs whose lists are late, out of date or never finished, and what can be downloaded of them."""

from __future__ import annotations

import json

import pytest
from kaggle_box import Fault, Job, KaggleBox, fast_patience

from imettk.errors import MismatchError, PlatformError
from imettk.kaggle.client import Kaggle
from imettk.kaggle.outputs import (
    LISTED_SECONDS,
    OUTPUT,
    plain_log,
    pull,
    read_remote_list,
    wait_listed,
    write_output_list,
)

REFERENCE = "me/imettk-x-f0"
NOTHING = Fault(200, body=b"{}")  # an output without files


@pytest.fixture
def session(make_box) -> tuple[KaggleBox, Kaggle]:
    """A session that has left weights, a checkpoint and a list."""

    def run(job: Job) -> str:
        (job.working / "fold0" / "checkpoints").mkdir(parents=True)
        (job.working / "fold0" / "checkpoints" / "step-8.safetensors").write_bytes(bytes(range(256)) * 40)
        (job.working / "fold0" / "model.safetensors").write_bytes(bytes(range(256)) * 20)
        write_output_list(job.working, push="p0", command="train", code=0, seconds=1.5)
        return "COMPLETE"

    box = make_box(run)
    box._save_kernel({"slug": REFERENCE, "newTitle": "imettk x f0", "text": ""})
    box.wait()
    return box, Kaggle(fast_patience())


def change_list(box: KaggleBox, **values: object) -> None:
    """Change values in the session's list."""
    path = box.kernels[REFERENCE][0].job.working / OUTPUT
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("log", "text"),
    [
        (
            '[{"data": "a\\n"}, {"data": "\\r 10%"}, {"data": "\\r 20%"}, {"data": null}, {"data": "\\nend\\n"}]',
            "a\n 20%\nend\n",
        ),
        ("10%\r20%\r\nplain", "20%\nplain"),
    ],
)
def test_a_log_shows_only_the_last_state_of_a_bar(log, text):
    """Otherwise the end of a log would consist of states of a bar."""
    assert plain_log(log) == text


def test_a_full_disk_is_reported_with_the_file(session, tmp_path):
    _, kaggle = session
    (tmp_path / "out" / "fold0").mkdir(parents=True)
    (tmp_path / "out" / "fold0" / "model.safetensors.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: .*model\.safetensors\.part"):
        pull(kaggle, REFERENCE, 1, tmp_path / "out", wanted=lambda name, _: name.endswith("model.safetensors"))


def test_files_that_the_platform_keeps_of_a_notebook_are_not_listed(tmp_path):
    """It writes them until the end and does not give them out: a pull would wait for them in vain."""
    for name in ("__notebook__.ipynb", ".virtual_documents/__notebook_source__.ipynb", "fold0/__notebook__.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    write_output_list(tmp_path, push="p0", command="train", code=0, seconds=1.0)
    assert [*json.loads((tmp_path / OUTPUT).read_text())["files"]] == ["fold0/__notebook__.ipynb"]


def listings(box: KaggleBox) -> int:
    return sum(method == "ListKernelSessionOutput" for method, _ in box.requests)


def test_the_list_of_another_push_is_ignored(session):
    box, account = session
    for push, is_there in (("", True), ("p0", True), ("p1", False)):
        assert (read_remote_list(account, REFERENCE, 1, push=push) is not None) is is_there
    box.faults.add("ListKernelSessionOutput", NOTHING)
    assert read_remote_list(account, REFERENCE, 1) is None


def test_a_late_or_outdated_list_is_awaited(session, capsys):
    box, account = session
    box.faults.add("ListKernelSessionOutput", NOTHING, times=8)
    stale = json.dumps({"push": "older", "code": 0, "files": {}}).encode()
    half = json.dumps({"push": "p0", "code": None, "files": {}}).encode()
    for body in (stale, stale, half):
        box.faults.add("GET", Fault(200, body=body))
    for fault in (Fault(403), Fault(404), Fault(200, body=b"<html>"), Fault(503)):
        box.faults.add("ListKernelSessionOutput", fault)
    listed = wait_listed(account, REFERENCE, 1, push="p0")
    assert listed is not None and (listed["push"], listed["code"]) == ("p0", 0) and len(listed["files"]) == 2
    assert not box.faults.remaining
    assert "output of me/imettk-x-f0: not listed\n" in capsys.readouterr().out


def test_waiting_for_a_list_has_an_end(session):
    box, account = session
    assert wait_listed(account, REFERENCE, 1, push="p1") is None
    assert listings(box) == LISTED_SECONDS // 15 + 1
    change_list(box, code=None, files={})
    listed = wait_listed(account, REFERENCE, 1, push="p0", limit_seconds=60)
    assert listed is not None and listed["code"] is None


def test_a_pull_waits_a_moment_for_late_files(session, tmp_path):
    box, account = session
    box.faults.add("ListKernelSessionOutput", NOTHING)
    path = box.kernels[REFERENCE][0].job.working / OUTPUT
    only_list = {"files": [{"fileName": OUTPUT, "url": f"http://localhost/output/{REFERENCE}/v1/{path.name}"}]}
    box.faults.add("ListKernelSessionOutput", Fault(200, body=json.dumps(only_list).encode()))
    assert len(pull(account, REFERENCE, 1, tmp_path / "out", push="p0")["files"]) == 2
    with pytest.raises(MismatchError, match=r"belongs to another push \(p0, not p1\)"):
        pull(account, REFERENCE, 1, tmp_path / "out", push="p1")


def test_an_address_that_has_expired_is_asked_for_again(session, tmp_path):
    box, account = session
    box.faults.add("GET", Fault(403, where=lambda request: request["name"] == "model.safetensors"))
    pull(account, REFERENCE, 1, tmp_path)
    assert listings(box) == 2 and (tmp_path / "fold0" / "model.safetensors").stat().st_size == 5120
    box.faults.add("GET", Fault(400, where=lambda request: request["name"] == "model.safetensors"), times=2)
    (tmp_path / "fold0" / "model.safetensors").unlink()
    with pytest.raises(PlatformError, match=r"model\.safetensors of me/imettk-x-f0: Kaggle answers 400"):
        pull(account, REFERENCE, 1, tmp_path)


@pytest.mark.parametrize("fault", [None, Fault(503), Fault(0), Fault(200, cut=True), Fault(403)])
def test_the_files_of_a_killed_session_are_downloaded_unverified(session, tmp_path, fault):
    """Its list was written at its start, and names the push but no files."""
    box, account = session
    change_list(box, code=None, files={})
    if fault is not None:
        fault.where = lambda request: request["name"] == "step-8.safetensors"
        box.faults.add("GET", fault)
    (tmp_path / "fold0").mkdir()
    (tmp_path / "fold0" / "model.safetensors.part").write_bytes(b"of another day" * 10)
    taken = pull(account, REFERENCE, 1, tmp_path, push="p0")
    assert set(taken["files"]) == {"fold0/model.safetensors", "fold0/checkpoints/step-8.safetensors"}
    theirs = box.kernels[REFERENCE][0].job.working
    for name, file in taken["files"].items():
        assert (tmp_path / name).read_bytes() == (theirs / name).read_bytes() and file["sha256"] == ""
    with pytest.raises(MismatchError):
        pull(account, REFERENCE, 1, tmp_path, push="p1")
    listed = read_remote_list(account, REFERENCE, 1, push="p0")
    assert listed is not None and listed["code"] is None and set(listed["files"]) == set(taken["files"])


def test_a_single_file_can_be_downloaded_whatever_its_size(session, tmp_path):
    _, account = session
    out = tmp_path / "out"
    pull(account, REFERENCE, 1, out, wanted=lambda name, _: name == "fold0/model.safetensors")
    assert [path.name for path in out.rglob("*") if path.is_file()] == [
        "model.safetensors"
    ]  # no list, which would name all files
