"""An interrupted upload resumes, and a file that is refused or changes meanwhile leads to no version."""

from __future__ import annotations

import pytest
from dataset_folders import WHOLE, held, upload_folder
from kaggle_box import Fault

from imettk.errors import describe_fault
from imettk.kaggle.client import Refused


@pytest.mark.parametrize(
    "fault",
    [Fault(503), Fault(429, headers={"Retry-After": "1"}), Fault(0), Fault(0, after=True), Fault(500, after=True),
     Fault(503, cut=True)],
    ids=["503", "429", "closed", "closed after", "500 after", "half of it"],
)  # fmt: skip
def test_an_interrupted_upload_resumes(kaggle, folder, fault):
    box, account = kaggle
    box.faults.add("PUT", fault, times=2)
    upload_folder(account, folder, "first")
    assert len(box.faults.happened) == 2 and held(box, 1) == WHOLE


def test_a_file_that_becomes_shorter_is_one_line_and_no_version(kaggle, folder):
    """It is not a fault of the connection, after which the upload would be tried again."""
    box, account = kaggle
    path = folder / "a.txt"
    box.faults.add("StartBlobUpload", Fault(503, where=lambda request: path.write_bytes(b"short") == 5))
    with pytest.raises(OSError) as caught:
        upload_folder(account, folder, "first")
    line, code = describe_fault(caught.value)
    assert line.startswith(f"{path}: became shorter while it was sent: ") and code == 1
    assert box.datasets == {} and [method for method, _ in box.requests].count("StartBlobUpload") == 2


def test_a_refused_file_leads_to_no_version(kaggle, folder):
    """The official command makes a version without the file, and exits with code 0."""
    box, account = kaggle
    box.faults.add("PUT", Fault(400))
    with pytest.raises(Refused, match=r"upload of a\.txt: Kaggle answers 400"):
        upload_folder(account, folder, "first")
    assert "me/imettk-pack" not in box.datasets
