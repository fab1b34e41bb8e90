"""Calls to Kaggle through its official client, each with a time limit, repeated if that is safe, and checked.

The client (kaggle 2.2) sets no time limit, repeats few calls, and its command line exits with code 0 after many
failures. So imettk uses only its typed requests, and does here what the client does around them.
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
from imettk.kaggle.credentials import Credentials, find_credentials, is_plain, refusal, renewed, warn_of_readable_keys
from imettk.progress import say

WARN_AFTER_FAILURES = 3  # failures in a row after which the user is warned
PASSING_TRIES = 3  # of a call that was refused: Kaggle sometimes answers 401, 403 or 404 by mistake


@dataclass(frozen=True)
class Patience:
    """Limits for waiting and for trying again.

    Attributes:
        tries: the number of tries of a call.
        first_seconds: the longest wait after the first failure; it doubles with every further one, up to
            `longest_seconds`. The wait is drawn from the upper half, so that several processes do not retry in step.
        answer_seconds: the time limit for making a connection, and for each part of an answer.
        sleep: called to wait; tests pass a faster one.
    """

    tries: int = 10
    first_seconds: float = 2.0
    longest_seconds: float = 120.0
    answer_seconds: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    _random: random.Random = field(default_factory=random.Random, repr=False)

    def wait(self, failures: int, asked: float | None = None) -> None:
        """Wait after so many failures in a row (at least 1), or for the seconds that the server asked for."""
        if asked is None:
            longest = min(self.first_seconds * 2 ** (failures - 1), self.longest_seconds)
            asked = longest * self._random.uniform(0.5, 1.0)
        self.sleep(min(asked, self.longest_seconds))


class Unclear(PlatformError):
    """No answer, a fault of the server, or an unreadable answer: the call may have taken effect or not."""


class NotSignedIn(Unclear, UserError):
    """Kaggle does not accept the credentials at present; the next call looks for new ones."""


class NotThere(PlatformError):
    """Kaggle does not know the thing, or does not show it to this user."""


class Refused(PlatformError):
    """Kaggle has understood the call and refused it."""


class Kaggle:
    """One user's account.

    Raises:
        UserError: the `kaggle` package or credentials are missing, or Kaggle does not accept the credentials.
        Unclear: Kaggle did not answer whose credentials they are.

    Attributes:
        username: the owner of the account.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        self.username = ""
        self._connection = Connection(self.patience.answer_seconds)
        warn_of_readable_keys()
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
        """Send a request of kagglesdk and return its typed answer.

        Args:
            service: `blobs`, `datasets`, `kernels` or `competitions`.
            what: the call in words, for messages: "push of me/slug".
            repeat: whether the call may be made twice without harm. If not, it is repeated only after a failure that
                surely had no effect.
            there: the thing must exist, so a 403 or 404 may be a mistake and is asked again a few times.
            tries: fewer tries than the patience allows, for mere information.

        Raises:
            NotThere, Refused: Kaggle's answer.
            Unclear: every try failed, or the first one of a call that must not be repeated.
            NotSignedIn: Kaggle does not accept the credentials, nor any that were found in their place meanwhile.
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
        """Make an HTTP call without credentials, again after passing faults, and return its result.

        Errors are those of `ask`; anything that `get` and `put` raise is turned into one of them.
        """
        try:
            return self._persist(call, what, repeat=repeat)
        except _Unauthorized:  # no credentials were sent: the address itself carries the permission, which expires
            raise NotThere(f"{what}: Kaggle does not know it, or does not show it to this user (401)") from None

    @property
    def http(self) -> Any:
        """The official client's own HTTP client, signed in, for calls that it has no typed request for."""
        return self._connection.client.http_client()

    def time(self) -> float:
        """Return the platform's time; this machine's until the platform has answered.

        A chain measures with it how long something has been missing: a laptop's clock may be wrong or set meanwhile.
        """
        return self.now() or time.time()

    def now(self) -> float | None:
        """Return the platform's time in seconds since the epoch; None before its first answer."""
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
        """Make a call until it succeeds or fails for good, and return its result; `renew` is called after a 401."""
        tries, passing = min(tries or self.patience.tries, self.patience.tries), 0
        for failures in range(1, tries + 1):
            try:
                return call()
            except Exception as caught:
                error, asked = _explain(caught, what), _retry_after(caught)
                sure = _had_no_effect(caught)
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
        """Sign in with these credentials from now on, if they belong to this account."""
        if credentials.ends:
            credentials = self._with_new_token(credentials)
        name = credentials.username or self._introspect(credentials)
        # Another account would not see this one's kernels, and a chain would push all of its sessions again.
        if self.username and name.lower() != self.username.lower():
            raise NotSignedIn(
                f"{credentials} is {name}'s, but this began in the name of {self.username}: sign in as {self.username}"
            )
        self.username = self.username or name
        self._credentials, self._connection.authorization = credentials, credentials.authorization

    def _renew(self) -> None:
        """Use credentials that the user has replaced meanwhile; otherwise fetch a login's next access token."""
        try:
            credentials = find_credentials()
        except UserError:  # deleted, or being written just now: those in use may still be good
            credentials = self._credentials
        if credentials.secret == self._credentials.secret:
            if not credentials.refresh_token:
                return
            credentials = replace(credentials, expires=None)  # refused before its time: fetch a new access token
        if credentials.source != self._credentials.source:
            say(f"signing in to Kaggle with {credentials}")
        self._use(credentials)

    def _with_new_token(self, login: Credentials) -> Credentials:
        """Fetch the next access token of a login, and keep it in the login's file."""
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
        """Return the name of a token's user, whom only Kaggle knows."""
        from kagglesdk.security.types.oauth_service import IntrospectTokenRequest

        request = IntrospectTokenRequest()
        request.token = credentials.secret
        introspect = self._connection.method("security", "introspect_token")
        answer = self._sign_in(lambda: introspect(request), "sign-in", credentials, credentials.authorization)
        if not answer.active or not answer.username:
            raise NotSignedIn(f"sign-in: Kaggle does not accept these credentials; {refusal(credentials)}")
        return str(answer.username)

    def _sign_in(self, call: Callable[[], Any], what: str, credentials: Credentials, authorization: str) -> Any:
        """Make one of the calls that come before all others, in which any refusal concerns the credentials."""
        try:
            with self._connection.signed(authorization):
                return self._persist(call, what, there=True, tries=PASSING_TRIES, renew=lambda: None)
        except (_Unauthorized, NotThere, Refused) as error:
            raise NotSignedIn(f"{error}; {refusal(credentials)}") from None

    def get(self, url: str, *, start: int = 0) -> Any:
        """Return the streamed answer to a GET of a file's address, from a byte on; the caller closes it."""
        import requests

        # A range counts bytes as they are sent: those of a compressed answer would not continue the uncompressed part.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        # Without credentials: such an address carries its own permission, and may lead to another host.
        return requests.get(url, headers=headers, stream=True, timeout=self.patience.answer_seconds)

    def put(self, url: str, content: Any, headers: dict[str, str]) -> Any:
        """Return the answer to a PUT of a file's content, or of an empty one that asks how much has arrived."""
        import requests

        return requests.put(url, data=content, headers=headers, timeout=self.patience.answer_seconds)


class _Unauthorized(PlatformError):
    """A 401 whose cause, credentials or an expired address, is not decided yet."""


# Fields that an answer must have: the client reads a page in its place as an answer with all fields empty.
_NEEDS = {
    "start_blob_upload": ("token", "create_url"),
    "start_submission_upload": ("token", "create_url"),
    "get_kernel": ("metadata", "blob"),
}


def _explain(error: Exception, what: str) -> Exception:
    """Turn a fault of the connection or the server into one line; return any other error unchanged."""
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
        return _Unauthorized(f"{what}: Kaggle does not accept these credentials (401){text}")
    passing = code in (408, 429) or code >= 500 or code < 400  # below 400: a page, or a redirection to one
    return (Unclear if passing else Refused)(f"{what}: Kaggle answers {code}{text}")


def _answer(response: Any) -> tuple[int, str]:
    """Return code and message of a failed call; both may come in the body of an answer with status 200."""
    code, text = response.status_code, ""
    # The body of a streamed file may be consumed already, or break off: then the status has to do.
    with contextlib.suppress(Exception):
        body = response.json()
        code, text = int(body.get("code", code)), str(body.get("message", ""))
    return code, f": {' '.join(text.split())[:200]}" if text else ""


def _retry_after(error: Exception) -> float | None:
    """Return how many seconds the server asks to wait, if it gives a number of seconds."""
    response = getattr(error, "response", None)
    value = response.headers.get("Retry-After", "") if response is not None else ""
    return float(value) if value.isascii() and value.isdigit() else None


def _had_no_effect(error: Exception) -> bool:
    """Return whether a call surely had no effect: it was turned away for its rate, or never reached the server."""
    import requests

    response = getattr(error, "response", None)
    if response is not None:
        return bool(response.status_code == 429)
    return isinstance(error, requests.ConnectTimeout)


def owner_of(reference: str) -> tuple[str, str]:
    """Split `owner/slug` into its two parts."""
    owner, _, slug = reference.partition("/")
    return owner, slug
