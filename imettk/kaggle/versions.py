"""A dataset version with a folder's content: searched, uploaded if missing, and verified by reading it there."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from imettk.errors import BusyError, PlatformError
from imettk.kaggle.client import Kaggle, NotThere, Unclear, owner_of
from imettk.kaggle.contents import METADATA, name_fault, read_metadata
from imettk.kaggle.datasets import last_version, upload_folder, wait_ready
from imettk.progress import say
from imettk.tracking.lock import hold_folder

UPLOADS = 3  # of the same content, before giving up
READ_TRIES = 3  # of a file that arrives broken
POLL_SECONDS = 5.0
HOLD_SECONDS = 3600.0  # the longest wait for another process; an upload and its processing take minutes


@contextmanager
def hold_upload(folder: Path, sleep: Callable[[float], None] = time.sleep) -> Iterator[None]:
    """Lock a folder while it is made and uploaded, or filled by a download; wait for another process that has it.

    Raises:
        BusyError: another process has held it for an hour.
    """
    waited = 0.0

    def wait(busy: str) -> None:
        nonlocal waited
        if waited >= HOLD_SECONDS:
            raise BusyError(f"{busy} for an hour: stop it, or use another folder")
        if not waited:
            say(f"{busy}; waiting")
        waited += POLL_SECONDS
        sleep(POLL_SECONDS)

    # The lock lies beside the folder: everything in the folder may be replaced, or uploaded.
    place = folder.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        with name_fault(place.parent):
            held.enter_context(hold_folder(folder, lock=place.parent / f".{place.name}.lock", wait=wait))
        yield


def upload_version(
    kaggle: Kaggle, folder: Path, files: Sequence[str], *, mark: str, notes: str, look_back: int = 1
) -> tuple[str, int]:
    """Make sure that the platform has a folder's content, processed; return `owner/slug` and the version.

    Args:
        folder: a folder with a `dataset-metadata.json`.
        files: the names of the files to send, the mark among them.
        mark: the name of a JSON file with the hashes of all files, which identifies the content.
        look_back: how many of the last versions to search for the content before it is uploaded.

    Raises:
        PlatformError: no version has the content after several uploads.
    """
    # A version number that was only counted proves nothing: somebody may upload to the dataset at the same moment, or
    # delete it and make it again. A version counts once its own mark has been read on the platform.
    wanted = json.loads((folder / mark).read_text(encoding="utf-8"))
    reference = str((read_metadata(folder / METADATA) or {})["id"])
    last = last_version(kaggle, reference) or 0
    if version := _find(kaggle, reference, mark, wanted, range(last, max(last - look_back, 0), -1)):
        return reference, version
    for _ in range(UPLOADS):
        _, first = upload_folder(kaggle, folder, files, notes)
        wait_ready(kaggle, reference, first)
        last = last_version(kaggle, reference) or 0
        if version := _find(kaggle, reference, mark, wanted, range(last, first - 1, -1), there=True):
            return reference, version
        say(f"dataset {reference}: version {first} is not this upload; another one may have come at the same time")
    raise PlatformError(
        f"dataset {reference}: after {UPLOADS} uploads no version has the content of {folder}; does something else "
        f"upload or delete there, or may this token not download? Look at kaggle.com/datasets/{reference}"
    )


def read_mark(kaggle: Kaggle, reference: str, version: int, name: str, *, there: bool = True) -> dict[str, Any] | None:
    """Return the JSON object in a file of a dataset's version; None if there is no such version, file or object.

    Args:
        there: whether it must exist, so that a 403 or 404 is asked again.

    Raises:
        Unclear: it could not be read in all tries.
    """
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest
    from requests import RequestException

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = owner_of(reference)
    request.dataset_version_number, request.file_name = version, name
    what = f"{name} of {reference} version {version}"
    is_broken = False
    for failures in range(1, READ_TRIES + 1):
        try:
            with kaggle.ask("datasets", "download_dataset", request, what=what, there=there) as answer:
                content = json.loads(_unpacked(answer.content))
        except NotThere:
            return None
        except RequestException:  # the answer came, but its content broke off
            is_broken = True
        except (ValueError, zipfile.BadZipFile):  # a web page in its place, perhaps in passing
            is_broken = False
        else:
            return content if isinstance(content, dict) else None
        if failures < READ_TRIES:
            kaggle.patience.wait(failures)
    if is_broken:
        raise Unclear(f"{what}: the download breaks off; try again later")
    return None


def _unpacked(content: bytes) -> bytes:
    """Return a file's content, which the platform sometimes wraps in a zip."""
    if not content.startswith(b"PK\x03\x04"):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(archive.namelist()[0])


def _find(
    kaggle: Kaggle, reference: str, mark: str, wanted: Any, versions: Iterable[int], *, there: bool = False
) -> int:
    """Return the first of these versions with the wanted mark; 0 if none has it."""
    return next(
        (version for version in versions if read_mark(kaggle, reference, version, mark, there=there) == wanted), 0
    )
