"""Checks of files before they go into a dataset (secrets, pickles, zips, altered names), and a dataset's metadata."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imettk.errors import DataError
from imettk.tracking.files import read_json

METADATA = "dataset-metadata.json"  # a dataset's title and licence; not one of its files
# The files in which the official client keeps a user's keys.
KAGGLE_FILES = ("kaggle.json", "access_token", "access_token.txt", "credentials.json")
_COPY = r"(?:[ ._-]*(?:\(\d+\)|copy|old|bak|backup|orig|\d+))*"  # "kaggle (1).json", "kaggle - copy.json"
_SECRET_NAME = re.compile(
    rf"(?:(?:kaggle|credentials|telegram){_COPY}\.json|access_token|id_(?:rsa|dsa|ecdsa|ed25519)|[._]netrc"
    rf"|\.env(?:rc)?|\.git-credentials|\.pypirc|\.npmrc|\.htpasswd){_COPY}(?:[.~].*)?"
)
_SECRET_SUFFIXES = {".env", ".pem", ".key", ".p12", ".pfx", ".jks", ".ppk"}
_ALTERED = re.compile(r"""[@&%#?*:"<>|\\\x00-\x1f\x7f]|^\s|[\s.]$""")
# The platform unpacks archives, and a .pt or .npz file is one; the others are pickles, which can run any code.
FORBIDDEN_SUFFIXES = {".pt", ".pth", ".bin", ".ckpt", ".npz", ".pkl", ".pickle", ".joblib"}
ARCHIVES = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"}
_SECRETS = {
    "a Kaggle token": re.compile(rb"KGAT_[0-9a-zA-Z]{20,}"),
    "a Kaggle key": re.compile(
        rb"""(?i)KAGGLE_KEY["']?\s*[:=]\s*["']?[0-9a-f]{32}\b|\bkey["']?\s*[:=]\s*["'][0-9a-f]{32}["']"""
    ),
    "a login token": re.compile(rb"""(?i)\brefresh_?token["']?\s*[:=]\s*["'][A-Za-z0-9_./+=-]{20,}["']"""),
    "a Telegram token": re.compile(rb"\b[0-9]{8,10}:[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "an access key of AWS": re.compile(rb"\bAKIA[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36}\b"),
    "a Hugging Face token": re.compile(rb"\bhf_[A-Za-z0-9]{30,}\b"),
}


def check_travels(path: Path) -> None:
    """Check that a file may go into a dataset.

    Raises:
        DataError: it is or contains a secret (which is not shown), or the platform would unpack, rename or drop it.
    """
    name = unicodedata.normalize("NFKC", path.name).casefold().strip()
    suffix = Path(name).suffix
    if _SECRET_NAME.fullmatch(name) or suffix in _SECRET_SUFFIXES:
        raise DataError(f"{path} looks like credentials: it must not go into a dataset")
    if suffix in FORBIDDEN_SUFFIXES:
        raise DataError(f"{path}: {suffix} files must not go into a dataset; weights travel as .safetensors")
    if suffix in ARCHIVES:
        raise DataError(f"{path}: archives must not go into a dataset, since the platform would unpack them")
    if _ALTERED.search(path.name):
        raise DataError(
            f"{str(path)!r}: the platform refuses @ and & in names, and may alter % # ? : * or a space at either end; "
            "rename it"
        )
    if (secret := find_secret(path)) is not None:
        line, kind = secret
        raise DataError(f"{path} line {line} contains what looks like {kind}: remove it (and make a new one)")


def find_secret(path: Path) -> tuple[int, str] | None:
    """Return line number (from 1) and kind of the first apparent secret, or None; archives and weights are not read."""
    if path.suffix.lower() in {".whl", ".zip", ".safetensors"}:
        return None
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        for kind, pattern in _SECRETS.items():
            if pattern.search(line):
                return number, kind
    return None


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Return a dataset's metadata, or None if there is no such file.

    Raises:
        DataError: they lack what the platform needs.
        MismatchError: the file is damaged.
    """
    metadata = read_json(path)
    if metadata is None:
        return None
    licences = metadata.get("licenses")
    licence = licences[0] if isinstance(licences, list) and licences and isinstance(licences[0], dict) else {}
    texts = [metadata.get("id"), metadata.get("title"), licence.get("name")]
    if not all(isinstance(text, str) and text for text in texts) or str(metadata["id"]).count("/") != 1:
        raise DataError(f"{path} needs an id OWNER/SLUG, a title, and a licence: correct it, or move it away")
    return dict(metadata)


def keep_metadata(path: Path, wanted: dict[str, Any], made: Callable[[str], dict[str, Any]] | None = None) -> bytes:
    """Return the content for a dataset's metadata file: the existing one if it belongs to this dataset.

    Args:
        wanted: the metadata to write if there are none.
        made: gives what imettk itself writes for a dataset `owner/slug`. An existing file of another dataset with just
            that content has nothing of the user's own, and may be overwritten.

    Raises:
        DataError: the existing metadata belong to another dataset.
    """
    existing = read_metadata(path)
    if existing is not None and existing["id"] == wanted["id"]:
        return path.read_bytes()
    if existing is not None and (made is None or existing != made(existing["id"])):
        raise DataError(
            f"{path} belongs to dataset {existing['id']}, not to {wanted['id']}: nothing is sent; move it away, or use "
            "another folder"
        )
    return (json.dumps(wanted, indent=2) + "\n").encode()


@contextmanager
def name_fault(path: Path) -> Iterator[None]:
    """Add the path that was to be written to an `OSError` that names none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def replace_folder(out: Path, made: Path) -> None:
    """Replace a folder by a new one; a kill leaves the old one, none, or the new one, but never a mixture."""
    if out.exists():
        out.rename(made.with_name("old"))  # beside the new one, in a temporary folder that is about to be removed
    made.rename(out)
