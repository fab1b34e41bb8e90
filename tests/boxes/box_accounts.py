"""Users of Kaggle in a box: a name and a key, bearer tokens, and logins whose tokens expire; and a silent server."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from box_state import Refusal


@dataclass
class Token:
    """A bearer token, which expires by the box's clock."""

    username: str
    ends: float = float("inf")


class Accounts:
    """The part of `KaggleBox` that knows users; its clock stands still until a test moves it.

    Attributes:
        clock: the time in seconds.
        lifetime: the seconds that an access token of a login lives.
        unauthorized: the methods of calls without valid credentials.
    """

    username: str
    key: str

    def open_accounts(self) -> None:
        """Begin without tokens and logins."""
        self.clock, self.lifetime = 0.0, 12 * 3600
        self.tokens: dict[str, Token] = {}
        self.refresh_tokens: dict[str, str] = {}
        self.unauthorized: list[str] = []

    def add_token(self, name: str, username: str = "me") -> str:
        """Add and return a token like those of the settings page."""
        token = f"KGAT_{name}{'0' * 24}"
        self.tokens[token] = Token(username)
        return token

    def add_login(self, path: Path, username: str = "me", *, hours_left: float = 12.0, name: str = "") -> str:
        """Write the file that `kaggle auth login` writes, and return its refresh token."""
        refresh = f"refresh-{username}{name}"
        self.refresh_tokens[refresh] = username
        token = self._make_access_token(username)
        self.tokens[token].ends = self.clock + 3600 * hours_left
        content = {
            "refresh_token": refresh, "access_token": token, "username": username, "scopes": ["resources.admin:*"],
            "access_token_expiration": (datetime.now(UTC) + timedelta(hours=hours_left)).isoformat(),
        }  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2))
        path.chmod(0o600)
        return refresh

    def knows(self, method: str, authorization: str | None) -> bool:
        """Return whether the credentials of a call are valid; a login's access token is fetched without any."""
        basic = "Basic " + base64.b64encode(f"{self.username}:{self.key}".encode()).decode()
        if method == "GenerateAccessToken":
            known = authorization is None
        else:
            known = authorization == basic or self._alive((authorization or "").removeprefix("Bearer ")) is not None
        if not known:
            self.unauthorized.append(method)
        return known

    def secrets(self) -> list[str]:
        """Return the texts that must not be shown anywhere."""
        return [self.key, *self.tokens, *self.refresh_tokens]

    def _alive(self, token: str) -> Token | None:
        known = self.tokens.get(token)
        return known if known is not None and self.clock < known.ends else None

    def _make_access_token(self, username: str) -> str:
        token = f"access-{len(self.tokens)}"
        self.tokens[token] = Token(username, self.clock + self.lifetime)
        return token

    def _introspect_token(self, request: dict[str, Any]) -> dict[str, Any]:
        token = self._alive(request["token"])
        return {} if token is None else {"active": True, "username": token.username}

    def _generate_access_token(self, request: dict[str, Any]) -> dict[str, Any]:
        username = self.refresh_tokens.get(request["refreshToken"])
        if username is None:
            raise Refusal(401, "Unauthenticated")
        return {"token": self._make_access_token(username), "expiresIn": self.lifetime, "userName": username}


@contextmanager
def silent_server() -> Iterator[int]:
    """Run a server that accepts connections and never answers; provide its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connections.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()
