"""Packs on the platform: versions of a dataset, each identified by reading its own manifest there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imettk.kaggle.client import Kaggle
from imettk.kaggle.pack import MANIFEST, PackOrder, make_pack
from imettk.kaggle.versions import hold_upload, read_mark, upload_version
from imettk.progress import say
from imettk.tracking.files import read_json

LOOK_BACK = 10  # versions that are searched for a pack before it is uploaded


def upload_pack(kaggle: Kaggle, out: Path, order: PackOrder) -> tuple[str, str]:
    """Make the pack, and upload it unless one of the dataset's last versions is this pack already.

    Returns:
        `owner/slug/version`, ready for kernels, and the pack's hash.
    """
    with hold_upload(out, kaggle.patience.sleep):
        digest = make_pack(out, order, owner=kaggle.username)
        files = [*read_json(out / MANIFEST)["files"], MANIFEST]
        reference, version = upload_version(
            kaggle, out, files, mark=MANIFEST, notes=f"pack {digest}", look_back=LOOK_BACK
        )
    say(f"pack {digest} is {reference} version {version}")
    return f"{reference}/{version}", digest


def read_manifest(kaggle: Kaggle, pinned: str) -> dict[str, Any] | None:
    """Return the manifest of the pack `owner/slug/version` on the platform; None if there is no pack.

    Raises:
        Unclear: it could not be read in all tries.
    """
    reference, _, version = pinned.rpartition("/")
    return read_mark(kaggle, reference, int(version), MANIFEST)


def pack_digest(kaggle: Kaggle, pinned: str) -> str | None:
    """Return the hash of the pack `owner/slug/version` on the platform; None and errors as in `read_manifest`."""
    digest = (read_manifest(kaggle, pinned) or {}).get("pack")
    return digest if isinstance(digest, str) else None
