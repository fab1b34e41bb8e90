"""Uploads, datasets and their versions in Kaggle in a box, and files by address."""

from __future__ import annotations

import shutil
import threading
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from box_state import Dataset, Refusal

STORE = "http://storage.localhost"
PROCESSING = ("NOT_YET_PERSISTED", "BLOBS_RECEIVED", "BLOBS_DECOMPRESSED", "INDIVIDUAL_BLOBS_COMPRESSED")


class Datasets:
    """The part of `KaggleBox` that keeps uploaded files and datasets.

    Attributes:
        wraps: whether a file is sent in a zip, as the platform does with some.
        processing_polls: how many status calls a new version takes to become ready.
    """

    wraps = False
    processing_polls = 2
    root: Path

    def open_datasets(self) -> None:
        """Begin without uploads and datasets."""
        self.datasets: dict[str, Dataset] = {}
        self._blobs: dict[str, dict[str, Any]] = {}
        self._lock = threading.RLock()

    def _start_blob_upload(self, request: dict[str, Any]) -> dict[str, Any]:
        token = f"blob{len(self._blobs)}"
        self._blobs[token] = {"name": request["name"], "size": int(request.get("contentLength", 0)), "content": None}
        return {"token": token, "createUrl": f"http://localhost/upload/{token}"}

    def put(self, token: str, content: bytes, content_range: str, *, kept: int | None) -> tuple[int, dict[str, str]]:
        """Take the content of a PUT, only `kept` bytes of it if the connection breaks; return code and headers."""
        with self._lock:
            blob = self._blobs[token]
            have = blob["content"] or b""
            if not content_range.startswith("bytes */"):
                start = int(content_range.split()[1].split("-")[0]) if content_range else 0
                assert start <= len(have), "a hole in the file"
                blob["content"] = have[:start] + (content if kept is None else content[:kept])
            have = blob["content"] or b""
            if len(have) == blob["size"]:
                return 200, {}
            return 308, {"Range": f"bytes=0-{len(have) - 1}"} if have else {}

    def add_dataset(self, reference: str, folder: Path) -> None:
        """Add a version that is ready to a dataset."""
        self.datasets.setdefault(reference, Dataset()).versions.append(folder)

    def _dataset(self, request: dict[str, Any]) -> tuple[str, Dataset]:
        reference = f"{request['ownerSlug']}/{request.get('datasetSlug') or request.get('slug')}"
        if reference not in self.datasets:
            raise Refusal(404, "Not found")
        return reference, self.datasets[reference]

    def _add_version(self, reference: str, tokens: list[dict[str, Any]]) -> dict[str, Any]:
        dataset = self.datasets.setdefault(reference, Dataset())
        folder = self.root / "datasets" / reference / f"v{len(dataset.versions) + 1}"
        shutil.rmtree(folder, ignore_errors=True)  # left by a dataset that was deleted
        folder.mkdir(parents=True)
        for token in tokens:
            blob = self._blobs[token["token"]]
            if blob["content"] is None and blob["size"]:
                continue  # as the platform does: a version without that file
            path = folder / blob["name"]
            path.write_bytes(blob["content"] or b"")
            if path.suffix == ".zip":  # the platform unpacks it into a folder of its name
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(folder / path.stem)
                path.unlink()
        dataset.versions.append(folder)
        dataset.polls_left, dataset.failed = self.processing_polls, False
        return {"ref": reference, "url": f"http://localhost/datasets/{reference}", "status": "ok"}

    def _create_dataset(self, request: dict[str, Any]) -> dict[str, Any]:
        reference = f"{request['ownerSlug']}/{request['slug']}"
        if reference in self.datasets:
            return {"status": "error", "error": "The requested title is already in use"}
        return self._add_version(reference, request["files"])

    def _create_dataset_version(self, request: dict[str, Any]) -> dict[str, Any]:
        reference, _ = self._dataset(request)
        return self._add_version(reference, request["body"]["files"])

    def _get_dataset_status(self, request: dict[str, Any]) -> dict[str, Any]:
        _, dataset = self._dataset(request)
        if dataset.failed:
            return {"status": "FAILED"}
        if dataset.polls_left:
            dataset.polls_left -= 1
            return {"status": PROCESSING[dataset.polls_left % len(PROCESSING)]}
        return {"status": "READY"}

    def _get_dataset(self, request: dict[str, Any]) -> dict[str, Any]:
        reference, dataset = self._dataset(request)
        return {"ref": reference, "currentVersionNumber": dataset.ready}

    def _download_dataset(self, request: dict[str, Any]) -> dict[str, Any]:
        reference, dataset = self._dataset(request)
        number, name = int(request.get("datasetVersionNumber") or dataset.ready), request["fileName"]
        if not 0 < number <= dataset.ready or not (dataset.versions[number - 1] / name).is_file():
            raise Refusal(404, "Not found")
        return {"Location": f"{STORE}/dataset/{reference}/{number}/{quote(name)}"}

    def file_behind(self, path: str) -> Path:
        """Return the file behind an address of a dataset or of a session's output."""
        if not path.startswith("/dataset/"):
            return self.output_file(path.removeprefix("/output/"))  # type: ignore[attr-defined, no-any-return]
        owner, slug, number, name = path.removeprefix("/dataset/").split("/", 3)
        file: Path = self.datasets[f"{owner}/{slug}"].versions[int(number) - 1] / name
        if not self.wraps:
            return file
        wrapped = file.with_name(f"{name}.zip")
        with zipfile.ZipFile(wrapped, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(file, name)
        return wrapped
