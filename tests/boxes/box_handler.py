"""The HTTP side of Kaggle in a box: requests are parsed, faults applied, and answers sent."""

from __future__ import annotations

import json
import socket
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import box_logs
from box_faults import Fault
from box_state import Refusal

if TYPE_CHECKING:
    from kaggle_box import KaggleBox


class Handler(BaseHTTPRequestHandler):
    """A connection to the box, which is `server.box`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = (
        True  # otherwise the body, a second write, would wait 40 ms for the headers' acknowledgement
    )

    @property
    def box(self) -> KaggleBox:
        return self.server.box  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.box.date() if timestamp is None else timestamp, usegmt=True)

    def handle_one_request(self) -> None:
        # The same for the client, which holds a body back until its headers are acknowledged.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        super().handle_one_request()

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request, method = json.loads(content or b"{}"), urlsplit(self.path).path.rpartition("/")[2]
        self.box.requests.append((method, request))
        if not self.box.knows(method, self.headers.get("Authorization")):
            self._json(401, {"code": 401, "message": "Unauthenticated"})
            return
        fault = self.box.faults.draw(method, request)
        if fault is not None and not fault.after:
            self._fail(fault, b"")
            return
        try:
            code, answer = 200, self.box.answer(method, request)
        except Refusal as error:
            code, answer = error.code, {"code": error.code, "message": error.message}
        if fault is not None:
            self._fail(fault, json.dumps(answer).encode())
        elif "Location" in answer:
            self._send(302, b"", answer)
        else:
            self._json(code, answer)

    def do_PUT(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        content = self.rfile.read(length)
        token, place = urlsplit(self.path).path.rpartition("/")[2], self.headers.get("Content-Range", "")
        if len(content) < length:  # the client has closed the connection
            self.close_connection = True
            return
        fault = None if place.startswith("bytes */") else self.box.faults.draw("PUT", {"token": token})
        if fault is not None and not fault.after:
            if fault.cut:
                self.box.put(token, content, place, kept=len(content) // 2)
            self._fail(fault, b"")
            return
        code, headers = self.box.put(token, content, place, kept=None)
        if fault is not None:
            self._fail(fault, b"")
        else:
            self._send(code, b"", headers)

    def do_GET(self) -> None:
        if self.path.partition("://localhost")[2].startswith(box_logs.PATH):
            box_logs.answer_log_stream(self)
            return
        path = self.box.file_behind(unquote(urlsplit(self.path).path))
        content = path.read_bytes()
        fault = self.box.faults.draw("GET", {"name": path.name})
        if fault is not None:
            self._fail(fault, content)
            return
        start = self.headers.get("Range", "")
        if start:
            first = int(start.removeprefix("bytes=").split("-")[0])
            held = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
            self._send(206, content[first:], held)
        else:
            self._send(200, content)

    def _fail(self, fault: Fault, content: bytes) -> None:
        self.close_connection = True
        if fault.code == 0:
            return
        body = content if fault.body is None else fault.body
        headers = {"Connection": "close", **fault.headers}  # without it the client may lose its next call
        if fault.cut and body:
            self._send(fault.code, body, headers, sent=len(body) // 2)
        else:
            self._send(fault.code, body if fault.body is not None or fault.code == 200 else b"", headers)

    def _json(self, code: int, answer: dict[str, Any]) -> None:
        self._send(code, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _send(self, code: int, body: bytes, headers: dict[str, str] | None = None, sent: int | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if sent is None else body[:sent])
