"""A version of a dataset that surely holds a folder's content: looked for, uploaded, and read on the platform."""

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

UPLOADS = 3  # of one content, until a version holds it
READ_TRIES = 3  # of a file that comes broken
POLL_SECONDS = 5.0
HOLD_SECONDS = 3600.0  # an upload and its processing take minutes


@contextmanager
def hold_upload(folder: Path, sleep: Callable[[float], None] = time.sleep) -> Iterator[None]:
    """Hold a folder while it is made and uploaded, or filled by a download; another process that has it is waited for.

    The lock lies beside the folder: what lies in it is replaced, and sent.

    Raises:
        BusyError: it is held for longer than an upload takes.
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

    place = folder.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        with name_fault(place.parent):
            held.enter_context(hold_folder(folder, lock=place.parent / f".{place.name}.lock", wait=wait))
        yield


def upload_version(
    kaggle: Kaggle, folder: Path, files: Sequence[str], *, mark: str, notes: str, look_back: int = 1
) -> tuple[str, int]:
    """See to it that the platform has a folder's content, ready; `owner/slug` and the version that holds it.

    No number is believed that is only counted: two uploads may come at once, from anywhere, and a dataset may be
    deleted and made again. A version is taken when its own mark has been read.

    Args:
        folder: with a `dataset-metadata.json`.
        files: names of what is sent, the mark among them.
        mark: name of a JSON file which tells the content from every other, as it holds the hashes of all files.
        look_back: how many of the last versions may hold it already, instead of an upload.

    Raises:
        PlatformError: no version holds it after several uploads.
    """
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
        say(f"dataset {reference}: version {first} does not hold this upload, another may have come at the same time")
    raise PlatformError(
        f"dataset {reference}: no version holds what was uploaded from {folder}, {UPLOADS} times; does something else "
        f"upload there, or remove it, or may this token not download? look at kaggle.com/datasets/{reference}"
    )


def read_mark(kaggle: Kaggle, reference: str, version: int, name: str, *, there: bool = True) -> dict[str, Any] | None:
    """The JSON object in a file of a dataset's version; None where there is no such version or file, or no object.

    Args:
        there: whether it must be there, so that its absence is asked for again.

    Raises:
        Unclear: it could not be read in all tries.
    """
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest
    from requests import RequestException

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = owner_of(reference)
    request.dataset_version_number, request.file_name = version, name
    what = f"{name} of {reference} version {version}"
    broken = False
    for failures in range(1, READ_TRIES + 1):
        try:
            with kaggle.ask("datasets", "download_dataset", request, what=what, there=there) as answer:
                content = json.loads(_unpacked(answer.content))
        except NotThere:
            return None
        except RequestException:  # the answer was given, and its content broke off
            broken = True
        except (ValueError, zipfile.BadZipFile):  # a page in its place, perhaps in passing
            broken = False
        else:
            return content if isinstance(content, dict) else None
        if failures < READ_TRIES:
            kaggle.patience.wait(failures)
    if broken:
        raise Unclear(f"{what}: it breaks off; try again later")
    return None


def _unpacked(content: bytes) -> bytes:
    """A file's content; the platform wraps some in a zip."""
    if not content.startswith(b"PK\x03\x04"):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(archive.namelist()[0])


def _find(
    kaggle: Kaggle, reference: str, mark: str, wanted: Any, versions: Iterable[int], *, there: bool = False
) -> int:
    """The first of these versions whose mark is the wanted one; 0 where none is."""
    return next(
        (version for version in versions if read_mark(kaggle, reference, version, mark, there=there) == wanted), 0
    )
