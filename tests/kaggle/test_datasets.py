"""Uploads to Kaggle in a box through the official client: complete, or a clear failure."""

from __future__ import annotations

import pytest
from dataset_folders import WHOLE, held, upload_folder
from kaggle_box import Fault

from imettk.errors import DataError, PlatformError, UserError
from imettk.kaggle import datasets
from imettk.kaggle.datasets import current_version, wait_ready


def test_a_folder_becomes_a_dataset_and_then_versions_of_it(kaggle, folder):
    box, account = kaggle
    assert current_version(account, "me/imettk-pack") == 0
    assert upload_folder(account, folder, "first") == ("me/imettk-pack", 1)
    wait_ready(account, "me/imettk-pack", 1)
    assert current_version(account, "me/imettk-pack") == 1 and held(box, 1) == WHOLE
    (folder / "b.txt").write_text("b")
    assert upload_folder(account, folder, "second") == ("me/imettk-pack", 2)
    assert current_version(account, "me/imettk-pack") == 1  # a kernel would still get the old one
    wait_ready(account, "me/imettk-pack", 2)
    assert current_version(account, "me/imettk-pack") == 2 and held(box, 2) == WHOLE | {"b.txt": b"b"}
    create = next(request for method, request in box.requests if method == "CreateDataset")
    assert create["isPrivate"] is True and create["licenseName"] == "MIT" and create["title"] == "imettk pack"


@pytest.mark.parametrize("method", ["StartBlobUpload", "CreateDataset", "GetDataset", "GetDatasetStatus"])
@pytest.mark.parametrize("fault", [Fault(503), Fault(0), Fault(500, after=True), Fault(200, cut=True, after=True)])
def test_calls_are_repeated_and_none_takes_effect_twice(kaggle, folder, method, fault):
    box, account = kaggle
    box.faults.add(method, fault, times=2)
    upload_folder(account, folder, "first")
    wait_ready(account, "me/imettk-pack", 1)
    assert method in box.faults.happened
    assert len(box.datasets["me/imettk-pack"].versions) == 1 and held(box, 1) == WHOLE


@pytest.mark.parametrize("fault", [Fault(502, after=True), Fault(429), Fault(503), Fault(0, after=True)])
def test_a_lost_answer_to_a_second_version_leads_to_no_third(kaggle, folder, fault):
    box, account = kaggle
    box.processing_polls = 0
    upload_folder(account, folder, "first")
    box.faults.add("CreateDatasetVersion", fault)
    upload_folder(account, folder, "second")
    assert len(box.datasets["me/imettk-pack"].versions) == 2


def test_an_upload_waits_for_a_version_that_is_still_processed(kaggle, folder):
    """It may come from a killed upload, and kernels would be pinned to its content by the expected number."""
    box, account = kaggle
    upload_folder(account, folder, "first")
    wait_ready(account, "me/imettk-pack", 1)
    upload_folder(account, folder, "of a process that is killed now")
    (folder / "b.txt").write_text("b")
    assert upload_folder(account, folder, "third") == ("me/imettk-pack", 3)
    wait_ready(account, "me/imettk-pack", 3)
    assert held(box, 3) == WHOLE | {"b.txt": b"b"}


def test_a_first_version_that_is_processed_or_has_failed_is_followed_by_another(kaggle, folder):
    box, account = kaggle
    upload_folder(account, folder, "of a process that is killed now")
    assert upload_folder(account, folder, "second") == ("me/imettk-pack", 2)
    box.datasets["me/imettk-pack"].failed, box.datasets["me/imettk-pack"].polls_left = True, 0
    upload_folder(account, folder, "third")
    assert [method for method, _ in box.requests].count("CreateDataset") == 1


PASSING = Fault(
    403, body=b'{"code": 403, "message": "Permission denied"}', headers={"Content-Type": "application/json"}
)


@pytest.mark.parametrize("fault", [PASSING, Fault(404)], ids=["403", "404"])
@pytest.mark.parametrize("method", ["StartBlobUpload", "GetDataset", "GetDatasetStatus", "CreateDatasetVersion"])
def test_a_passing_refusal_does_not_mean_that_a_dataset_is_missing(kaggle, folder, method, fault):
    box, account = kaggle
    upload_folder(account, folder, "first")
    wait_ready(account, "me/imettk-pack", 1)
    box.faults.add(method, fault, times=2)
    assert upload_folder(account, folder, "second") == ("me/imettk-pack", 2)
    wait_ready(account, "me/imettk-pack", 2)
    assert [name for name, _ in box.requests].count("CreateDataset") == 1 and len(box.faults.happened) == 2


@pytest.mark.parametrize("code", [200, 400])
def test_a_dataset_that_exists_after_all_gets_a_version(kaggle, folder, capsys, code):
    """Another process made it between look and creation, or all looks were refused."""
    box, account = kaggle
    upload_folder(account, folder, "first")
    wait_ready(account, "me/imettk-pack", 1)
    box.faults.add("GetDatasetStatus", PASSING, times=3)
    if code == 400:
        box.faults.add("CreateDataset", Fault(400))
    assert upload_folder(account, folder, "second") == ("me/imettk-pack", 2)
    wait_ready(account, "me/imettk-pack", 2)
    assert held(box, 2) == WHOLE and "this becomes a version of it" in capsys.readouterr().out


def test_a_creation_whose_answer_was_lost_is_not_followed_by_a_version(kaggle, folder):
    """It does not appear for a while, and the second attempt is refused because the name is in use."""
    box, account = kaggle
    box.faults.add("CreateDataset", Fault(500, after=True))
    box.faults.add("GetDatasetStatus", Fault(404), times=6)  # before and after the creation
    assert upload_folder(account, folder, "first") == ("me/imettk-pack", 1)
    assert len(box.datasets["me/imettk-pack"].versions) == 1
    assert [name for name, _ in box.requests].count("CreateDataset") == 2


def test_a_failed_version_does_not_count_as_arrived(kaggle, folder):
    box, account = kaggle
    upload_folder(account, folder, "first")
    wait_ready(account, "me/imettk-pack", 1)
    upload_folder(account, folder, "second")
    box.datasets["me/imettk-pack"].failed, box.datasets["me/imettk-pack"].polls_left = True, 0
    box.faults.add("CreateDatasetVersion", Fault(503))
    upload_folder(account, folder, "third")
    assert len(box.datasets["me/imettk-pack"].versions) == 3


def test_a_deleted_dataset_is_made_again(kaggle, folder):
    """For a while after the deletion the platform may still answer with its status."""
    box, account = kaggle
    gone = Fault(200, body=b'{"status": "DELETED"}', headers={"Content-Type": "application/json"})
    box.faults.add("GetDatasetStatus", gone)
    assert upload_folder(account, folder, "first") == ("me/imettk-pack", 1)


@pytest.mark.parametrize(
    "content", [None, "{", "[]", "{}", '{"id": "me", "title": "x", "licenses": [{"name": "MIT"}]}']
)
def test_metadata_without_a_valid_id_are_one_line(kaggle, folder, content):
    box, account = kaggle
    path = folder / "dataset-metadata.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=str(path)):
        upload_folder(account, folder, "first")
    assert box.requests == []


def test_failures_on_the_platform_are_reported(kaggle, folder, monkeypatch):
    box, account = kaggle
    upload_folder(account, folder, "first")
    box.datasets["me/imettk-pack"].failed = True
    with pytest.raises(PlatformError, match="the platform reports FAILED for version 1; run the same command again"):
        wait_ready(account, "me/imettk-pack", 1)
    box.datasets["me/imettk-pack"].failed = False
    box.datasets["me/imettk-pack"].polls_left = 10**9
    with pytest.raises(PlatformError, match=r"is not ready after 0 minutes .*; look at kaggle\.com/datasets"):
        wait_ready(account, "me/imettk-pack", 1, limit_seconds=0.1)
    box.faults.add("GetDatasetStatus", Fault(200, body=b'{"status": "error"}'), times=0)
    (folder / "dataset-metadata.json").write_text(
        (folder / "dataset-metadata.json").read_text().replace("me/imettk-pack", "me/other-pack")
    )
    answer = Fault(200, body=b'{"status": "error", "error": "too large"}', headers={"Content-Type": "application/json"})
    box.faults.add("CreateDataset", answer)
    with pytest.raises(PlatformError, match="Kaggle says 'too large'"):
        upload_folder(account, folder, "first")


def test_a_server_that_stays_down_is_one_line(kaggle, folder):
    box, account = kaggle
    box.faults.storm(seed=0, rate=1.0)
    box.faults.add("StartBlobUpload", Fault(503), times=99)
    with pytest.raises(PlatformError, match=r"upload of a\.txt: Kaggle answers 503"):
        upload_folder(account, folder, "first")


def test_folders_and_too_many_files_are_refused_before_anything_is_sent(kaggle, folder, monkeypatch):
    box, account = kaggle
    monkeypatch.setattr(datasets, "MAX_FILES", 1)
    with pytest.raises(DataError, match="has 2 files: a dataset is uploaded as 1 to 1 files"):
        upload_folder(account, folder, "first")
    (folder / "inside").mkdir()
    with pytest.raises(DataError, match="has inside, a folder"):
        upload_folder(account, folder, "first")
    assert box.requests == []


def test_wrong_credentials_are_one_line_that_hides_the_key(kaggle, folder):
    box, account = kaggle
    box.key = "x" * 32
    with pytest.raises(UserError, match=r"does not accept these credentials \(401\)") as caught:
        upload_folder(account, folder, "first")
    assert "k" * 32 not in str(caught.value)
