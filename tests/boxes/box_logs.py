"""The stream of a session's log, as the platform sends it."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PATH = "/api/v1/kernels/logs/stream/"


def answer_log_stream(handler: Any) -> None:
    """Answer a GET: events while the session runs and `END_OF_LOG` at its end; the whole log as JSON after its end.

    Faults of `LOGS`: a code is the answer; 0 breaks the connection after the events so far, `cut` ends the answer there
    as if it were complete, and `body` is the answer.
    """
    box, address = handler.box, urlsplit(handler.path)
    token = base64.b64encode(f"{box.username}:{box.key}".encode()).decode()
    if handler.headers.get("Authorization") != f"Basic {token}":
        handler._json(401, {"code": 401, "message": "Unauthenticated"})
        return
    owner, slug = unquote(address.path).removeprefix(PATH).split("/")
    request = {"userName": owner, "kernelSlug": slug, "versionLabel": parse_qs(address.query)["versionLabel"][0]}
    box.requests.append(("LOGS", request))
    version, fault = box._version(request), box.faults.draw("LOGS", request)
    if fault is not None and fault.code not in (0, 200):
        handler._fail(fault, b"")
        return
    if version.status not in ("QUEUED", "RUNNING"):
        handler._json(200, events_of(version))
        return
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    sent = 0
    while True:
        running = version.status in ("QUEUED", "RUNNING")  # before the log: a log read after the end is complete
        for event in events_of(version)[sent:]:
            _send(handler, f"data: {json.dumps(event)}\n\n")
            sent += 1
        if fault is not None and sent:
            break
        if not running:
            _send(handler, "data: END_OF_LOG\n\n")
            break
        time.sleep(0.01)
    if fault is not None and not fault.cut:
        handler.close_connection = True  # in the middle of an answer
        handler.connection.shutdown(2)
        return
    handler.wfile.write(b"0\r\n\r\n")


def events_of(version: Any) -> list[dict[str, Any]]:
    """Return a log's complete lines as the platform sends them."""
    text = version.job.log.read_text(encoding="utf-8") if version.job.log.is_file() else ""
    lines = [line for line in text.splitlines(True) if line.endswith("\n")]
    return [{"stream_name": "stdout", "time": float(number), "data": line} for number, line in enumerate(lines)]


def _send(handler: Any, text: str) -> None:
    content = text.encode()
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
    handler.wfile.flush()
