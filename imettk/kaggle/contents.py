"""What must not travel in a dataset: secrets, pickles and zips, names that the platform alters; and its metadata."""

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

METADATA = "dataset-metadata.json"  # what the platform is told of a dataset; not one of its files
# Where the official client keeps a user's keys.
KAGGLE_FILES = ("kaggle.json", "access_token", "access_token.txt", "credentials.json")
_COPY = r"(?:[ ._-]*(?:\(\d+\)|copy|old|bak|backup|orig|\d+))*"  # "kaggle (1).json", "kaggle - copy.json"
_SECRET_NAME = re.compile(
    rf"(?:(?:kaggle|credentials|telegram){_COPY}\.json|access_token|id_(?:rsa|dsa|ecdsa|ed25519)|[._]netrc"
    rf"|\.env(?:rc)?|\.git-credentials|\.pypirc|\.npmrc|\.htpasswd){_COPY}(?:[.~].*)?"
)
_SECRET_SUFFIXES = {".env", ".pem", ".key", ".p12", ".pfx", ".jks", ".ppk"}
_ALTERED = re.compile(r"""[@&%#?*:"<>|\\\x00-\x1f\x7f]|^\s|[\s.]$""")
# The platform unpacks archives, and a .pt file or an .npz is one; the rest is pickle, which runs what it likes.
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
    """Refuse a file that must not go into a dataset.

    Raises:
        DataError: it is or holds a secret (which is not shown), or the platform would unpack, rename or drop it.
    """
    name = unicodedata.normalize("NFKC", path.name).casefold().strip()
    suffix = Path(name).suffix
    if _SECRET_NAME.fullmatch(name) or suffix in _SECRET_SUFFIXES:
        raise DataError(f"{path} looks like credentials: it must not go into a dataset")
    if suffix in FORBIDDEN_SUFFIXES:
        raise DataError(f"{path}: {suffix} files must not go into a dataset; weights travel as .safetensors")
    if suffix in ARCHIVES:
        raise DataError(f"{path}: archives must not go into a dataset; the platform would unpack them")
    if _ALTERED.search(path.name):
        raise DataError(
            f"{str(path)!r}: the platform takes no @ and & in names, and % # ? : * or a space at an end may not come "
            "through; rename it"
        )
    if (found := find_secret(path)) is not None:
        line, kind = found
        raise DataError(f"{path} line {line} holds what looks like {kind}: take it out (and make a new one)")


def find_secret(path: Path) -> tuple[int, str] | None:
    """The first line with what looks like a secret, counted from 1, and its kind; archives and weights are not read."""
    if path.suffix.lower() in {".whl", ".zip", ".safetensors"}:
        return None
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        for kind, pattern in _SECRETS.items():
            if pattern.search(line):
                return number, kind
    return None


def read_metadata(path: Path) -> dict[str, Any] | None:
    """A dataset's metadata, or None where there is no such file.

    Raises:
        DataError: they lack what the platform needs.
        MismatchError: the file is damaged.
    """
    held = read_json(path)
    if held is None:
        return None
    licences = held.get("licenses")
    licence = licences[0] if isinstance(licences, list) and licences and isinstance(licences[0], dict) else {}
    texts = [held.get("id"), held.get("title"), licence.get("name")]
    if not all(isinstance(text, str) and text for text in texts) or str(held["id"]).count("/") != 1:
        raise DataError(f"{path} needs an id OWNER/SLUG, a title, and a licence: mend it, or move it away")
    return dict(held)


def keep_metadata(path: Path, wanted: dict[str, Any], made: Callable[[str], dict[str, Any]] | None = None) -> bytes:
    """The content that a dataset's metadata shall have: what lies there, where that is of this dataset.

    Args:
        wanted: for where none lies there.
        made: what this program writes for a dataset `owner/slug`: where just that lies there, of another dataset, it
            holds nothing of the user's, and gives way.

    Raises:
        DataError: what lies there is of another dataset.
    """
    held = read_metadata(path)
    if held is not None and held["id"] == wanted["id"]:
        return path.read_bytes()
    if held is not None and (made is None or held != made(held["id"])):
        raise DataError(
            f"{path} is of dataset {held['id']}, not of {wanted['id']}: nothing is sent; move it away, or use another "
            "folder"
        )
    return (json.dumps(wanted, indent=2) + "\n").encode()


@contextmanager
def name_fault(path: Path) -> Iterator[None]:
    """Give a fault of the disk the path that was to be written, where the system names none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def replace_folder(out: Path, made: Path) -> None:
    """Put a folder in the place of an older one; a kill leaves the old one whole, or none, or the new one."""
    if out.exists():
        out.rename(made.with_name("old"))  # where it is removed with all else
    made.rename(out)
