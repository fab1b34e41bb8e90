"""A pinned version has the uploaded content, verified on the platform, whatever else uploads or deletes there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import kaggle_box
import pytest
from kaggle_box import Fault, KaggleBox
from pack_versions import PACK, held, upload

from imettk.errors import BusyError, PlatformError
from imettk.kaggle import versions
from imettk.kaggle.client import Unclear
from imettk.kaggle.packs import pack_digest
from imettk.kaggle.versions import hold_upload, read_mark


def add_other(box: KaggleBox, name: str = "other") -> None:
    """Add a version with another pack, as uploaded from elsewhere."""
    folder = box.root / name
    folder.mkdir(parents=True)
    (folder / "imettk-pack.json").write_text(json.dumps({"pack": name, "files": {}}))
    box.add_dataset(PACK, folder)


def test_a_dataset_that_was_deleted_and_made_again_is_recognised(kaggle, out):
    box, account = kaggle
    first, digest = upload(account, out)
    (out.parent / "packs.json").write_text(json.dumps({PACK: {digest: 1}}))  # as earlier versions recorded it
    del box.datasets[PACK]
    shutil.rmtree(box.root / "datasets")
    add_other(box)
    pinned, again = upload(account, out)
    assert pinned == f"{PACK}/2" and again == digest == held(box, pinned)
    (out.parent / "packs.json").write_text("damaged")
    del box.datasets[PACK]
    shutil.rmtree(box.root / "datasets")
    pinned, _ = upload(account, out)
    assert pinned == f"{PACK}/1" and held(box, pinned) == digest and first == pinned


def test_a_version_that_has_vanished_is_uploaded_again(kaggle, out):
    box, account = kaggle
    upload(account, out)
    shutil.rmtree(box.datasets[PACK].versions[0])
    assert upload(account, out)[0] == f"{PACK}/2"


def test_a_version_whose_processing_failed_is_followed_by_another(kaggle, out):
    box, account = kaggle
    box.faults.add("GetDatasetStatus", Fault(404), times=6)
    failed = Fault(200, body=b'{"status": "FAILED"}', headers={"Content-Type": "application/json"})
    box.faults.add("GetDatasetStatus", failed)
    with pytest.raises(PlatformError, match="the platform reports FAILED for version 1; run the same command again"):
        upload(account, out)
    box.datasets[PACK].failed, box.datasets[PACK].polls_left = True, 0
    pinned, digest = upload(account, out)
    assert pinned == f"{PACK}/2" and held(box, pinned) == digest


def test_each_of_two_simultaneous_uploads_finds_its_version(kaggle, out):
    """Another version comes between look and upload, and takes the expected number."""
    box, account = kaggle
    add_other(box, "first")
    make = box._create_dataset_version
    box._create_dataset_version = lambda request: add_other(box) or make(request)
    pinned, digest = upload(account, out)
    assert pinned == f"{PACK}/3" and held(box, pinned) == digest
    assert [method for method, _ in box.requests].count("CreateDatasetVersion") == 1


def test_the_later_of_two_uploads_is_awaited(kaggle, out):
    """The version of the other upload is ready and current first."""
    box, account = kaggle
    add_other(box, "first")
    make = box._create_dataset_version

    def made_before(request):
        answer = make(request)
        box.datasets[PACK].versions.insert(1, box.root / "first")
        return answer

    box._create_dataset_version, box.processing_polls = made_before, 3
    pinned, digest = upload(account, out)
    assert pinned == f"{PACK}/3" and held(box, pinned) == digest


def test_a_lost_upload_is_made_again(kaggle, out, capsys):
    """Its answer was lost, it had no effect, and another version came meanwhile."""
    box, account = kaggle
    add_other(box, "first")
    box.faults.add("CreateDatasetVersion", Fault(500, where=lambda request: add_other(box) is None))
    pinned, digest = upload(account, out)
    assert pinned == f"{PACK}/3" and held(box, pinned) == digest
    assert f"dataset {PACK}: version 2 is not this upload" in capsys.readouterr().out


def test_an_upload_that_never_appears_is_one_line(kaggle, out):
    box, account = kaggle

    def other(request):
        add_other(box, f"other{len(box.requests)}")
        return {"status": "ok"}

    box._create_dataset = box._create_dataset_version = other
    with pytest.raises(PlatformError, match=rf"{PACK}: after 3 uploads no version has the content of .*pack"):
        upload(account, out)
    assert len(box.datasets[PACK].versions) == 3


REFUSAL = {"body": b'{"code": 403, "message": "no"}', "headers": {"Content-Type": "application/json"}}


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("DownloadDataset", Fault(503)),
        ("DownloadDataset", Fault(403)),
        ("DownloadDataset", Fault(200, **REFUSAL)),
        ("DownloadDataset", Fault(200, body=b"<html>maintenance</html>", headers={"Content-Type": "text/html"})),
        ("DownloadDataset", Fault(0)),
        ("GET", Fault(200, cut=True)),
        ("GET", Fault(404)),
        ("GET", Fault(200, body=b"[1]")),
        ("GET", Fault(200, body=b"PK\x03\x04 is no zip")),
    ],
)
def test_a_mark_is_read_despite_passing_faults(kaggle, out, method, fault):
    box, account = kaggle
    pinned, digest = upload(account, out)
    box.faults.add(method, fault, times=2)
    assert pack_digest(account, pinned) == (None if fault.body == b"[1]" else digest)
    assert method in box.faults.happened


def test_a_mark_that_always_breaks_off_is_one_line(kaggle, out):
    box, account = kaggle
    pinned, _ = upload(account, out)
    box.faults.add("GET", Fault(200, cut=True), times=99)
    with pytest.raises(
        Unclear, match=rf"imettk-pack.json of {PACK} version 1: the download breaks off; try again later"
    ):
        pack_digest(account, pinned)


def test_a_file_that_comes_in_a_zip_is_read(kaggle, out):
    box, account = kaggle
    pinned, digest = upload(account, out)
    box.wraps = True
    assert pack_digest(account, pinned) == digest
    assert read_mark(account, PACK, 1, "none.json") is None


@pytest.mark.parametrize("seed", range(4))
def test_in_a_storm_the_uploaded_content_is_pinned(kaggle, out, mine, seed):
    box, account = kaggle
    add_other(box)
    box.faults.storm(seed, 0.25)
    for recipe in ("digits", mine):
        pinned, digest = upload(account, out, recipe)
        assert held(box, pinned) == digest
    assert box.faults.happened


HOLDS = """
import sys
from pathlib import Path
from imettk.kaggle.versions import hold_upload
with hold_upload(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(out):
    """A process that holds the pack's folder, as an upload does, until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.stdin.close()
    process.wait()
    process.stdout.close()


def test_a_pack_folder_is_locked_until_its_upload_has_ended(kaggle, out, holder, capsys):
    box, account = kaggle
    waits = []

    def sleep(seconds: float) -> None:
        assert not out.exists() and box.requests == []
        waits.append(seconds)
        if len(waits) == 2:
            holder.stdin.close()
            holder.wait()

    with hold_upload(out, sleep):
        assert waits and not out.exists()
    text = capsys.readouterr().out
    assert text == f"{out} is in use by process {holder.pid}; waiting\n"
    assert upload(account, out)[0] == f"{PACK}/1"
    assert ".pack.lock" not in {path.name for path in box.datasets[PACK].versions[0].iterdir()}


UPLOADS = """
import sys
from pathlib import Path
from kaggle_box import fast_patience
from imettk.kaggle.client import Kaggle
from imettk.kaggle.pack import PackOrder
from imettk.kaggle.packs import upload_pack
recipe = Path(sys.argv[2]) if sys.argv[2].endswith(".py") else None
print(*upload_pack(Kaggle(fast_patience()), Path(sys.argv[1]), PackOrder(recipe=recipe, wheels=False)))
"""


def test_two_processes_with_one_folder_each_pin_their_pack(kaggle, out, mine):
    box, _ = kaggle
    path = os.pathsep.join(filter(None, [str(Path(kaggle_box.__file__).parent), os.environ.get("PYTHONPATH")]))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", UPLOADS, out, recipe],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )
        for recipe in ("digits", mine)
    ]
    endings = [process.communicate()[0].splitlines()[-1].split() for process in processes]
    assert {pinned for pinned, _ in endings} == {f"{PACK}/1", f"{PACK}/2"}
    assert all(held(box, pinned) == digest for pinned, digest in endings)


def test_waiting_for_a_folder_has_an_end(out, holder, monkeypatch):
    waits = []
    with pytest.raises(BusyError, match=rf"in use by process {holder.pid} for an hour"), hold_upload(out, waits.append):
        raise AssertionError("held twice")
    assert sum(waits) == versions.HOLD_SECONDS
