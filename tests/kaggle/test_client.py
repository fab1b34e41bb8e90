"""Calls of the real client: unreadable answers, passing refusals, and files."""

from __future__ import annotations

from pathlib import Path

import pytest
from kaggle_box import Fault, KaggleBox
from platform_calls import CALLS, JSON, send

from imettk.errors import UserError
from imettk.kaggle.client import PASSING_TRIES, NotSignedIn, NotThere, Refused, Unclear
from imettk.kaggle.kernel import Kernel
from imettk.kaggle.leaderboard import submit_file
from imettk.kaggle.sessions import push_kernel

KERNEL = Kernel("me/imettk-x-train", "train", "digits", "cells", push="p0")


# Bodies and headers with status 200 that are not an answer, and the error that they lead to.
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


def count(box: KaggleBox, method: str) -> int:
    return sum(name == method for name, _ in box.requests)


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_call_with_an_unreadable_answer_may_have_taken_effect(kaggle, shape, method):
    box, account = kaggle
    body, headers, says = SHAPES[shape]
    box.faults.add(method, Fault(200, body=body, headers=headers))
    with pytest.raises(Unclear, match=rf"^{method} of me/x: Kaggle's answer cannot be read \(\w*{says}"):
        send(account, method, repeat=False)
    assert count(box, method) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_call_that_only_asks_is_repeated(kaggle, shape):
    box, account = kaggle
    body, headers, _ = SHAPES[shape]
    box.add_dataset("me/x", Path())
    box.faults.add("GetDatasetStatus", Fault(200, body=body, headers=headers), times=3)
    assert send(account, "GetDatasetStatus").status.name == "READY"
    assert count(box, "GetDatasetStatus") == 4


def test_an_error_in_the_body_of_a_success_counts(kaggle):
    """With a message or without, which the client takes for an answer."""
    box, account = kaggle
    for body, error, says in [
        (b'{"code": 503, "message": "Busy"}', Unclear, "Kaggle answers 503: Busy"),
        (b'{"code": 503}', Unclear, "Kaggle answers 503"),
        (b'{"code": 400}', Refused, "Kaggle answers 400"),
    ]:
        box.faults.add("SaveKernel", Fault(200, body=body, headers=JSON))
        with pytest.raises(error, match=f"{says}$"):
            send(account, "SaveKernel", repeat=False)


def test_the_status_of_an_error_counts_whatever_its_body(kaggle):
    box, account = kaggle
    box.faults.add("SaveKernel", Fault(400, body=b"<html>", headers=JSON))
    with pytest.raises(Refused, match=r"Kaggle answers 400$"):
        send(account, "SaveKernel", repeat=False)


def test_a_push_with_an_unreadable_answer_is_recognised(kaggle):
    box, account = kaggle
    box.faults.add("SaveKernel", Fault(200, after=True, body=b"<html>"))
    assert push_kernel(account, KERNEL).version == 1
    assert count(box, "SaveKernel") == 1


def test_a_submission_with_an_unreadable_answer_is_not_made_twice(kaggle, tmp_path):
    box, account = kaggle
    box.add_competition("cells", tmp_path, lambda path: (0.75, 0.5))
    path = tmp_path / "submission.csv"
    path.write_text("id,label\n")
    box.faults.add("CreateSubmission", Fault(200, after=True, body=b"<html>"))
    assert submit_file(account, "cells", path, "first") == 1
    assert len(box.submissions) == 1


def test_our_own_bugs_are_not_taken_for_faults_of_kaggle(kaggle):
    box, account = kaggle
    with pytest.raises(AttributeError):
        account.ask("kernels", "no_such_method", None, what="x")
    with pytest.raises(KeyError):
        account.repeat(lambda: {}["PAUSED"], what="x")
    with pytest.raises(AttributeError):
        account.ask("kernels", "get_kernel", "no request", what="x")
    assert box.requests == []


@pytest.mark.parametrize("code", [403, 404])
def test_a_refusal_is_final_for_things_that_need_not_exist(kaggle, code):
    box, account = kaggle
    body = b'{"code": %d, "message": "You cannot see it"}' % code
    box.faults.add("GetKernel", Fault(code, body=body, headers=JSON))
    with pytest.raises(NotThere, match=rf"does not know it, or does not show it to this user \({code}\): You cannot"):
        send(account, "GetKernel")
    assert count(box, "GetKernel") == 1


@pytest.mark.parametrize("code", [403, 404])
def test_things_that_must_exist_are_asked_for_again(kaggle, code):
    box, account = kaggle
    box.add_dataset("me/x", Path())
    box.faults.add("GetDataset", Fault(code), times=PASSING_TRIES - 1)
    assert send(account, "GetDataset", there=True).current_version_number == 1
    box.faults.add("GetDataset", Fault(code), times=PASSING_TRIES)
    with pytest.raises(NotThere):
        send(account, "GetDataset", there=True)
    assert count(box, "GetDataset") == 2 * PASSING_TRIES


def test_mere_information_is_asked_for_less_often(kaggle, capsys):
    box, account = kaggle
    for tries in (1, 2):
        box.requests.clear()
        box.faults.add("GetAcceleratorQuotaStatistics", Fault(503), times=tries)
        with pytest.raises(Unclear, match="Kaggle answers 503"):
            send(account, "GetAcceleratorQuotaStatistics", tries=tries)
        assert len(box.requests) == tries
    assert "Kaggle answers 503; trying again (1 of 2)" in capsys.readouterr().out


def test_a_passing_401_is_survived(kaggle):
    box, account = kaggle
    box.add_dataset("me/x", Path())
    box.faults.add("GetDataset", Fault(401), times=PASSING_TRIES - 1)
    assert send(account, "GetDataset", repeat=False).current_version_number == 1
    box.faults.add("GetDataset", Fault(401), times=PASSING_TRIES)
    with pytest.raises(NotSignedIn, match=r"\(401\); they are the API key of KAGGLE_USERNAME and KAGGLE_KEY: make"):
        send(account, "GetDataset")
    assert issubclass(NotSignedIn, Unclear) and issubclass(NotSignedIn, UserError)
    send(account, "GetDataset")  # a later call goes on


def test_faults_of_files_are_explained_too(kaggle, monkeypatch):
    """An exception of `requests` is an OSError, which would be reported as a fault of this machine."""
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
    with pytest.raises(Unclear, match="a file: Kaggle answers 500"):  # although its body breaks off
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
