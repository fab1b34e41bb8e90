"""Versions of a pack on the platform."""

from __future__ import annotations

import json
from pathlib import Path

from kaggle_box import KaggleBox

from imettk.kaggle.pack import PackOrder
from imettk.kaggle.packs import upload_pack

PACK = "me/imettk-pack"


def upload(account, out: Path, recipe: str = "digits") -> tuple[str, str]:
    return upload_pack(account, out, PackOrder(recipe=Path(recipe) if recipe.endswith(".py") else None, wheels=False))


def held(box: KaggleBox, pinned: str) -> str:
    """Return the pack in a version, as a kernel would find it."""
    folder = box.datasets[PACK].versions[int(pinned.split("/")[2]) - 1]
    return str(json.loads((folder / "imettk-pack.json").read_text())["pack"])
