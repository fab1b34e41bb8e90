"""Datasets: upload files one by one, make a version of them, and wait until kernels can use that version."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from imettk.errors import DataError, PlatformError
from imettk.kaggle.blobs import send_blob
from imettk.kaggle.client import Kaggle, NotThere, Refused, Unclear, owner_of
from imettk.kaggle.contents import METADATA, read_metadata
from imettk.progress import progress_bar, say

MAX_FILES = 1000  # of a dataset; the platform silently drops the rest
POLL_SECONDS = 10.0
READY_SECONDS = 3600.0  # a few gigabytes take minutes
_BAD = ("FAILED", "DELETED")
_SETTLED = ("READY", *_BAD)


def current_version(kaggle: Kaggle, reference: str) -> int:
    """Return the version that kernels get at present; 0 if there is no such dataset, after several tries."""
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

    request = ApiGetDatasetRequest()
    request.owner_slug, request.dataset_slug = owner_of(reference)
    try:
        dataset = kaggle.ask("datasets", "get_dataset", request, what=f"look-up of dataset {reference}", there=True)
    except NotThere:  # somebody else's private dataset and a missing one get the same answer
        return 0
    return int(dataset.current_version_number or 0)


def upload_folder(kaggle: Kaggle, folder: Path, files: Sequence[str], notes: str) -> tuple[str, int]:
    """Upload files as a new dataset or a new version of it; return `owner/slug` and the version to wait for.

    Args:
        folder: a folder with a `dataset-metadata.json`.
        files: the names of the files in the folder.
        notes: the notes of this version.

    Raises:
        DataError: one of them is a folder, there are too many (the platform would silently drop them), or the metadata
            are missing.
        OSError: a file cannot be read, or changes while it is sent.
        PlatformError: the platform refuses a file or the version.
    """
    paths = [folder / name for name in sorted(files)]
    if (inside := [path.name for path in paths if path.is_dir()]) or not 0 < len(paths) <= MAX_FILES:
        fault = f"has {inside[0]}, a folder" if inside else f"has {len(paths)} files"
        raise DataError(f"{folder} {fault}: a dataset is uploaded as 1 to {MAX_FILES} files without folders")
    metadata = read_metadata(folder / METADATA)
    if metadata is None:
        raise DataError(f"{folder / METADATA} is missing: it names the dataset")
    reference = str(metadata["id"])
    size = sum(path.stat().st_size for path in paths)
    with progress_bar(f"upload {reference}", total=size, unit="B") as bar:
        tokens = [_upload_file(kaggle, path, bar.update) for path in paths]
    # Looked up after the upload, which takes minutes in which other versions may come.
    before = last_version(kaggle, reference)
    if before is None and (refusal := _create(kaggle, metadata, tokens)):
        before = last_version(kaggle, reference)
        if before is None:
            raise PlatformError(refusal)
        say(f"{refusal}: it was created meanwhile, so this becomes a version of it")
    if before is not None:
        _create_version(kaggle, reference, tokens, notes, before)
    return reference, (before or 0) + 1


def wait_ready(kaggle: Kaggle, reference: str, version: int, *, limit_seconds: float = READY_SECONDS) -> None:
    """Wait until the platform has processed this version; a kernel pushed earlier would get the version before.

    Raises:
        PlatformError: processing failed, or takes longer than the limit.
    """

    def is_ready(status: str | None) -> bool:
        if status in _BAD:
            raise PlatformError(
                f"dataset {reference}: the platform reports {status} for version {version}; run the same command again"
            )
        # READY may still refer to the version before.
        return status == "READY" and current_version(kaggle, reference) >= version

    _wait(kaggle, reference, f"version {version}", is_ready, limit_seconds)


def last_version(kaggle: Kaggle, reference: str) -> int | None:
    """Return the last version, once none is being processed any more; None if there is no such dataset.

    While one is being processed the number of the next is not known: the version of a killed upload may still appear.
    """
    status = _status(kaggle, reference)
    if status is None:
        return None
    if status not in _SETTLED:
        _wait(kaggle, reference, "before this", lambda status: status in (None, *_SETTLED), READY_SECONDS)
    version = current_version(kaggle, reference)
    return None if status == "DELETED" and not version else version


def _wait(
    kaggle: Kaggle, reference: str, which: str, is_over: Callable[[str | None], bool], limit_seconds: float
) -> None:
    """Ask for a dataset's status until `is_over` accepts it, and print each change."""
    end, printed = time.monotonic() + limit_seconds, ""
    while not is_over(status := _status(kaggle, reference)):
        status = status or "NOT_YET_PERSISTED"  # for a moment after its first version was created
        if status != printed:
            say(f"dataset {reference} {which}: {status.lower().replace('_', ' ')}")
            printed = status
        if time.monotonic() > end:
            raise PlatformError(
                f"dataset {reference} {which} is not ready after {limit_seconds / 60:.0f} minutes "
                f"({status}); look at kaggle.com/datasets/{reference}"
            )
        kaggle.patience.sleep(POLL_SECONDS)


def _create(kaggle: Kaggle, metadata: dict[str, Any], tokens: list[str]) -> str:
    """Create a private dataset; return "", or the platform's refusal."""
    from kagglesdk.datasets.types.dataset_api_service import ApiCreateDatasetRequest

    request = ApiCreateDatasetRequest()
    request.owner_slug, request.slug = owner_of(metadata["id"])
    request.title = metadata["title"]
    request.license_name = metadata["licenses"][0]["name"]
    request.is_private = True
    request.files = _new_files(tokens)
    return _create_once(kaggle, "create_dataset", request, metadata["id"], None)


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
    if refusal := _create_once(kaggle, "create_dataset_version", request, reference, before):
        raise PlatformError(refusal)


def _create_once(kaggle: Kaggle, method: str, request: Any, reference: str, before: int | None) -> str:
    """Create a version exactly once: after a lost answer, look whether it arrived before asking again.

    Returns "", or the platform's refusal.
    """
    what = f"upload of dataset {reference}"
    for failures in range(1, kaggle.patience.tries + 1):
        try:
            answer = kaggle.ask("datasets", method, request, what=what, repeat=False, there=True)
        except Unclear as error:
            kaggle.patience.wait(failures)
            if _arrived(kaggle, reference, before):
                return ""
            if failures == kaggle.patience.tries:
                raise
            say(f"{error}; trying again")
            continue
        except Refused as error:
            refusal = str(error)
        else:
            if str(answer.status).lower() == "ok":
                return ""
            refusal = f"{what}: Kaggle says {answer.error or answer.status!r}"
        # "Already in use" after a lost answer: it is the dataset that this very call created.
        return "" if failures > 1 and _arrived(kaggle, reference, before) else refusal
    raise AssertionError("unreachable")


def _arrived(kaggle: Kaggle, reference: str, before: int | None) -> bool:
    """Return whether a version after `before` (None: any) exists or is being processed."""
    status = _status(kaggle, reference)
    if status is None or before is None:
        return status is not None
    return status not in _SETTLED or current_version(kaggle, reference) > before


def _status(kaggle: Kaggle, reference: str) -> str | None:
    """Return how far the platform has processed a dataset, or None if there is none, after several tries."""
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetStatusRequest

    request = ApiGetDatasetStatusRequest()
    request.owner_slug, request.dataset_slug = owner_of(reference)
    try:
        what = f"status of dataset {reference}"
        answer = kaggle.ask("datasets", "get_dataset_status", request, what=what, there=True)
    except NotThere:
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
    """Upload a file and return its token."""
    from kagglesdk.blobs.types.blob_api_service import ApiBlobType, ApiStartBlobUploadRequest

    request = ApiStartBlobUploadRequest()
    request.type = ApiBlobType.DATASET
    request.name = path.name
    request.content_length = path.stat().st_size
    request.last_modified_epoch_seconds = int(path.stat().st_mtime)
    what = f"upload of {path.name}"
    started = kaggle.ask("blobs", "start_blob_upload", request, what=what, there=True)
    send_blob(kaggle, path, started.create_url, what=what, size=request.content_length)
    moved(request.content_length)
    return str(started.token)
