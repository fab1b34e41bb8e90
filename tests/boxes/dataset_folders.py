"""A folder for upload, and its content on the platform."""

from __future__ import annotations

from pathlib import Path

from imettk.kaggle import datasets


def upload_folder(account, folder: Path, notes: str) -> tuple[str, int]:
    """Upload all files of a folder."""
    names = [path.name for path in folder.iterdir() if path.name != "dataset-metadata.json"]
    return datasets.upload_folder(account, folder, names, notes)


def held(box, version: int) -> dict[str, bytes]:
    folder = box.datasets["me/imettk-pack"].versions[version - 1]
    return {path.name: path.read_bytes() for path in folder.iterdir()}


WHOLE = {"a.txt": b"abc" * 50_000, "empty.txt": b""}
