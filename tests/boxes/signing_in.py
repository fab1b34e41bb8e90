"""Helpers for tests that sign in with credentials of every kind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from kaggle_box import KaggleBox

from imettk.kaggle.client import Kaggle
from imettk.kaggle.datasets import current_version

OLD_KEY = "0123456789abcdef" * 2  # a key of the older kind


def keep(path: Path, content: str) -> Path:
    """Write a file that only its owner can read."""
    path.write_text(content)
    path.chmod(0o600)
    return path


def ask(account: Kaggle) -> int:
    """Make a call in the user's name."""
    return current_version(account, "me/x")


@contextlib.contextmanager
def refused(sign_in_box: KaggleBox, error: type[Exception], *words: str) -> Iterator[None]:
    """Expect an error of one line with these words and without a secret."""
    with pytest.raises(error) as caught:
        yield
    text = str(caught.value)
    assert not [word for word in words if word not in text], text
    assert "\n" not in text and not [secret for secret in sign_in_box.secrets() if secret in text]
