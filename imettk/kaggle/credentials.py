"""A user's Kaggle credentials, found in the official client's places and order, and logins kept alive.

Nothing here calls the server, and no token or key gets into a message. The client's own reading (kagglesdk 0.1.38) is
not used: it looks only in `~/.kaggle`, names no file in its errors, crashes on an unreadable one, and goes on using a
login's token for half an hour after it has expired.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from imettk.errors import UserError
from imettk.files import replace_atomically
from imettk.kaggle.contents import KAGGLE_FILES
from imettk.progress import say

TOKEN, KEY, LOGIN = "access token", "API key", "login"
RENEWED_BEFORE = timedelta(minutes=10)  # the end of a token: a call may be repeated for minutes
_NEW_TOKEN = "make a new token under kaggle.com/settings and put it there"
_REMEDIES = {TOKEN: _NEW_TOKEN, KEY: _NEW_TOKEN, LOGIN: "log in again: kaggle auth login"}
MISSING = (
    "no Kaggle credentials: run `kaggle auth login`, or make a token under kaggle.com/settings and put it into "
    "KAGGLE_API_TOKEN or ~/.kaggle/access_token; KAGGLE_USERNAME with KAGGLE_KEY, or ~/.kaggle/kaggle.json, works too"
)


@dataclass(frozen=True)
class Credentials:
    """One way to sign in.

    Attributes:
        kind: `TOKEN`, `KEY` or `LOGIN`.
        source: the variable or file that it comes from.
        username: the user's name; "" if only Kaggle knows it.
        secret: the token, the key, or the login's access token.
        refresh_token: the token with which a login fetches access tokens; "" for the other kinds.
        expires: when the access token of a login expires; None if not known.
        path: the file of a login.
    """

    kind: str
    source: str
    username: str = ""
    secret: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    expires: datetime | None = None
    path: Path | None = None

    @property
    def authorization(self) -> str:
        """The `Authorization` header of a call in this user's name."""
        if self.kind == KEY:
            return "Basic " + base64.b64encode(f"{self.username}:{self.secret}".encode()).decode()
        return f"Bearer {self.secret}"

    @property
    def ends(self) -> bool:
        """True if a login needs another access token by now."""
        if not self.refresh_token:
            return False
        return not self.secret or self.expires is None or self.expires - datetime.now(UTC) < RENEWED_BEFORE

    def __str__(self) -> str:
        return f"the {self.kind} of {self.source}"


def find_credentials() -> Credentials:
    """Return the first credentials in the order of the official client.

    Raises:
        UserError: there are none, or a file that should contain some is unreadable or damaged.
    """
    for find in KINDS.values():
        if (credentials := find()) is not None:
            return credentials
    raise UserError(MISSING)


def refusal(credentials: Credentials) -> str:
    """Return the end of a message: which credentials Kaggle does not accept, and what to do.

    Other credentials that exist are named but not tried, since they may belong to another account.
    """
    text = f"they are {credentials}: {_REMEDIES[credentials.kind]}"
    others = []
    for find in KINDS.values():
        with contextlib.suppress(UserError):
            other = find()
            if other is not None and other.source != credentials.source:
                others.append(str(other))
    return f"{text} ({' and '.join(others)}: not tried in their place)" if others else text


def warn_of_readable_keys() -> None:
    """Warn of keys that other users of this machine can read."""
    if os.name != "posix":
        return
    paths = [folder / name for folder in _folders() for name in KAGGLE_FILES]
    if os.path.isfile(named := os.environ.get("KAGGLE_API_TOKEN", "").strip()):
        paths.append(Path(named))
    for path in dict.fromkeys(paths):
        with contextlib.suppress(OSError):
            if path.stat().st_mode & 0o077:
                say(f"warning: {path} contains a Kaggle key and can be read by others: chmod 600 {path}")


def renewed(login: Credentials, token: str, lives_seconds: float) -> Credentials:
    """Return a login with its next access token, kept in its file for other processes and the official client."""
    lives = timedelta(seconds=min(lives_seconds, 1e8))  # an absurd number must not overflow, and so end a chain
    login = replace(login, secret=token, expires=datetime.now(UTC) + lives)
    assert login.path is not None and login.expires is not None
    try:
        content = _read_login(login.path)
        if content is None or content["refresh_token"] != login.refresh_token:
            return login  # the user has logged in again or logged out meanwhile: neither must be undone
        content |= {"access_token": token, "access_token_expiration": login.expires.isoformat()}
        _write_private(login.path.resolve(), json.dumps(content, indent=2).encode())
    except (OSError, UserError) as error:
        if login.path not in _reported:
            _reported.add(login.path)
            reason = error.strerror if isinstance(error, OSError) else "it is damaged"
            say(f"{login.path} cannot be written ({reason}): its new access token is used, but not kept")
    return login


_reported: set[Path] = set()  # files of logins that cannot be written


def _write_private(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, readable by nobody else at any moment."""
    with replace_atomically(path) as temporary:
        temporary.touch(0o600)  # before there is content
        temporary.chmod(0o600)
        temporary.write_bytes(content)


def _folders() -> list[Path]:
    """Return the folders of the official client's files, in its order; it searches one of them for a file, we all."""
    home = Path(os.path.expanduser("~"))
    places = [os.environ.get("KAGGLE_CONFIG_DIR"), home / ".kaggle"]
    places.append(Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "kaggle"))
    return list(dict.fromkeys(Path(place) for place in places if place))


def _files(*names: str) -> Iterator[tuple[Path, str]]:
    """Yield the existing, non-empty files of these names with their text, folder by folder."""
    for path in (folder / name for folder in _folders() for name in names):
        if text := _read(path):
            yield path, text


def _read(path: Path) -> str:
    """Return a file's text without byte order mark and surrounding space; "" if there is no such file."""
    try:
        return path.read_bytes().decode("utf-8-sig").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8: write it again") from None


def _find_token() -> Credentials | None:
    """Return a bearer token from the environment or a file, or None."""
    named = {}
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE"):  # inside a notebook on Kaggle, its own token comes first
        named["KAGGLE_API_V1_TOKEN"] = os.environ.get("KAGGLE_API_V1_TOKEN", "")
    named["KAGGLE_API_TOKEN"] = value = os.environ.get("KAGGLE_API_TOKEN", "").strip()
    for name, place in named.items():
        if os.path.isfile(place):
            return _token(_read(Path(place)), f"{place} ({name})")
    if value:
        if value.startswith(("/", "~", ".")):
            raise UserError(
                "KAGGLE_API_TOKEN names a file that does not exist: give its full path, or the token itself"
            )
        return _token(value, "KAGGLE_API_TOKEN")
    for path, text in _files("access_token", "access_token.txt"):
        return _token(text, str(path))
    return None


def _token(text: str, source: str) -> Credentials:
    """Return the credentials of a bearer token, or raise `UserError` if the text cannot be one."""
    if not is_plain(text):
        raise UserError(f"{source} must contain a token and nothing else: {_NEW_TOKEN}")
    return Credentials(TOKEN, source, secret=text)


def is_plain(text: str) -> bool:
    """Return whether a text can be part of a header: libraries would print one that cannot, secret or not."""
    return re.fullmatch(r"[!-~]+", text) is not None


def _is_token(value: Any) -> bool:
    """Return whether a value is a token of the present kind, which people also put where older keys belong."""
    return isinstance(value, str) and value.strip().startswith("KGAT_")


def _find_key() -> Credentials | None:
    """Return a user's name and key, or None; as for the official client, a variable overrides the file."""
    names = {"username": "KAGGLE_USERNAME", "key": "KAGGLE_KEY"}
    given = {part: value for part, name in names.items() if (value := os.environ.get(name, "").strip())}
    if _is_token(given.get("key")):
        return _token(given["key"], names["key"])
    if len(given) == len(names):
        return _key(given, " and ".join(names.values()))
    for path, text in _files("kaggle.json"):
        content = _key_file(path, text)
        for part in ("token", "key"):
            if _is_token(content.get(part)):
                return _token(content[part].strip(), str(path))
        if all(content.get(part) for part in names if part not in given):
            return _key(content | given, " and ".join([*(names[part] for part in given), str(path)]))
    return None


def _key(content: dict[str, Any], source: str) -> Credentials:
    """Return the credentials of a name and a key, or raise `UserError` if they cannot be such."""
    username, key = (str(content[part]).strip() for part in ("username", "key"))
    if not is_plain(username) or not is_plain(key):
        raise UserError(f"{source} does not contain a user's name and key: {_NEW_TOKEN}")
    return Credentials(KEY, source, username, key)


def _key_file(path: Path, text: str) -> dict[str, Any]:
    """Parse a kaggle.json, which may also contain only settings of the client."""
    try:
        content = json.loads(text)
    except ValueError:
        content = text
    if _is_token(content):
        return {"token": content}
    if not isinstance(content, dict):
        raise UserError(f'{path} must contain {{"username": ..., "key": ...}} or a token: {_NEW_TOKEN}')
    return content


def _find_login() -> Credentials | None:
    """Return the login that `kaggle auth login` has left, or None."""
    for path, _ in _files("credentials.json"):
        if (content := _read_login(path)) is not None:
            token = str(content.get("access_token") or "")
            return Credentials(
                LOGIN,
                str(path),
                str(content.get("username") or ""),
                secret=token if is_plain(token) else "",
                refresh_token=content["refresh_token"],
                expires=_time(content.get("access_token_expiration")),
                path=path,
            )
    return None


def _read_login(path: Path) -> dict[str, Any] | None:
    """Parse a login's file; return None if nobody is logged in."""
    try:
        content = json.loads(_read(path) or "{}")
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("refresh_token", ""), str):
        raise UserError(f"{path} is damaged: {_REMEDIES[LOGIN]}")
    return content if content.get("refresh_token") else None


def _time(text: Any) -> datetime | None:
    """Parse a time, which is UTC if it names no zone; return None for anything else."""
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


# One row per kind, in the order in which the official client tries them.
KINDS: dict[str, Callable[[], Credentials | None]] = {TOKEN: _find_token, KEY: _find_key, LOGIN: _find_login}
