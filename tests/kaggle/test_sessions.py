"""Pushes, sessions and outputs against Kaggle in a box, with the faults that the official command overlooks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from forked import PATIENCE
from kaggle_box import Fault, Job, KaggleBox, fast_patience

from imettk.errors import MismatchError, PlatformError
from imettk.kaggle import outputs
from imettk.kaggle.client import Kaggle
from imettk.kaggle.kernel import Kernel
from imettk.kaggle.outputs import OUTPUT, list_files, pull, read_remote_list, write_output_list
from imettk.kaggle.sessions import NoRoom, Pushed, ask_session, end_session, find_push, gpu_quota, push_kernel

REFERENCE = "me/imettk-test-prepare"
BROKEN = [Fault(503), Fault(0), Fault(500, after=True), Fault(0, after=True), Fault(200, cut=True, after=True)]


def kernel(**settings) -> Kernel:
    return Kernel(**({"reference": REFERENCE, "command": "prepare", "recipe": "digits", "competition": "cells",
                      "gpu": False, "push": "p0"} | settings))  # fmt: skip


@pytest.fixture
def working(make_box, tmp_path) -> tuple[KaggleBox, Kaggle]:
    """A box with a dataset and a competition, whose sessions write some files and end."""

    def run(job: Job) -> str:
        job.log.write_text("first line\nlast line\n")
        if "wait" in job.text:
            return "CANCEL_ACKNOWLEDGED" if job.cancel.wait(PATIENCE) else "ERROR"
        (job.working / "fold0").mkdir()
        (job.working / "fold0" / "weights.bin").write_bytes(bytes(range(256)) * 2000)
        (job.working / "submission.csv").write_text("id,label\n1,2\n")
        (job.working / "name with # and %.txt").write_text("x")
        write_output_list(job.working, push="p0", command="prepare", code=0, seconds=1.5)
        return "COMPLETE"

    box = make_box(run)
    box.add_dataset("me/pack", tmp_path)
    box.add_competition("cells", tmp_path, lambda path: (0.13, 0.5))
    return box, Kaggle(fast_patience())


def test_a_push_has_all_settings_of_the_kernel(working):
    box, account = working
    pushed = kernel(datasets=("me/pack/1",), competitions=("cells",), limit_seconds=600)
    assert find_push(account, pushed) is None
    assert push_kernel(account, pushed) == Pushed(REFERENCE, 1) == find_push(account, pushed)
    assert find_push(account, kernel(push="other")) is None
    box.wait()
    assert ask_session(account, REFERENCE, 1).status == "COMPLETE"
    request = next(request for method, request in box.requests if method == "SaveKernel")
    assert request["text"] == pushed.text() and request["enableInternet"] is False and request["isPrivate"] is True
    assert request["sessionTimeoutSeconds"] == 600
    job = box.kernels[REFERENCE][0].job
    assert set(job.datasets) == {"me/pack"} and set(job.competitions) == {"cells"} and not job.gpu


@pytest.mark.parametrize("fault", BROKEN)
def test_a_push_with_a_lost_answer_is_recognised_and_not_repeated(working, fault):
    box, account = working
    box.faults.add("SaveKernel", fault)
    assert push_kernel(account, kernel()).version == 1
    assert len(box.kernels[REFERENCE]) == 1


def test_a_missing_source_is_noticed_after_a_lost_answer_too(working):
    box, account = working
    box.faults.add("SaveKernel", Fault(500, after=True))
    with pytest.raises(PlatformError, match="Kaggle does not know me/gone"):
        push_kernel(account, kernel(datasets=("me/pack", "me/gone")))


def test_a_kernel_without_one_of_its_sources_is_deleted_and_reported(working):
    """The official command prints a line, and the kernel runs without it."""
    box, account = working
    waiting = kernel(arguments=("wait",), datasets=("me/pack/7",), kernels=("me/never-pushed",))
    with pytest.raises(
        PlatformError, match=r"does not know me/pack/7, me/never-pushed .*; the kernel without it has been deleted"
    ):
        push_kernel(account, waiting)
    box.wait()
    assert box.deleted[REFERENCE][0].status == "CANCEL_ACKNOWLEDGED"


def test_a_wrong_source_does_not_cost_the_outputs_of_earlier_versions(working):
    """The platform deletes a kernel with all of its versions: a mistyped name would cost nine hours of training."""
    box, account = working
    push_kernel(account, kernel(datasets=("me/pack",)))
    box.wait()
    with pytest.raises(
        PlatformError, match=r"know me/pakc .* still runs beside earlier versions: cancel it at kaggle"
    ) as caught:
        push_kernel(account, kernel(datasets=("me/pakc",), push="p1"))
    assert caught.value.running == Pushed(REFERENCE, 2)
    assert not box.deleted and len(box.kernels[REFERENCE]) == 2


def test_too_many_sessions_are_a_distinct_error(working):
    """The official command prints it and exits with code 0."""
    _box, account = working
    for number in range(2):
        push_kernel(account, kernel(reference=f"me/imettk-wait-{number}", arguments=("wait",), gpu=True))
    with pytest.raises(NoRoom, match="Maximum batch GPU session count of 2 reached"):
        push_kernel(account, kernel(gpu=True))
    end_session(account, "me/imettk-wait-0")
    push_kernel(account, kernel())  # a CPU session has room


def test_a_session_is_asked_for_by_its_version(working):
    box, account = working
    push_kernel(account, kernel())
    box.wait()
    push_kernel(account, kernel(arguments=("wait",)))
    assert ask_session(account, REFERENCE, 1).ended
    assert not ask_session(account, REFERENCE, 2).ended
    box.faults.add("GetKernelSessionStatus", Fault(503), times=5)
    assert ask_session(account, REFERENCE, 1).status == "COMPLETE"
    quota = gpu_quota(account)
    assert quota is not None and quota.used == pytest.approx(0, abs=0.01) and quota.allowed == 30.0


def pushed_output(working) -> tuple[KaggleBox, Kaggle]:
    box, account = working
    push_kernel(account, kernel())
    box.wait()
    return box, account


def assert_whole(folder: Path, box: KaggleBox) -> None:
    theirs = box.kernels[REFERENCE][0].job.working
    for path in theirs.rglob("*"):
        if path.is_file() and path.name != OUTPUT:
            assert (folder / path.relative_to(theirs)).read_bytes() == path.read_bytes()
    assert not list(folder.rglob("*.part"))


@pytest.mark.parametrize(
    "fault",
    [Fault(429, body=b"too many requests"), Fault(200, cut=True), Fault(0), Fault(503),
     Fault(200, body=b"<html>sign in</html>")],
    ids=["429", "cut", "closed", "503", "another body"],
)  # fmt: skip
def test_a_download_equals_what_the_kernel_wrote(working, tmp_path, monkeypatch, fault):
    """The official command saves the body of a 429 as the file, and considers it up to date from then on."""
    box, account = pushed_output(working)
    monkeypatch.setattr(outputs, "_PAGE", 2)
    box.faults.add("GET", fault, times=4)
    listed = pull(account, REFERENCE, 1, tmp_path / "out", push="p0")
    assert len(box.faults.happened) == 4 and len(listed["files"]) == 3
    assert_whole(tmp_path / "out", box)


def test_a_download_resumes_and_keeps_existing_files(working, tmp_path):
    box, account = pushed_output(working)
    weights = box.kernels[REFERENCE][0].job.working / "fold0" / "weights.bin"
    (tmp_path / "fold0").mkdir()
    (tmp_path / "fold0" / "weights.bin.part").write_bytes(weights.read_bytes()[:100_000])
    (tmp_path / "submission.csv").write_text("id,label\n1,2\n")
    seen = []
    get = account.get
    account.get = lambda url, start=0: seen.append((url.rpartition("/")[2], start)) or get(url, start=start)
    pull(account, REFERENCE, 1, tmp_path, push="p0")
    assert ("weights.bin", 100_000) in seen and not any(name == "submission.csv" for name, _ in seen)
    assert_whole(tmp_path, box)


def test_a_wrong_beginning_is_not_kept(working, tmp_path):
    box, account = pushed_output(working)
    (tmp_path / "fold0").mkdir()
    (tmp_path / "fold0" / "weights.bin.part").write_bytes(b"an error page" * 100)
    pull(account, REFERENCE, 1, tmp_path, push="p0")
    assert_whole(tmp_path, box)


def test_the_output_of_another_push_and_a_file_that_stays_wrong_are_refused(working, tmp_path):
    box, account = pushed_output(working)
    with pytest.raises(MismatchError, match=r"belongs to another push \(p0, not p1\): not taken"):
        pull(account, REFERENCE, 1, tmp_path / "a", push="p1")
    weights = box.kernels[REFERENCE][0].job.working / "fold0" / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(PlatformError, match=r"weights\.bin .* differs from what the kernel wrote"):
        pull(account, REFERENCE, 1, tmp_path / "b", push="p0")
    assert not (tmp_path / "b" / "fold0" / "weights.bin").exists()
    weights.unlink()
    with pytest.raises(PlatformError, match=r"lacks fold0/weights\.bin"):
        pull(account, REFERENCE, 1, tmp_path / "c")


def test_an_output_cannot_leave_its_folder(working, tmp_path):
    box, account = pushed_output(working)
    path = box.kernels[REFERENCE][0].job.working / OUTPUT
    for name in ("../outside.txt", "/etc/outside", "a/../../b"):
        content = json.loads(path.read_text())
        content["files"] = {name: {"size": 1, "sha256": "0"}}
        path.write_text(json.dumps(content))
        with pytest.raises(PlatformError, match=r"outside|lacks"):
            pull(account, REFERENCE, 1, tmp_path / "out")
        with pytest.raises(PlatformError, match="would lie outside"):
            outputs._inside(tmp_path / "out", name)


def test_the_log_and_the_list_of_files_are_read_page_by_page(working, monkeypatch):
    _box, account = pushed_output(working)
    monkeypatch.setattr(outputs, "_PAGE", 1)
    files, log = list_files(account, REFERENCE, 1)
    assert set(files) == {"fold0/weights.bin", "submission.csv", "name with # and %.txt", OUTPUT}
    assert log == "first line\nlast line\n"
    listed = read_remote_list(account, REFERENCE, 1)
    assert listed is not None and (listed["push"], listed["seconds"]) == ("p0", 1.5)
