"""Attached outputs of earlier sessions."""

from __future__ import annotations

from pathlib import Path

from imettk.kaggle.outputs import write_output_list


def attach(root: Path, name: str, push: str | None, code: int | None = 0) -> Path:
    folder = root / "input" / "notebooks" / "me" / name
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text("{}")
    if push is not None:
        write_output_list(folder, push=push, command="train", code=code, seconds=1.0)
    return folder
