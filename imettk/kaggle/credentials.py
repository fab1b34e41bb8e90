"""A user's Kaggle credentials: found where the official client looks, in its order; and a login kept alive.

Nothing here asks the server, and no token or key comes into a message. The client's own reading (kagglesdk 0.1.38) is
not used: it knows `~/.kaggle` alone, names no file, fails over one that cannot be read, and takes a login's token as
good for half an hour after its end.
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
RENEWED_BEFORE = timedelta(minutes=10)  # its end: a call and its repeats take their time
_NEW_TOKEN = "make a new token under kaggle.com/settings and put it there"
_REMEDIES = {TOKEN: _NEW_TOKEN, KEY: _NEW_TOKEN, LOGIN: "log in again: kaggle auth login"}
MISSING = (
    "no Kaggle credentials: run `kaggle auth login`, or make a token under kaggle.com/settings and put it into "
    "KAGGLE_API_TOKEN or ~/.kaggle/access_token; KAGGLE_USERNAME with KAGGLE_KEY, and ~/.kaggle/kaggle.json, do as well"
)


@dataclass(frozen=True)
class Credentials:
    """One way to sign in.

    Attributes:
        kind: `TOKEN`, `KEY` or `LOGIN`.
        source: the variable or the file that it comes from.
        username: "" where only Kaggle knows it.
        secret: the token, the key, or the login's access token, which ends at `expires`; None is not known when.
        refresh_token: gives a login its access tokens; "" for the other kinds.
        path: of a login's file.
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
        """The header of a call in this user's name."""
        if self.kind == KEY:
            return "Basic " + base64.b64encode(f"{self.username}:{self.secret}".encode()).decode()
        return f"Bearer {self.secret}"

    @property
    def ends(self) -> bool:
        """True where a login needs another access token by now."""
        if not self.refresh_token:
            return False
        return not self.secret or self.expires is None or self.expires - datetime.now(UTC) < RENEWED_BEFORE

    def __str__(self) -> str:
        return f"the {self.kind} of {self.source}"


def find_credentials() -> Credentials:
    """The first that are there, as the official client would take them.

    Raises:
        UserError: there are none, or a file that should hold some cannot be read or holds something else.
    """
    for find in KINDS.values():
        if (found := find()) is not None:
            return found
    raise UserError(MISSING)


def refusal(credentials: Credentials) -> str:
    """For the end of a line: which credentials Kaggle does not take, and what to do.

    Others that are there may be another account's: they are named, and not tried.
    """
    text = f"they are {credentials}: {_REMEDIES[credentials.kind]}"
    others = []
    for find in KINDS.values():
        with contextlib.suppress(UserError):
            found = find()
            if found is not None and found.source != credentials.source:
                others.append(str(found))
    return f"{text} ({' and '.join(others)}: not tried in their place)" if others else text


def tell_readable() -> None:
    """Warn of keys that other users of this machine can read."""
    if os.name != "posix":
        return
    paths = [folder / name for folder in _folders() for name in KAGGLE_FILES]
    if os.path.isfile(named := os.environ.get("KAGGLE_API_TOKEN", "").strip()):
        paths.append(Path(named))
    for path in dict.fromkeys(paths):
        with contextlib.suppress(OSError):
            if path.stat().st_mode & 0o077:
                say(f"warning: {path} holds a Kaggle key and can be read by others: chmod 600 {path}")


def renewed(login: Credentials, token: str, lives_seconds: float) -> Credentials:
    """A login with its next access token, kept in its file for other processes and for the official client."""
    lives = timedelta(seconds=min(lives_seconds, 1e8))  # a number without sense must not end a chain
    login = replace(login, secret=token, expires=datetime.now(UTC) + lives)
    assert login.path is not None and login.expires is not None
    try:
        content = _read_login(login.path)
        if content is None or content["refresh_token"] != login.refresh_token:
            return login  # there has been another login meanwhile, or a log-out: neither must be undone
        content |= {"access_token": token, "access_token_expiration": login.expires.isoformat()}
        _write_private(login.path.resolve(), json.dumps(content, indent=2).encode())
    except (OSError, UserError) as error:
        if login.path not in _told:
            _told.add(login.path)
            reason = error.strerror if isinstance(error, OSError) else "it is damaged"
            say(f"{login.path} cannot be written ({reason}): its new access token is used all the same, but not kept")
    return login


_told: set[Path] = set()  # files of logins that cannot be written


def _write_private(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, for nobody else's eyes at any moment."""
    with replace_atomically(path) as temporary:
        temporary.touch(0o600)
        temporary.chmod(0o600)
        temporary.write_bytes(content)


def _folders() -> list[Path]:
    """The folders of the official client's files, in order; it looks for each file in one of them, we in all."""
    home = Path(os.path.expanduser("~"))
    places = [os.environ.get("KAGGLE_CONFIG_DIR"), home / ".kaggle"]
    places.append(Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "kaggle"))
    return list(dict.fromkeys(Path(place) for place in places if place))


def _files(*names: str) -> Iterator[tuple[Path, str]]:
    """Files that are there and not empty, with their text; the first folder's first."""
    for path in (folder / name for folder in _folders() for name in names):
        if text := _read(path):
            yield path, text


def _read(path: Path) -> str:
    """A file's text without what stands around it, or "" where there is none."""
    try:
        return path.read_bytes().decode("utf-8-sig").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8: write it anew") from None


def _find_token() -> Credentials | None:
    """A bearer token, as it is or in a file."""
    named = {}
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE"):  # a notebook on Kaggle
        named["KAGGLE_API_V1_TOKEN"] = os.environ.get("KAGGLE_API_V1_TOKEN", "")
    named["KAGGLE_API_TOKEN"] = value = os.environ.get("KAGGLE_API_TOKEN", "").strip()
    for name, place in named.items():
        if os.path.isfile(place):
            return _token(_read(Path(place)), f"{place} ({name})")
    if value:
        if value.startswith(("/", "~", ".")):
            raise UserError("KAGGLE_API_TOKEN names a file that is not there: give its whole path, or the token itself")
        return _token(value, "KAGGLE_API_TOKEN")
    for path, text in _files("access_token", "access_token.txt"):
        return _token(text, str(path))
    return None


def _token(text: str, source: str) -> Credentials:
    if not is_plain(text):
        raise UserError(f"{source} must hold a token and nothing else: {_NEW_TOKEN}")
    return Credentials(TOKEN, source, secret=text)


def is_plain(text: str) -> bool:
    """Check that it can stand in a header: libraries show what cannot."""
    return re.fullmatch(r"[!-~]+", text) is not None


def _is_token(value: Any) -> bool:
    """Recognize a token as kaggle.com/settings gives it today, wherever somebody has put it."""
    return isinstance(value, str) and value.strip().startswith("KGAT_")


def _find_key() -> Credentials | None:
    """A user's name and key; each variable counts more than the file, as with the official client."""
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
    username, key = (str(content[part]).strip() for part in ("username", "key"))
    if not is_plain(username) or not is_plain(key):
        raise UserError(f"{source} does not hold a user's name and key: {_NEW_TOKEN}")
    return Credentials(KEY, source, username, key)


def _key_file(path: Path, text: str) -> dict[str, Any]:
    """Parse a kaggle.json, which may hold the client's settings alone."""
    try:
        content = json.loads(text)
    except ValueError:
        content = text
    if _is_token(content):
        return {"token": content}
    if not isinstance(content, dict):
        raise UserError(f'{path} must hold {{"username": ..., "key": ...}} or a token: {_NEW_TOKEN}')
    return content


def _find_login() -> Credentials | None:
    """A login, as `kaggle auth login` has left it."""
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
    """Parse a login's file; None where nobody is logged in."""
    try:
        content = json.loads(_read(path) or "{}")
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("refresh_token", ""), str):
        raise UserError(f"{path} is damaged: {_REMEDIES[LOGIN]}")
    return content if content.get("refresh_token") else None


def _time(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


# One row a kind, in the order in which the official client takes them.
KINDS: dict[str, Callable[[], Credentials | None]] = {TOKEN: _find_token, KEY: _find_key, LOGIN: _find_login}
