"""Packs on the platform: which version of the dataset holds which, as the platform itself says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imettk.kaggle.client import Kaggle
from imettk.kaggle.pack import MANIFEST, PackOrder, make_pack
from imettk.kaggle.versions import hold_upload, read_mark, upload_version
from imettk.progress import say
from imettk.tracking.files import read_json

LOOK_BACK = 10  # versions in which a pack is looked for before it is uploaded


def upload_pack(kaggle: Kaggle, out: Path, order: PackOrder) -> tuple[str, str]:
    """Make the pack and see to it that the platform has it, ready; `owner/slug/version` and the pack's hash.

    A pack that one of the dataset's last versions holds already is not uploaded again.
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
    """The manifest of the pack that the platform holds as `owner/slug/version`; None where it holds none there.

    Raises:
        Unclear: it could not be read in all tries.
    """
    reference, _, version = pinned.rpartition("/")
    return read_mark(kaggle, reference, int(version), MANIFEST)


def pack_digest(kaggle: Kaggle, pinned: str) -> str | None:
    """The hash of the pack that the platform holds as `owner/slug/version`; None and errors as in `read_manifest`."""
    digest = (read_manifest(kaggle, pinned) or {}).get("pack")
    return digest if isinstance(digest, str) else None
