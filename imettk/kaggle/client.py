"""Calls to Kaggle through its official client, each with a time limit, repeated where that is safe, and checked.

The client (kaggle 2.2) has no time limit for a call, repeats few of them, and its command line ends with code 0 after
many failures. So its typed requests are used, and what it does around them is done here.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from imettk.errors import PlatformError, UserError
from imettk.kaggle.connection import Connection, Unreadable
from imettk.kaggle.credentials import Credentials, find_credentials, is_plain, refusal, renewed, tell_readable
from imettk.progress import say

WARN_AFTER_FAILURES = 3  # failures in a row, from which on the user is told
PASSING_TRIES = 3  # of a call whose answer is final, and may be one in passing all the same


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
    """No answer, a server's fault, or nothing that can be read: what was asked for may have been done or not."""


class NotSignedIn(Unclear, UserError):
    """Kaggle does not take the credentials, for now: new ones are looked for at the next call."""


class NotThere(PlatformError):
    """Kaggle does not know it, or does not show it to this user."""


class Refused(PlatformError):
    """Kaggle has understood the call, and said no."""


class Kaggle:
    """One user's account.

    Raises:
        UserError: the `kaggle` package is missing, no credentials are to be found, or Kaggle does not take them.
        Unclear: no answer to whose they are.

    Attributes:
        username: whose account it is.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        self.username = ""
        self._connection = Connection(self.patience.answer_seconds)
        tell_readable()
        self._use(find_credentials())

    def ask(
        self,
        service: str,
        method: str,
        request: Any,
        *,
        what: str,
        repeat: bool = True,
        there: bool = False,
        tries: int | None = None,
    ) -> Any:
        """Send a request of kagglesdk, and give its typed answer.

        Args:
            service: of `blobs`, `datasets`, `kernels`, `competitions`.
            what: the call in words, for messages: "push of me/slug".
            repeat: whether doing it twice does no harm. Otherwise only what was surely not done is repeated.
            there: it must be there, so that a 403 or 404 may be one in passing, and is asked again a few times.
            tries: fewer than the patience's, for what is information only.

        Raises:
            NotThere, Refused: Kaggle's answer.
            Unclear: every try failed, or the first did where it must not be repeated.
            NotSignedIn: Kaggle does not take the credentials, nor what has been found in their place meanwhile.
        """
        send, needs = self._connection.method(service, method), _NEEDS.get(method, ())

        def call() -> Any:
            answer = send(request)
            if lacking := [name for name in needs if not getattr(answer, name)]:
                raise Unreadable(f"without {lacking[0]}")
            return answer

        if self._credentials.ends:
            self._renew()
        try:
            return self._persist(call, what, repeat=repeat, there=there, tries=tries, renew=self._renew)
        except _Unauthorized as error:
            raise NotSignedIn(f"{error}; {refusal(self._credentials)}") from None

    def repeat(self, call: Callable[[], Any], *, what: str, repeat: bool = True) -> Any:
        """The result of a call over HTTP without credentials, tried again after the faults that pass; errors as above.

        Whatever `get` and `put` raise is explained here.
        """
        try:
            return self._persist(call, what, repeat=repeat)
        except _Unauthorized:  # not for credentials: an address carries its own right, which ends
            raise NotThere(f"{what}: Kaggle does not know it, or does not show it to this user (401)") from None

    @property
    def http(self) -> Any:
        """The official client's own HTTP client, signed in, for what it has no typed call for."""
        return self._connection.client.http_client()

    def time(self) -> float:
        """The platform's clock, which no change of this machine's clock moves; ours until it has answered."""
        return self.now() or time.time()

    def now(self) -> float | None:
        """The platform's clock, in seconds since the epoch; None before any answer."""
        return self._connection.now()

    def _persist(
        self,
        call: Callable[[], Any],
        what: str,
        *,
        repeat: bool = True,
        there: bool = False,
        tries: int | None = None,
        renew: Callable[[], None] | None = None,
    ) -> Any:
        """The result of a call, tried as often as its faults may pass; `renew` comes after a 401."""
        tries, passing = min(tries or self.patience.tries, self.patience.tries), 0
        for failures in range(1, tries + 1):
            error = None
            try:
                return call()
            except Exception as caught:
                error, asked = _explain(caught, what), _retry_after(caught)
                sure = _was_not_done(caught)
            unauthorized = isinstance(error, _Unauthorized) and renew is not None
            if unauthorized or (there and isinstance(error, NotThere)):
                passing += 1
                again = passing < PASSING_TRIES
            else:
                again = isinstance(error, Unclear) and (repeat or sure)
            if not again or failures == tries:
                raise error from None
            if failures >= min(WARN_AFTER_FAILURES, tries - 1):
                say(f"{error}; trying again ({failures} of {tries})")
            self.patience.wait(failures, asked)
            if unauthorized and renew is not None:
                renew()
        raise AssertionError("unreachable")

    def _use(self, credentials: Credentials) -> None:
        """Sign in with these from now on, if they are this account's."""
        if credentials.ends:
            credentials = self._with_new_token(credentials)
        name = credentials.username or self._introspect(credentials)
        if self.username and name.lower() != self.username.lower():
            raise NotSignedIn(f"{credentials} is {name}'s: this began in the name of {self.username}; sign in so again")
        self.username = self.username or name
        self._credentials, self._connection.authorization = credentials, credentials.authorization

    def _renew(self) -> None:
        """Take what the user has put in place of the credentials meanwhile; else a login's next access token."""
        try:
            found = find_credentials()
        except UserError:  # gone, or about to be written: those in use may be good all the same
            found = self._credentials
        if found.secret == self._credentials.secret:
            if not found.refresh_token:
                return
            found = replace(found, expires=None)
        if found.source != self._credentials.source:
            say(f"signing in to Kaggle with {found}")
        self._use(found)

    def _with_new_token(self, login: Credentials) -> Credentials:
        from kagglesdk import KaggleCredentials

        stored = KaggleCredentials(self._connection.client, refresh_token=login.refresh_token)

        def generate() -> Any:
            answer = stored.generate_access_token()
            if not is_plain(answer.token):
                raise Unreadable("without token")
            return answer

        answer = self._sign_in(generate, "renewal of the login", login, "")
        return renewed(login, answer.token, int(answer.expires_in))

    def _introspect(self, credentials: Credentials) -> str:
        """The name of a token's user."""
        from kagglesdk.security.types.oauth_service import IntrospectTokenRequest

        request = IntrospectTokenRequest()
        request.token = credentials.secret
        introspect = self._connection.method("security", "introspect_token")
        answer = self._sign_in(lambda: introspect(request), "sign-in", credentials, credentials.authorization)
        if not answer.active or not answer.username:
            raise NotSignedIn(f"sign-in: Kaggle does not take these credentials; {refusal(credentials)}")
        return str(answer.username)

    def _sign_in(self, call: Callable[[], Any], what: str, credentials: Credentials, authorization: str) -> Any:
        """The answer to one of the calls before all others; any no means that Kaggle does not take these."""
        try:
            with self._connection.signed(authorization):
                return self._persist(call, what, there=True, tries=PASSING_TRIES, renew=lambda: None)
        except (_Unauthorized, NotThere, Refused) as error:
            raise NotSignedIn(f"{error}; {refusal(credentials)}") from None

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


class _Unauthorized(PlatformError):
    """A 401, before it is said whose fault it is."""


# What an answer must have: a page in its place would be read as one without anything.
_NEEDS = {
    "start_blob_upload": ("token", "create_url"),
    "start_submission_upload": ("token", "create_url"),
    "get_kernel": ("metadata", "blob"),
}


def _explain(error: Exception, what: str) -> Exception:
    """A fault in one line; what is no fault of the connection or the server is given back as it is."""
    import requests

    if isinstance(error, Unreadable | requests.JSONDecodeError):
        return Unclear(f"{what}: Kaggle's answer cannot be read ({error})")
    if not isinstance(error, requests.RequestException):
        return error
    response = error.response
    if response is None:
        return Unclear(f"{what}: no answer from Kaggle ({type(error).__name__})")
    code, text = _answer(response)
    if code in (403, 404):
        return NotThere(f"{what}: Kaggle does not know it, or does not show it to this user ({code}){text}")
    if code == 401:
        return _Unauthorized(f"{what}: Kaggle does not take these credentials (401){text}")
    passing = code in (408, 429) or code >= 500 or code < 400
    return (Unclear if passing else Refused)(f"{what}: Kaggle answers {code}{text}")


def _answer(response: Any) -> tuple[int, str]:
    """The code and the message of a failed call; both may stand in the body of what HTTP calls a success."""
    code, text = response.status_code, ""
    # Of a file that is being streamed the body may be gone, or break off: then the status has to do.
    with contextlib.suppress(Exception):
        body = response.json()
        code, text = int(body.get("code", code)), str(body.get("message", ""))
    return code, f": {' '.join(text.split())[:200]}" if text else ""


def _retry_after(error: Exception) -> float | None:
    """The seconds that a server asks to wait, if it says so in seconds."""
    response = getattr(error, "response", None)
    value = response.headers.get("Retry-After", "") if response is not None else ""
    return float(value) if value.isascii() and value.isdigit() else None


def _was_not_done(error: Exception) -> bool:
    """Tell a call that surely had no effect: it was turned away at the door, or never reached it."""
    import requests

    response = getattr(error, "response", None)
    if response is not None:
        return bool(response.status_code == 429)
    return isinstance(error, requests.ConnectTimeout)


def owner_of(reference: str) -> tuple[str, str]:
    """`owner/slug` as its two parts."""
    owner, _, slug = reference.partition("/")
    return owner, slug
