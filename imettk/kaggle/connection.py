"""The official client's session: a time limit for each call, the platform's clock, and answers checked while read.

The client gives no call a time limit. It takes a list, or an error without a message, for an answer with nothing in it,
and falls over a page in HTML. `kaggle` itself is not imported, since that asks the server at once, and swallows what
goes wrong; the typed requests are those of `kagglesdk`, on which it stands.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

from imettk.errors import UserError

_SERVICES = {
    "blobs": "blob_api_client",
    "datasets": "dataset_api_client",
    "kernels": "kernels_api_client",
    "competitions": "competition_api_client",
    "security": "oauth_client",
}


class Unreadable(Exception):
    """An answer with a good status that is not what was asked for: the call may have been done."""


class Connection:
    """A session with Kaggle, in the name of whoever `authorization` stands for.

    Args:
        answer_seconds: within which a connection has to be made, and each part of an answer to come.

    Attributes:
        client: kagglesdk's.
        authorization: the header of this name, or "" for nobody's.

    Raises:
        UserError: the `kaggle` package is missing, or of a version that is made in another way.
    """

    def __init__(self, answer_seconds: float) -> None:
        try:
            from kagglesdk import KaggleClient
            from kagglesdk.kaggle_env import get_env
        except ModuleNotFoundError as error:
            raise UserError(f"{error.name} is not installed: `pip install imettk[kaggle]`") from None
        self.authorization = ""
        self._clock: tuple[float, float] | None = None
        self.client = KaggleClient(env=get_env(), api_token="-")  # without one it looks for credentials itself
        self.client.__enter__()  # makes the session
        http = self.client.http_client()
        try:
            session, self._read = http._session, http._prepare_response
        except AttributeError as error:  # neither is promised
            raise UserError(f"this kagglesdk is not understood ({error}): `pip install kagglesdk==0.1.38`") from None
        session.auth, http._prepare_response = self._authorize, self._read_checked
        for scheme in ("https://", "http://"):
            session.mount(scheme, _limited(answer_seconds, self._note_time))

    def method(self, service: str, name: str) -> Any:
        """One of the client's calls; it takes a request."""
        return getattr(getattr(getattr(self.client, service), _SERVICES[service]), name)

    @contextmanager
    def signed(self, authorization: str) -> Iterator[None]:
        """Calls in this block are in another's name, or in nobody's."""
        before, self.authorization = self.authorization, authorization
        try:
            yield
        finally:
            self.authorization = before

    def now(self) -> float | None:
        """The platform's clock, in seconds since the epoch, going on from its last answer; None before the first."""
        return None if self._clock is None else self._clock[0] + time.monotonic() - self._clock[1]

    def _authorize(self, request: Any) -> Any:
        if self.authorization:
            request.headers["Authorization"] = self.authorization
        return request

    def _note_time(self, date: str) -> None:
        try:
            self._clock = parsedate_to_datetime(date).timestamp(), time.monotonic()
        except (TypeError, ValueError, OverflowError):
            return

    def _read_checked(self, kind: Any, response: Any) -> Any:
        """Read an answer as the client does, and refuse what it lets pass."""
        from kagglesdk.common.types.file_download import FileDownload
        from kagglesdk.common.types.http_redirect import HttpRedirect
        from requests import HTTPError

        try:
            if response.ok and kind not in (None, FileDownload, HttpRedirect):  # which are given as they come
                body = response.json()
                _check(body, kind)
                if isinstance(body.get("code"), int) and body["code"] >= 400:
                    raise HTTPError(response=response)  # the client wants a message too
            return self._read(kind, response)
        except Exception as error:
            response.raise_for_status()  # a bad status says more than the page that comes with it
            if isinstance(error, HTTPError):
                raise
            text = " ".join(str(error).split())[:100]
            raise Unreadable(f"{type(error).__name__}: {text}") from None


def _limited(answer_seconds: float, note_time: Any) -> Any:
    """An adapter for `requests` that waits so long, and passes on the date of each answer."""
    from requests.adapters import HTTPAdapter

    class Limited(HTTPAdapter):
        def send(self, *arguments: Any, **options: Any) -> Any:
            # The client gives no limit, and a dead connection would hold it for ever.
            response = super().send(*arguments, **(options | {"timeout": answer_seconds}))
            note_time(response.headers.get("Date", ""))
            return response

    return Limited()


def _check(body: Any, kind: Any) -> None:
    """Refuse what the client would take for an answer of this kind: a part of another shape is left out in silence.

    Raises:
        TypeError, ValueError: with the field's name, never its value.
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
    """Check that it can be read as one; a whole number of 64 bits comes as text."""
    try:
        kind(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True
