"""Answers are checked while they are read, and the platform's clock continues from its last answer."""

from __future__ import annotations

from pathlib import Path

import kaggle_box
import pytest
from kaggle_box import Fault
from platform_calls import JSON, send

from imettk.kaggle import connection
from imettk.kaggle.client import Refused, Unclear

# Answers with a part of the wrong type, or with a word that this client does not know.
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


@pytest.mark.parametrize("method", PARTS)
def test_an_answer_with_a_part_of_the_wrong_type_is_unreadable(kaggle, method):
    box, account = kaggle
    body, says = PARTS[method]
    box.faults.add(method, Fault(200, body=body, headers=JSON))
    with pytest.raises(Unclear, match=rf"cannot be read \(.*({says})"):
        send(account, method, repeat=False)


def test_integers_of_64_bits_come_as_text(kaggle):
    box, account = kaggle
    box.faults.add("GetDataset", Fault(200, body=b'{"currentVersionNumber": "7", "new": [{}]}', headers=JSON))
    assert int(send(account, "GetDataset").current_version_number) == 7


def test_the_platforms_clock_continues_from_its_last_answer(kaggle, monkeypatch):
    box, account = kaggle
    box.add_dataset("me/x", Path())
    assert account.now() is None  # signing in with a key makes no call
    dates = ["Sat, 28 Nov 2026 12:00:00 GMT", "no date", "Sat, 28 Nov 2026 14:00:00 GMT"]
    monkeypatch.setattr(kaggle_box.Handler, "date_time_string", lambda *_: dates[0])
    monkeypatch.setattr(connection.time, "monotonic", lambda: 1000.0)
    send(account, "GetDataset")
    noon = 1795867200.0
    assert account.now() == noon
    monkeypatch.setattr(connection.time, "monotonic", lambda: 1300.0)
    assert account.now() == noon + 300
    monkeypatch.setattr(connection.time, "time", lambda: 0.0)  # this machine's clock does not matter
    del dates[0]
    send(account, "GetDataset")
    assert account.now() == noon + 300
    del dates[0]
    box.faults.add("GetDataset", Fault(400))
    with pytest.raises(Refused):
        send(account, "GetDataset")
    assert account.now() == noon + 7200
