"""What must not travel in a pack: secrets, pickles and zips, names that the platform does not take."""

from __future__ import annotations

import re
from pathlib import Path

from imettk.errors import DataError

METADATA = "dataset-metadata.json"  # what the platform is told of a dataset; not one of its files
# Where the official client keeps a user's keys.
KAGGLE_FILES = ("kaggle.json", "access_token", "access_token.txt", "credentials.json")
SECRET_NAMES = {*KAGGLE_FILES, "telegram.json", "id_rsa", "id_ed25519", ".netrc"}
# The platform unpacks archives, and a .pt file or an .npz is one; the rest is pickle, which runs what it likes.
FORBIDDEN_SUFFIXES = {".pt", ".pth", ".bin", ".ckpt", ".npz", ".pkl", ".pickle", ".joblib"}
ARCHIVES = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"}
_SECRETS = {
    "a Kaggle token": re.compile(rb"KGAT_[0-9a-zA-Z]{20,}"),
    "a Kaggle key": re.compile(
        rb"""KAGGLE_KEY["']?\s*[:=]\s*["']?[0-9a-f]{32}\b|\bkey["']?\s*[:=]\s*["'][0-9a-f]{32}["']"""
    ),
    "a Telegram token": re.compile(rb"\b[0-9]{8,10}:[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "an access key of AWS": re.compile(rb"\bAKIA[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36}\b"),
    "a Hugging Face token": re.compile(rb"\bhf_[A-Za-z0-9]{30,}\b"),
}


def check_travels(path: Path) -> None:
    """Refuse a file that must not go into a dataset.

    Raises:
        DataError: it is or holds a secret (which is not shown), or the platform would unpack or drop it.
    """
    name, suffix = path.name.lower(), path.suffix.lower()
    if name in SECRET_NAMES or name == ".env" or name.startswith(".env.") or suffix in {".pem", ".key"}:
        raise DataError(f"{path} looks like credentials: it must not go into a pack")
    if suffix in FORBIDDEN_SUFFIXES:
        raise DataError(f"{path}: {path.suffix} files must not go into a pack; weights travel as .safetensors")
    if suffix in ARCHIVES:
        raise DataError(f"{path}: archives must not go into a pack; the platform would unpack them")
    if re.search(r"[@&]", name):
        raise DataError(f"{path}: the platform takes no @ and & in names")
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
