"""Calls of the real client: answers that cannot be read, a no in passing, the platform's clock, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kaggle_box
import pytest
from kaggle_box import Fault, KaggleBox

from imettk.errors import UserError
from imettk.kaggle import connection
from imettk.kaggle.client import PASSING_TRIES, Kaggle, NotSignedIn, NotThere, Refused, Unclear
from imettk.kaggle.kernel import Kernel
from imettk.kaggle.leaderboard import submit_file
from imettk.kaggle.sessions import push_kernel

KERNEL = Kernel("me/imettk-x-train", "train", "digits", "cells", push="p0")
JSON = {"Content-Type": "application/json"}
# How an answer with status 200 may be none, and what is said of it.
SHAPES = {
    "a page": (b"<html>Kaggle is being maintained</html>", {"Content-Type": "text/html"}, "JSONDecodeError"),
    "nothing": (b"", {}, "JSONDecodeError"),
    "half an object": (b'{"status": "RUN', JSON, "JSONDecodeError"),
    "no text": (b"\xff\xfe\x00{", {}, "Error"),
    "null": (b"null", JSON, "TypeError: .* is a NoneType"),
    "a number": (b"5", JSON, "TypeError: .* is a int"),
    "a list": (b"[]", JSON, "TypeError: .* is a list"),
    "a word": (b'"maintenance"', JSON, "TypeError: .* is a str"),
}
CALLS = {
    "GetDataset": ("datasets", "get_dataset", "ApiGetDatasetRequest"),
    "GetDatasetStatus": ("datasets", "get_dataset_status", "ApiGetDatasetStatusRequest"),
    "CreateDataset": ("datasets", "create_dataset", "ApiCreateDatasetRequest"),
    "CreateDatasetVersion": ("datasets", "create_dataset_version", "ApiCreateDatasetVersionRequest"),
    "StartBlobUpload": ("blobs", "start_blob_upload", "ApiStartBlobUploadRequest"),
    "SaveKernel": ("kernels", "save_kernel", "ApiSaveKernelRequest"),
    "GetKernel": ("kernels", "get_kernel", "ApiGetKernelRequest"),
    "GetKernelSessionStatus": ("kernels", "get_kernel_session_status", "ApiGetKernelSessionStatusRequest"),
    "ListKernelSessionOutput": ("kernels", "list_kernel_session_output", "ApiListKernelSessionOutputRequest"),
    "DeleteKernel": ("kernels", "delete_kernel", "ApiDeleteKernelRequest"),
    "GetAcceleratorQuotaStatistics": (
        "kernels", "get_accelerator_quota_statistics", "ApiGetAcceleratorQuotaStatisticsRequest",
    ),
    "StartSubmissionUpload": ("competitions", "start_submission_upload", "ApiStartSubmissionUploadRequest"),
    "CreateSubmission": ("competitions", "create_submission", "ApiCreateSubmissionRequest"),
    "CreateCodeSubmission": ("competitions", "create_code_submission", "ApiCreateCodeSubmissionRequest"),
    "ListSubmissions": ("competitions", "list_submissions", "ApiListSubmissionsRequest"),
}  # fmt: skip
# A part of an answer that has another shape, or a word that this client does not know.
PARTS = {
    "GetDataset": (b'{"currentVersionNumber": {"a": 1}}', "TypeError|ValueError: currentVersionNumber is no number"),
    "GetDatasetStatus": (b'{"status": "RESTING"}', "KeyError: 'RESTING'"),
    "StartBlobUpload": (b"{}", "without token"),
    "SaveKernel": (b'{"versionNumber": "one"}', "versionNumber is no number"),
    "GetKernel": (b'{"metadata": []}', "metadata is a list"),
    "GetKernelSessionStatus": (b'{"status": "PAUSED"}', "KeyError: 'PAUSED'"),
    "ListKernelSessionOutput": (b'{"files": ["a", "b"]}', "is a str"),
    "DeleteKernel": (b'{"errorMessage": 5}', "errorMessage holds a int"),
    "GetAcceleratorQuotaStatistics": (b'{"gpuQuota": {"timeUsed": 5}}', "AttributeError"),
    "StartSubmissionUpload": (b'{"token": "t"}', "without create_url"),
    "ListSubmissions": (b'{"submissions": "none"}', "submissions is a str"),
}


def send(account: Kaggle, method: str, **options: Any) -> Any:
    """One call, with a request that names me/x."""
    from importlib import import_module

    service, name, request = CALLS[method]
    module = {"blobs": "blob", "datasets": "dataset", "kernels": "kernels", "competitions": "competition"}[service]
    types = import_module(f"kagglesdk.{service}.types.{module}_api_service")
    asked = getattr(types, request)()
    for names, value in ((("owner_slug", "user_name"), "me"), (("dataset_slug", "kernel_slug", "slug"), "x")):
        for part in names:
            if hasattr(asked, part):
                setattr(asked, part, value)
    return account.ask(service, name, asked, what=f"{method} of me/x", **options)


def count(box: KaggleBox, method: str) -> int:
    return sum(name == method for name, _ in box.requests)


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_no_answer_may_have_been_done(kaggle, shape, method):
    box, account = kaggle
    body, headers, says = SHAPES[shape]
    box.faults.add(method, Fault(200, body=body, headers=headers))
    with pytest.raises(Unclear, match=rf"^{method} of me/x: Kaggle's answer cannot be read \(\w*{says}"):
        send(account, method, repeat=False)
    assert count(box, method) == 1


@pytest.mark.parametrize("method", PARTS)
def test_a_part_of_another_shape_is_no_answer_either(kaggle, method):
    box, account = kaggle
    body, says = PARTS[method]
    box.faults.add(method, Fault(200, body=body, headers=JSON))
    with pytest.raises(Unclear, match=rf"cannot be read \(.*({says})"):
        send(account, method, repeat=False)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_question_is_asked_again(kaggle, shape):
    box, account = kaggle
    body, headers, _ = SHAPES[shape]
    box.add_dataset("me/x", Path())
    box.faults.add("GetDatasetStatus", Fault(200, body=body, headers=headers), times=3)
    assert send(account, "GetDatasetStatus").status.name == "READY"
    assert count(box, "GetDatasetStatus") == 4


def test_whole_numbers_of_64_bits_come_as_text(kaggle):
    box, account = kaggle
    box.faults.add("GetDataset", Fault(200, body=b'{"currentVersionNumber": "7", "new": [{}]}', headers=JSON))
    assert int(send(account, "GetDataset").current_version_number) == 7


def test_an_error_in_the_body_of_a_success_counts(kaggle):
    """With a message, and without: the client takes the second for an answer."""
    box, account = kaggle
    for body, error, says in [
        (b'{"code": 503, "message": "Busy"}', Unclear, "Kaggle answers 503: Busy"),
        (b'{"code": 503}', Unclear, "Kaggle answers 503"),
        (b'{"code": 400}', Refused, "Kaggle answers 400"),
    ]:
        box.faults.add("SaveKernel", Fault(200, body=body, headers=JSON))
        with pytest.raises(error, match=f"{says}$"):
            send(account, "SaveKernel", repeat=False)


def test_the_status_of_an_error_counts_whatever_comes_with_it(kaggle):
    box, account = kaggle
    box.faults.add("SaveKernel", Fault(400, body=b"<html>", headers=JSON))
    with pytest.raises(Refused, match=r"Kaggle answers 400$"):
        send(account, "SaveKernel", repeat=False)


def test_a_push_whose_answer_cannot_be_read_is_recognized(kaggle):
    box, account = kaggle
    box.faults.add("SaveKernel", Fault(200, after=True, body=b"<html>"))
    assert push_kernel(account, KERNEL).version == 1
    assert count(box, "SaveKernel") == 1


def test_a_submission_whose_answer_cannot_be_read_is_not_spent_twice(kaggle, tmp_path):
    box, account = kaggle
    box.add_competition("cells", tmp_path, lambda path: (0.75, 0.5))
    path = tmp_path / "submission.csv"
    path.write_text("id,label\n")
    box.faults.add("CreateSubmission", Fault(200, after=True, body=b"<html>"))
    assert submit_file(account, "cells", path, "first") == 1
    assert len(box.submissions) == 1


def test_a_fault_of_our_own_is_none_of_kaggle(kaggle):
    box, account = kaggle
    with pytest.raises(AttributeError):
        account.ask("kernels", "no_such_method", None, what="x")
    with pytest.raises(KeyError):
        account.repeat(lambda: {}["PAUSED"], what="x")
    with pytest.raises(AttributeError):
        account.ask("kernels", "get_kernel", "no request", what="x")
    assert box.requests == []


@pytest.mark.parametrize("code", [403, 404])
def test_a_no_is_taken_at_its_word_where_nothing_must_be_there(kaggle, code):
    box, account = kaggle
    body = b'{"code": %d, "message": "You cannot see it"}' % code
    box.faults.add("GetKernel", Fault(code, body=body, headers=JSON))
    with pytest.raises(NotThere, match=rf"does not know it, or does not show it to this user \({code}\): You cannot"):
        send(account, "GetKernel")
    assert count(box, "GetKernel") == 1


@pytest.mark.parametrize("code", [403, 404])
def test_what_must_be_there_is_asked_for_again(kaggle, code):
    box, account = kaggle
    box.add_dataset("me/x", Path())
    box.faults.add("GetDataset", Fault(code), times=PASSING_TRIES - 1)
    assert send(account, "GetDataset", there=True).current_version_number == 1
    box.faults.add("GetDataset", Fault(code), times=PASSING_TRIES)
    with pytest.raises(NotThere):
        send(account, "GetDataset", there=True)
    assert count(box, "GetDataset") == 2 * PASSING_TRIES


def test_what_is_information_only_is_asked_less_often(kaggle, capsys):
    box, account = kaggle
    for tries in (1, 2):
        box.requests.clear()
        box.faults.add("GetAcceleratorQuotaStatistics", Fault(503), times=tries)
        with pytest.raises(Unclear, match="Kaggle answers 503"):
            send(account, "GetAcceleratorQuotaStatistics", tries=tries)
        assert len(box.requests) == tries
    assert "Kaggle answers 503; trying again (1 of 2)" in capsys.readouterr().out


def test_the_platforms_clock_goes_on_from_its_last_answer(kaggle, monkeypatch):
    box, account = kaggle
    box.add_dataset("me/x", Path())
    assert account.now() is None  # a key is not sent anywhere for signing in
    dates = ["Sat, 28 Nov 2026 12:00:00 GMT", "no date", "Sat, 28 Nov 2026 14:00:00 GMT"]
    monkeypatch.setattr(kaggle_box._Handler, "date_time_string", lambda *_: dates[0])
    monkeypatch.setattr(connection.time, "monotonic", lambda: 1000.0)
    send(account, "GetDataset")
    noon = 1795867200.0
    assert account.now() == noon
    monkeypatch.setattr(connection.time, "monotonic", lambda: 1300.0)
    assert account.now() == noon + 300
    monkeypatch.setattr(connection.time, "time", lambda: 0.0)  # this machine's does not matter
    del dates[0]
    send(account, "GetDataset")
    assert account.now() == noon + 300
    del dates[0]
    box.faults.add("GetDataset", Fault(400))
    with pytest.raises(Refused):
        send(account, "GetDataset")
    assert account.now() == noon + 7200


def test_a_401_in_passing_passes(kaggle):
    box, account = kaggle
    box.add_dataset("me/x", Path())
    box.faults.add("GetDataset", Fault(401), times=PASSING_TRIES - 1)
    assert send(account, "GetDataset", repeat=False).current_version_number == 1
    box.faults.add("GetDataset", Fault(401), times=PASSING_TRIES)
    with pytest.raises(NotSignedIn, match=r"\(401\); they are the API key of KAGGLE_USERNAME and KAGGLE_KEY: make"):
        send(account, "GetDataset")
    assert issubclass(NotSignedIn, Unclear) and issubclass(NotSignedIn, UserError)
    send(account, "GetDataset")  # a chain that looks later goes on


def test_faults_of_files_are_explained_too(kaggle, monkeypatch):
    """An exception of `requests` is an OSError, and would be told as a fault of this machine."""
    box, account = kaggle
    push_kernel(account, KERNEL)
    box.wait()
    (box.kernels["me/imettk-x-train"][0].job.working / "a.txt").write_text("x" * 1000)
    url = "http://localhost/output/me/imettk-x-train/v1/a.txt"

    def get() -> bytes:
        with account.get(url) as answer:
            answer.raise_for_status()
            return bytes(answer.content)

    for code, error in ((401, NotThere), (403, NotThere), (404, NotThere), (400, Refused)):
        box.faults.add("GET", Fault(code))
        with pytest.raises(error, match=rf"a file: Kaggle .*{code}"):
            account.repeat(get, what="a file")

    def look() -> None:
        account.get(url).raise_for_status()

    box.faults.add("GET", Fault(500, body=b"{" * 1000, cut=True))
    with pytest.raises(Unclear, match="a file: Kaggle answers 500"):  # whose own text breaks off
        account.repeat(look, what="a file", repeat=False)
    for fault in (Fault(200, cut=True), Fault(0)):
        box.faults.add("GET", fault)
        with pytest.raises(Unclear, match="a file: "):
            account.repeat(get, what="a file", repeat=False)
    assert account.repeat(get, what="a file") == b"x" * 1000
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(Unclear, match=r"no answer from Kaggle \(ProxyError\)"):
        account.repeat(get, what="a file")
    with pytest.raises(Unclear, match=r"no answer from Kaggle \(ProxyError\)"):
        account.repeat(lambda: account.put(url, b"x", {}), what="a file")
