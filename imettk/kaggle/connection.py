"""The official client's HTTP session, with what it lacks: time limits, the platform's clock, and checked answers.

The client sets no time limit. It reads a list, or an error without a message, as an answer with nothing in it, and
raises from deep inside on a page in HTML. `kaggle` itself is not imported, since importing it calls the server at once
and swallows what goes wrong; the typed requests come from `kagglesdk`, the library below it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

from imettk.errors import UserError
from imettk.extras import how_to_install

_SERVICES = {
    "blobs": "blob_api_client",
    "datasets": "dataset_api_client",
    "kernels": "kernels_api_client",
    "competitions": "competition_api_client",
    "security": "oauth_client",
}


class Unreadable(Exception):
    """An answer with a good status and the wrong content: the call may have taken effect."""


class Connection:
    """A session with Kaggle in the name of the user whom `authorization` stands for.

    Args:
        answer_seconds: the time limit for making a connection, and for each part of an answer.

    Attributes:
        client: the client of kagglesdk.
        authorization: the header of this name; "" for calls in nobody's name.

    Raises:
        UserError: the `kaggle` package is missing, or of a version with other internals.
    """

    def __init__(self, answer_seconds: float) -> None:
        try:
            from kagglesdk import KaggleClient
            from kagglesdk.kaggle_env import get_env
        except ModuleNotFoundError as error:
            raise UserError(f"{error.name} is not installed: {how_to_install('kaggle', 'kaggle')}") from None
        self.authorization = ""
        self._clock: tuple[float, float] | None = None
        # Without a token the client looks for credentials itself; the header that counts is set in `_authorize`.
        self.client = KaggleClient(env=get_env(), api_token="-")
        self.client.__enter__()  # creates the HTTP session
        http = self.client.http_client()
        try:
            session, self._read = http._session, http._prepare_response
        except AttributeError as error:  # neither name is public
            raise UserError(
                f"this version of kagglesdk is not supported ({error}): `pip install kagglesdk==0.1.38`"
            ) from None
        session.auth, http._prepare_response = self._authorize, self._read_checked
        for scheme in ("https://", "http://"):
            session.mount(scheme, _limited(answer_seconds, self._note_time))

    def method(self, service: str, name: str) -> Any:
        """Return one of the client's calls, which takes a request."""
        return getattr(getattr(getattr(self.client, service), _SERVICES[service]), name)

    @contextmanager
    def signed(self, authorization: str) -> Iterator[None]:
        """Make the calls of a `with` block with another authorization, or with none."""
        before, self.authorization = self.authorization, authorization
        try:
            yield
        finally:
            self.authorization = before

    def now(self) -> float | None:
        """Return the platform's time in seconds since the epoch, from the date of its last answer; None before one."""
        return None if self._clock is None else self._clock[0] + time.monotonic() - self._clock[1]

    def _authorize(self, request: Any) -> Any:
        if self.authorization:
            request.headers["Authorization"] = self.authorization
        return request

    def _note_time(self, date: str) -> None:
        try:  # `time.monotonic` from here on: the machine's own clock may be set meanwhile
            self._clock = parsedate_to_datetime(date).timestamp(), time.monotonic()
        except (TypeError, ValueError, OverflowError):
            return

    def _read_checked(self, kind: Any, response: Any) -> Any:
        """Read an answer as the client does, but refuse what the client lets pass."""
        from kagglesdk.common.types.file_download import FileDownload
        from kagglesdk.common.types.http_redirect import HttpRedirect
        from requests import HTTPError

        try:
            if response.ok and kind not in (None, FileDownload, HttpRedirect):  # those have no JSON body
                body = response.json()
                _check(body, kind)
                if isinstance(body.get("code"), int) and body["code"] >= 400:
                    raise HTTPError(response=response)  # the client overlooks an error without a message
            return self._read(kind, response)
        except Exception as error:
            response.raise_for_status()  # a bad status tells more than the page that comes with it
            if isinstance(error, HTTPError):
                raise
            text = " ".join(str(error).split())[:100]
            raise Unreadable(f"{type(error).__name__}: {text}") from None


def _limited(answer_seconds: float, note_time: Any) -> Any:
    """Return an adapter for `requests` that sets a time limit and passes on the date of each answer."""
    from requests.adapters import HTTPAdapter

    class Limited(HTTPAdapter):
        def send(self, *arguments: Any, **options: Any) -> Any:
            # The client sets none, and a dead connection would block it for ever.
            response = super().send(*arguments, **(options | {"timeout": answer_seconds}))
            note_time(response.headers.get("Date", ""))
            return response

    return Limited()


def _check(body: Any, kind: Any) -> None:
    """Check the shape of an answer: the client would silently drop a part of the wrong type.

    Raises:
        TypeError, ValueError: a field has the wrong type; the message contains its name, and never its value, which
            may be a secret.
    """
    from kagglesdk.kaggle_object import ListSerializer, MapSerializer

    if not isinstance(body, dict):
        raise TypeError(f"{kind.__name__} is a {type(body).__name__}")
    for field in kind._fields:
        value, is_list = body.get(field.json_name), isinstance(field.serializer, ListSerializer)
        if value is None or isinstance(field.serializer, MapSerializer):
            continue
        if isinstance(value, list) is not is_list:
            raise TypeError(f"{field.json_name} is a {type(value).__name__}")
        for item in value if is_list else [value]:
            if hasattr(field.field_type, "_fields"):
                _check(item, field.field_type)
            elif field.field_type is str and not isinstance(item, str):
                raise TypeError(f"{field.json_name} holds a {type(item).__name__}")
            elif field.field_type in (int, float) and not _is_number(item, field.field_type):
                raise ValueError(f"{field.json_name} is no number")


def _is_number(value: Any, kind: Any) -> bool:
    """Return whether a value can be read as a number; integers of 64 bits come as text."""
    try:
        kind(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True
