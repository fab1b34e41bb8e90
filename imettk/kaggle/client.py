"""Calls to Kaggle through its official client, each with a time limit, repeated where that is safe, and checked.

The client (kaggle 2.2) has no time limit for a call, repeats few of them, and its command line ends with code 0 after
many failures. So its typed requests are used, and what it does around them is done here.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imettk.errors import PlatformError, UserError
from imettk.kaggle.contents import KAGGLE_FILES
from imettk.progress import say

TOLD_AFTER = 3  # failures in a row, from which on the user is told
PASSING_TRIES = 3  # after which what must be there is believed to be gone


@dataclass(frozen=True)
class Patience:
    """How long to wait for an answer, and how often to ask again.

    Attributes:
        tries: of a call in all.
        first_seconds: between the first try and the second; each further wait is twice as long, up to
            `longest_seconds`, and drawn from the upper half of that.
        answer_seconds: within which a connection has to be made, and each part of an answer to come.
        sleep: how to wait; tests do it faster.
    """

    tries: int = 10
    first_seconds: float = 2.0
    longest_seconds: float = 120.0
    answer_seconds: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    _random: random.Random = field(default_factory=random.Random, repr=False)

    def wait(self, failures: int, asked: float | None = None) -> None:
        """Wait after so many failures in a row (at least 1), or as long as the server has asked for."""
        if asked is None:
            wanted = min(self.first_seconds * 2 ** (failures - 1), self.longest_seconds)
            asked = wanted * self._random.uniform(0.5, 1.0)
        self.sleep(min(asked, self.longest_seconds))


class Unclear(PlatformError):
    """No answer, or a server's fault: what was asked for may have been done or not."""


class NotThere(PlatformError):
    """Kaggle does not know it, or does not show it to this user."""


class Refused(PlatformError):
    """Kaggle has understood the call, and said no."""


class Kaggle:
    """One user's account.

    Raises:
        UserError: the `kaggle` package is missing, or no credentials are to be found.

    Attributes:
        username: whose account it is.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        self.username, self._client = _sign_in(self.patience.answer_seconds)

    def ask(
        self, service: str, method: str, request: Any, *, what: str, repeat: bool = True, there: bool = False
    ) -> Any:
        """Send a request of kagglesdk, and give its typed answer.

        Args:
            service: of `blobs`, `datasets`, `kernels`, `competitions`.
            what: the call in words, for messages: "push of me/slug".
            repeat: whether doing it twice does no harm. Otherwise only what was surely not done is repeated.
            there: it must be there: a 403 or 404, which may be one in passing, is asked again.

        Raises:
            NotThere, Refused: Kaggle's answer.
            Unclear: every try failed, or the first did where it must not be repeated.
            UserError: Kaggle does not take the credentials.
        """
        client = getattr(getattr(self._client, service), _CLIENTS[service])
        for failures in range(1, PASSING_TRIES if there else 1):
            try:
                return self.repeat(lambda: getattr(client, method)(request), what=what, repeat=repeat)
            except NotThere:
                self.patience.wait(failures)
        return self.repeat(lambda: getattr(client, method)(request), what=what, repeat=repeat)

    def repeat(self, call: Callable[[], Any], *, what: str, repeat: bool = True) -> Any:
        """The result of a call over HTTP, tried again after the faults that pass; errors as in `ask`."""
        for failures in range(1, self.patience.tries + 1):
            error = None
            try:
                return call()
            except Exception as caught:
                error, asked = _explain(caught, what), _retry_after(caught)
                sure = _was_not_done(caught)
            if not isinstance(error, Unclear) or failures == self.patience.tries or not (repeat or sure):
                raise error from None
            if failures >= TOLD_AFTER:
                say(f"{error}; trying again ({failures} of {self.patience.tries})")
            self.patience.wait(failures, asked)
        raise AssertionError("unreachable")

    def get(self, url: str, *, start: int = 0) -> Any:
        """A streamed answer to a plain GET of a file's address, from a byte on; the caller closes it."""
        import requests

        # Packed on the way, a file would not go on at the byte where its unpacked part has stopped.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        # No credentials: such an address carries its own right to be read, and may lead to another host.
        return requests.get(url, headers=headers, stream=True, timeout=self.patience.answer_seconds)

    def put(self, url: str, content: Any, headers: dict[str, str]) -> Any:
        """The answer to a PUT of a file's content, or of a question how much of it has arrived."""
        import requests

        return requests.put(url, data=content, headers=headers, timeout=self.patience.answer_seconds)


_CLIENTS = {
    "blobs": "blob_api_client",
    "datasets": "dataset_api_client",
    "kernels": "kernels_api_client",
    "competitions": "competition_api_client",
}


def _sign_in(answer_seconds: float) -> tuple[str, Any]:
    """The user's name and a client, with the credentials that the official package finds."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # where there are none it prints a page about them
            from kaggle import api  # signs in when it is imported
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: `pip install imettk[kaggle]`") from None
    _tell_readable(Path(api.config).parent)
    values = api.config_values
    username, key, token = (values.get(name) for name in (api.CONFIG_NAME_USER, api.CONFIG_NAME_KEY, "token"))
    if not username or not (key or token):
        raise UserError(
            "no Kaggle credentials: make a token under kaggle.com/settings, and put it into ~/.kaggle/kaggle.json "
            "or into KAGGLE_USERNAME and KAGGLE_KEY"
        )
    from kagglesdk import KaggleClient
    from kagglesdk.kaggle_env import get_env
    from requests.adapters import HTTPAdapter

    class Limited(HTTPAdapter):
        """Every call gets a time limit: the client gives none, and a dead connection would hold it for ever."""

        def send(self, *arguments: Any, **options: Any) -> Any:
            return super().send(*arguments, **(options | {"timeout": answer_seconds}))

    client = KaggleClient(env=get_env(), username=username, password=key, api_token=token)
    client.__enter__()  # makes the session
    for scheme in ("https://", "http://"):
        client.http_client()._session.mount(scheme, Limited())
    return username, client


def _tell_readable(folder: Path) -> None:
    """Warn of keys that other users of this machine can read: what the official client says of them is not shown."""
    if os.name != "posix":
        return
    for path in (folder / name for name in KAGGLE_FILES):
        with contextlib.suppress(OSError):
            if path.stat().st_mode & 0o077:
                say(f"warning: {path} holds a Kaggle key and can be read by others: chmod 600 {path}")


def _explain(error: Exception, what: str) -> Exception:
    """A fault in one line; what is no fault of the connection or the server is given back as it is."""
    import requests

    if not isinstance(error, requests.RequestException):
        return error
    response = error.response
    if response is None:
        return Unclear(f"{what}: no answer from Kaggle ({type(error).__name__})")
    code, text = _answer(response)
    if code == 401:
        return UserError(f"{what}: Kaggle does not take these credentials (401): make a new token")
    if code in (408, 429) or code >= 500 or code < 400:
        return Unclear(f"{what}: Kaggle answers {code}{text}")
    return (NotThere if code in (403, 404) else Refused)(f"{what}: Kaggle answers {code}{text}")


def _answer(response: Any) -> tuple[int, str]:
    """The code and the message of a failed call; both may stand in the body of what HTTP calls a success."""
    try:
        body = response.json()
        code, text = int(body.get("code", response.status_code)), str(body.get("message", ""))
    except (ValueError, TypeError, AttributeError):
        code, text = response.status_code, ""
    return code, f": {' '.join(text.split())[:200]}" if text else ""


def _retry_after(error: Exception) -> float | None:
    """How many seconds a server asks to wait, if it does so in seconds."""
    response = getattr(error, "response", None)
    value = response.headers.get("Retry-After", "") if response is not None else ""
    return float(value) if value.isdigit() else None


def _was_not_done(error: Exception) -> bool:
    """Whether the call surely had no effect: it was turned away at the door, or never reached it."""
    import requests

    response = getattr(error, "response", None)
    if response is not None:
        return bool(response.status_code == 429)
    return isinstance(error, requests.ConnectTimeout)


def owner_of(reference: str) -> tuple[str, str]:
    """`owner/slug` as its two parts."""
    owner, _, slug = reference.partition("/")
    return owner, slug
