"""What a box answers when one file of a dataset's version is asked for: an address on another host, and the file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

STORE = "http://storage.localhost"


class DatasetFiles:
    """The part of `KaggleBox` that gives files of datasets.

    Attributes:
        wraps: whether a file comes in a zip, as the platform does with some.
    """

    wraps = False

    def _download_dataset(self, request: dict[str, Any]) -> dict[str, Any]:
        from kaggle_box import Refusal

        reference, dataset = self._dataset(request)  # type: ignore[attr-defined]
        number, name = int(request.get("datasetVersionNumber") or dataset.ready), request["fileName"]
        if not 0 < number <= dataset.ready or not (dataset.versions[number - 1] / name).is_file():
            raise Refusal(404, "Not found")
        return {"Location": f"{STORE}/dataset/{reference}/{number}/{quote(name)}"}

    def file_behind(self, path: str) -> Path:
        """The file behind an address, of a dataset or of a session's output."""
        if not path.startswith("/dataset/"):
            return self.output_file(path.removeprefix("/output/"))  # type: ignore[attr-defined, no-any-return]
        owner, slug, number, name = path.removeprefix("/dataset/").split("/", 3)
        file: Path = self.datasets[f"{owner}/{slug}"].versions[int(number) - 1] / name  # type: ignore[attr-defined]
        if not self.wraps:
            return file
        wrapped = file.with_name(f"{name}.zip")
        with zipfile.ZipFile(wrapped, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(file, name)
        return wrapped
