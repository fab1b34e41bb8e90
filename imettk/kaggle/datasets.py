"""Datasets: upload a folder file by file, make a version of it, and wait until kernels can have that version."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imettk.errors import DataError, PlatformError
from imettk.kaggle.client import Kaggle, NotThere, Refused, Unclear, owner_of
from imettk.kaggle.contents import METADATA
from imettk.progress import progress_bar, say

MAX_FILES = 1000
POLL_SECONDS = 10.0
READY_SECONDS = 3600.0  # a few gigabytes take minutes
_BAD = ("FAILED", "DELETED")


def current_version(kaggle: Kaggle, reference: str) -> int:
    """The version that kernels get at present; 0 where there is no such dataset."""
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

    request = ApiGetDatasetRequest()
    request.owner_slug, request.dataset_slug = owner_of(reference)
    try:
        dataset = kaggle.ask("datasets", "get_dataset", request, what=f"look-up of dataset {reference}")
    except (NotThere, Refused):  # another's private dataset and one that is not there answer alike
        return 0
    return int(dataset.current_version_number or 0)


def upload_folder(kaggle: Kaggle, folder: Path, notes: str) -> tuple[str, int]:
    """Upload a folder as a new dataset, or as a new version of it; `owner/slug` and the version to wait for.

    Args:
        folder: flat, with a `dataset-metadata.json`.
        notes: what is said about this version.

    Raises:
        DataError: a folder inside, or too many files: the platform would drop them in silence.
        PlatformError: a file or the version was not taken.
    """
    files = sorted(path for path in folder.iterdir() if path.name != METADATA)
    inside = [path.name for path in files if not path.is_file()]
    if inside or not 0 < len(files) <= MAX_FILES:
        fault = f"has {inside[0]}, a folder" if inside else f"has {len(files)} files"
        raise DataError(f"{folder} {fault}: a dataset is uploaded as 1 to {MAX_FILES} files without folders")
    metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    reference = metadata["id"]
    size = sum(path.stat().st_size for path in files)
    with progress_bar(f"upload {reference}", total=size, unit="B") as bar:
        tokens = [_upload_file(kaggle, path, bar.update) for path in files]
    before = last_version(kaggle, reference)
    if before is None:
        _create(kaggle, metadata, tokens)
    else:
        _create_version(kaggle, reference, tokens, notes, before)
    return reference, (before or 0) + 1


def wait_ready(kaggle: Kaggle, reference: str, version: int, *, limit_seconds: float = READY_SECONDS) -> None:
    """Wait until the platform has processed this version; a kernel pushed before would get the one before.

    Raises:
        PlatformError: processing failed, or takes longer than the limit.
    """

    def is_ready(status: str | None) -> bool:
        if status in _BAD:
            raise PlatformError(
                f"dataset {reference}: the platform says {status} of version {version}; upload it again"
            )
        return status == "READY" and current_version(kaggle, reference) >= version

    _wait(kaggle, reference, f"version {version}", is_ready, limit_seconds)


def last_version(kaggle: Kaggle, reference: str) -> int | None:
    """The last version, once none is in processing any more; None where there is no such dataset.

    Before, the next one's number is not known: that of an upload that was killed is still to come.
    """
    if _status(kaggle, reference) is None:
        return None
    _wait(kaggle, reference, "before this", lambda status: status in (None, "READY", *_BAD), READY_SECONDS)
    return current_version(kaggle, reference)


def _wait(
    kaggle: Kaggle, reference: str, which: str, is_over: Callable[[str | None], bool], limit_seconds: float
) -> None:
    """Ask for a dataset's status until it is such a one."""
    end, told = time.monotonic() + limit_seconds, ""
    while not is_over(status := _status(kaggle, reference)):
        status = status or "NOT_YET_PERSISTED"  # for a moment after its first version was made
        if status != told:
            say(f"dataset {reference} {which}: {status.lower().replace('_', ' ')}")
            told = status
        if time.monotonic() > end:
            raise PlatformError(
                f"dataset {reference} {which} is not ready after {limit_seconds / 60:.0f} minutes "
                f"({status}); look at kaggle.com/datasets/{reference}"
            )
        kaggle.patience.sleep(POLL_SECONDS)


def _create(kaggle: Kaggle, metadata: dict[str, Any], tokens: list[str]) -> None:
    from kagglesdk.datasets.types.dataset_api_service import ApiCreateDatasetRequest

    request = ApiCreateDatasetRequest()
    request.owner_slug, request.slug = owner_of(metadata["id"])
    request.title = metadata["title"]
    request.license_name = metadata["licenses"][0]["name"]
    request.is_private = True
    request.files = _new_files(tokens)
    _made(kaggle, "create_dataset", request, metadata["id"], 0)


def _create_version(kaggle: Kaggle, reference: str, tokens: list[str], notes: str, before: int) -> None:
    from kagglesdk.datasets.types.dataset_api_service import (
        ApiCreateDatasetVersionRequest,
        ApiCreateDatasetVersionRequestBody,
    )

    request = ApiCreateDatasetVersionRequest()
    request.owner_slug, request.dataset_slug = owner_of(reference)
    request.body = ApiCreateDatasetVersionRequestBody()
    request.body.version_notes = notes
    request.body.files = _new_files(tokens)
    _made(kaggle, "create_dataset_version", request, reference, before)


def _made(kaggle: Kaggle, method: str, request: Any, reference: str, before: int) -> None:
    """Ask for a version once; where the answer was lost, look whether it is there before asking again."""
    what = f"upload of dataset {reference}"
    for failures in range(1, kaggle.patience.tries + 1):
        try:
            answer = kaggle.ask("datasets", method, request, what=what, repeat=False)
        except Unclear as error:
            kaggle.patience.wait(failures)
            if _arrived(kaggle, reference, before):
                return
            if failures == kaggle.patience.tries:
                raise
            say(f"{error}; trying again")
            continue
        if str(answer.status).lower() != "ok":
            raise PlatformError(f"{what}: Kaggle says {answer.error or answer.status!r}")
        return


def _arrived(kaggle: Kaggle, reference: str, before: int) -> bool:
    """Whether a version after this one is there or in processing."""
    status = _status(kaggle, reference)
    if status is None:
        return False
    return before == 0 or status != "READY" or current_version(kaggle, reference) > before


def _status(kaggle: Kaggle, reference: str) -> str | None:
    """How far the platform is with a dataset, or None where there is none."""
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetStatusRequest

    request = ApiGetDatasetStatusRequest()
    request.owner_slug, request.dataset_slug = owner_of(reference)
    try:
        answer = kaggle.ask("datasets", "get_dataset_status", request, what=f"status of dataset {reference}")
    except (NotThere, Refused):
        return None
    return str(answer.status.name)


def _new_files(tokens: list[str]) -> list[Any]:
    from kagglesdk.datasets.types.dataset_api_service import ApiDatasetNewFile

    files = []
    for token in tokens:
        file = ApiDatasetNewFile()
        file.token = token
        files.append(file)
    return files


def _upload_file(kaggle: Kaggle, path: Path, moved: Callable[[int], Any]) -> str:
    """Upload a file; its token. A broken upload goes on where the server says that it stands."""
    from kagglesdk.blobs.types.blob_api_service import ApiBlobType, ApiStartBlobUploadRequest

    request = ApiStartBlobUploadRequest()
    request.type = ApiBlobType.DATASET
    request.name = path.name
    request.content_length = path.stat().st_size
    request.last_modified_epoch_seconds = int(path.stat().st_mtime)
    what = f"upload of {path.name}"
    started = kaggle.ask("blobs", "start_blob_upload", request, what=what)
    send_blob(kaggle, path, started.create_url, what=what)
    moved(request.content_length)
    return str(started.token)


def send_blob(kaggle: Kaggle, path: Path, url: str, *, what: str) -> None:
    """PUT a file's content to an upload address, in as many pieces as it takes.

    Raises:
        Refused: the server does not take the file.
        Unclear: it could not be sent in all tries.
    """
    size, start = path.stat().st_size, 0

    def put() -> None:
        nonlocal start
        with open(path, "rb") as file:
            file.seek(start)
            part = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if start else {}
            # A request without body must say so: requests would send an empty file in chunks.
            answer = kaggle.put(url, file if size else b"", {"Content-Length": str(size - start), **part})
        answer.raise_for_status()
        if answer.status_code == 308:
            raise Unclear(f"{what}: only a part has arrived")

    for failures in range(1, kaggle.patience.tries + 1):
        try:
            kaggle.repeat(put, what=what, repeat=False)
            return
        except Unclear:
            if failures == kaggle.patience.tries:
                raise
        kaggle.patience.wait(failures)
        start = _held(kaggle, url, size, start)
        if start >= size:
            return


def _held(kaggle: Kaggle, url: str, size: int, known: int) -> int:
    """How many bytes of an upload the server has (the protocol of resumable uploads: 308 and the range it holds)."""
    try:
        answer = kaggle.put(url, b"", {"Content-Length": "0", "Content-Range": f"bytes */{size}"})
    except Exception:  # no answer: the next try tells
        return known
    if answer.status_code in (200, 201):
        return size
    held = answer.headers.get("Range", "")
    if answer.status_code == 308:
        return int(held.rpartition("-")[2]) + 1 if held else 0
    return 0
