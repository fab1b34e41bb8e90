"""Kaggle in a box: a server on this machine that speaks the official client's protocol and really runs what is pushed.

It answers `POST /api/v1/<service>/<Method>` with JSON, as the platform does (`box.environment()` leads the client
here), keeps datasets, kernels and submissions in memory and their files in a folder, and gives every kernel's session
to a callable in a thread of its own. Faults are laid on before a call and happen once each.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import shutil
import socket
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import box_logs
from box_accounts import Accounts
from box_datasets import DatasetFiles

from imettk.kaggle.client import Patience

PROCESSING = ("NOT_YET_PERSISTED", "BLOBS_RECEIVED", "BLOBS_DECOMPRESSED", "INDIVIDUAL_BLOBS_COMPRESSED")


ENDED = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")


@dataclass
class Job:
    """What a session gets; folders are only to be read, but for `working`."""

    slug: str
    version: int
    text: str
    gpu: bool
    internet: bool
    limit_seconds: float | None
    datasets: dict[str, Path]
    notebooks: dict[str, Path]
    competitions: dict[str, Path]
    working: Path
    log: Path
    models: dict[str, Path] = field(default_factory=dict)
    cancel: threading.Event = field(default_factory=threading.Event)


@dataclass
class Version:
    """One version of a kernel."""

    number: int
    request: dict[str, Any]
    job: Job
    status: str = "QUEUED"
    failure: str = ""
    seconds: float = 0.0
    pushed_at: str = field(default_factory=lambda: now())
    listings: int = 0
    lacks: list[str] = field(default_factory=list)


@dataclass
class Dataset:
    """Its versions as folders; the last one may still be in processing."""

    versions: list[Path] = field(default_factory=list)
    polls_left: int = 0
    failed: bool = False

    @property
    def ready(self) -> int:
        """How many versions kernels can have."""
        return len(self.versions) - (1 if self.polls_left or self.failed else 0)


@dataclass
class Fault:
    """What goes wrong with one call.

    Attributes:
        code: of the answer; 0 closes the connection without one.
        after: the call has its effect all the same.
        cut: an answer that is whole in its headers and short in its body.
        body: instead of the right one.
        headers: beside the others, such as Retry-After.
        where: of the request, to which calls it applies.
    """

    code: int = 500
    after: bool = False
    cut: bool = False
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    where: Callable[[dict[str, Any]], bool] = lambda request: True


PAGE = b"<!doctype html><title>Kaggle</title><p>We are down for maintenance."
WEATHER = [
    Fault(503), Fault(500, after=True), Fault(0), Fault(0, after=True), Fault(429, body=b"slow down"),
    Fault(200, cut=True, after=True),
]  # fmt: skip
# What passes and looks like an answer: pages in its place, and refusals that are none.
PASSING = [Fault(200, body=PAGE, after=True), Fault(200, body=b""), Fault(401), Fault(403), Fault(404)]


class Faults:
    """Which calls fail: laid on one by one, or drawn."""

    def __init__(self) -> None:
        self._laid: dict[str, list[Fault]] = defaultdict(list)
        self._storm: tuple[random.Random, float] | None = None
        self.happened: list[str] = []

    def add(self, method: str, fault: Fault, times: int = 1) -> None:
        """For calls of a method, or of `PUT` (a file's content) or `GET` (an output file)."""
        self._laid[method] += [fault] * times

    def storm(self, seed: int, rate: float) -> None:
        """Every call fails with this chance in some way of the wire; 0 ends the storm."""
        self._storm = (random.Random(seed), rate) if rate else None

    def draw(self, method: str, request: dict[str, Any]) -> Fault | None:
        fault = next((one for one in self._laid[method] if one.where(request)), None)
        if fault is not None:
            self._laid[method].remove(fault)
        elif self._storm is not None and self._storm[0].random() < self._storm[1]:
            fault = self._storm[0].choice(WEATHER if method in ("PUT", "GET") else [*WEATHER, *PASSING])
        if fault is not None:
            self.happened.append(method)
        return fault


def _steady() -> Callable[[], float]:
    """A clock that is right now and then goes its own way."""
    ahead = time.time() - time.monotonic()
    return lambda: time.monotonic() + ahead


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(message)


class KaggleBox(Accounts, DatasetFiles):
    """The server; a context manager.

    Args:
        root: a folder for files.
        run_kernel: gets a session's job; its status at the end.
    """

    def __init__(self, root: Path, *, run_kernel: Callable[[Job], str], username: str = "me", key: str = "k" * 32):
        self.root, self.username, self.key = root, username, key
        self.open_accounts()
        self.processing_polls, self.score_polls, self.max_gpu, self.max_cpu = 2, 1, 2, 5
        self.quota_seconds, self.renewed_at = 108_000.0, "2027-01-02T00:00:00Z"
        self.failed_outputs = "refused"  # of sessions that did not end well: or "omitted", "older", "attached"
        self.late_listings = 0  # answers of a session that has ended, before its files are listed
        self.spell: Callable[[str], str] = lambda slug: slug  # what becomes of a slug
        self.date: Callable[[], float] = _steady()  # the platform's, which no change of this machine's clock moves
        self.faults = Faults()
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.datasets: dict[str, Dataset] = {}
        self.models: dict[str, Path] = {}  # by owner/model/framework/variation/version
        self.kernels: dict[str, list[Version]] = defaultdict(list)
        self.deleted: dict[str, list[Version]] = {}
        self.competitions: dict[str, tuple[Path, Callable[[Path], tuple[float, float]]]] = {}
        self.submissions: list[dict[str, Any]] = []
        self._run_kernel, self._blobs, self._lock = run_kernel, {}, threading.RLock()
        self._threads: list[threading.Thread] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.box = self  # type: ignore[attr-defined]
        self._server.daemon_threads = True

    def __enter__(self) -> KaggleBox:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for versions in self.kernels.values():
            for version in versions:
                version.job.cancel.set()
        for thread in self._threads:
            thread.join(30)
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: Path) -> dict[str, str]:
        """What leads the client here, and nowhere else."""
        port = self._server.server_address[1]
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST", "KAGGLE_USERNAME": self.username, "KAGGLE_KEY": self.key,
            "KAGGLE_CONFIG_DIR": str(home), "HOME": str(home), "no_proxy": "", "NO_PROXY": "",
            "http_proxy": f"http://127.0.0.1:{port}", "https_proxy": "http://127.0.0.1:9",
        }  # fmt: skip

    def add_dataset(self, reference: str, folder: Path) -> None:
        """A dataset that is ready."""
        self.datasets.setdefault(reference, Dataset()).versions.append(folder)

    def add_competition(self, slug: str, folder: Path, score: Callable[[Path], tuple[float, float]]) -> None:
        """Data, and how a submission is scored: public and private."""
        self.competitions[slug] = (folder, score)

    def wait(self, seconds: float = 600.0) -> None:
        """Until no session runs, or so long."""
        for thread in list(self._threads):
            thread.join(seconds)

    def wait_for_an_end(self) -> None:
        """Until one of the sessions that run has ended; not at all where none runs."""
        running = [thread for thread in self._threads if thread.is_alive()]
        while running and all(thread.is_alive() for thread in running):
            running[0].join(0.05)

    def answer(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a call; `Refusal` for an error."""
        with self._lock:
            return getattr(self, f"_{re.sub('(?<!^)(?=[A-Z])', '_', method).lower()}")(request)

    # blobs

    def _start_blob_upload(self, request: dict[str, Any]) -> dict[str, Any]:
        token = f"blob{len(self._blobs)}"
        self._blobs[token] = {"name": request["name"], "size": int(request.get("contentLength", 0)), "content": None}
        return {"token": token, "createUrl": f"http://localhost/upload/{token}"}

    def put(self, token: str, content: bytes, content_range: str, *, kept: int | None) -> tuple[int, dict[str, str]]:
        """A PUT of content: its code and headers. `kept` of its bytes arrive, where the connection breaks."""
        with self._lock:
            blob = self._blobs[token]
            have = blob["content"] or b""
            if not content_range.startswith("bytes */"):
                start = int(content_range.split()[1].split("-")[0]) if content_range else 0
                assert start <= len(have), "a hole in the file"
                blob["content"] = have[:start] + (content if kept is None else content[:kept])
            have = blob["content"] or b""
            if len(have) == blob["size"]:
                return 200, {}
            return 308, {"Range": f"bytes=0-{len(have) - 1}"} if have else {}

    # datasets

    def _dataset(self, request: dict[str, Any]) -> tuple[str, Dataset]:
        reference = f"{request['ownerSlug']}/{request.get('datasetSlug') or request.get('slug')}"
        if reference not in self.datasets:
            raise Refusal(404, "Not found")
        return reference, self.datasets[reference]

    def _add_version(self, reference: str, tokens: list[dict[str, Any]]) -> dict[str, Any]:
        dataset = self.datasets.setdefault(reference, Dataset())
        folder = self.root / "datasets" / reference / f"v{len(dataset.versions) + 1}"
        shutil.rmtree(folder, ignore_errors=True)  # of a dataset that was deleted
        folder.mkdir(parents=True)
        for token in tokens:
            blob = self._blobs[token["token"]]
            if blob["content"] is None and blob["size"]:
                continue  # as the platform does: a version without that file
            path = folder / blob["name"]
            path.write_bytes(blob["content"] or b"")
            if path.suffix == ".zip":  # is unpacked into a folder of its name
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(folder / path.stem)
                path.unlink()
        dataset.versions.append(folder)
        dataset.polls_left, dataset.failed = self.processing_polls, False
        return {"ref": reference, "url": f"http://localhost/datasets/{reference}", "status": "ok"}

    def _create_dataset(self, request: dict[str, Any]) -> dict[str, Any]:
        reference = f"{request['ownerSlug']}/{request['slug']}"
        if reference in self.datasets:
            return {"status": "error", "error": "The requested title is already in use"}
        return self._add_version(reference, request["files"])

    def _create_dataset_version(self, request: dict[str, Any]) -> dict[str, Any]:
        reference, _ = self._dataset(request)
        return self._add_version(reference, request["body"]["files"])

    def _get_dataset_status(self, request: dict[str, Any]) -> dict[str, Any]:
        _, dataset = self._dataset(request)
        if dataset.failed:
            return {"status": "FAILED"}
        if dataset.polls_left:
            dataset.polls_left -= 1
            return {"status": PROCESSING[dataset.polls_left % len(PROCESSING)]}
        return {"status": "READY"}

    def _get_dataset(self, request: dict[str, Any]) -> dict[str, Any]:
        reference, dataset = self._dataset(request)
        return {"ref": reference, "currentVersionNumber": dataset.ready}

    # kernels

    def _sources(self, request: dict[str, Any]) -> tuple[dict[str, dict[str, Path]], dict[str, list[str]]]:
        """Folders of what is attached, and what is not known."""
        found: dict[str, dict[str, Path]] = {"datasets": {}, "notebooks": {}, "competitions": {}, "models": {}}
        unknown: dict[str, list[str]] = defaultdict(list)
        for source in request.get("datasetDataSources", []):
            name, number = "/".join(source.split("/")[:2]), source.split("/")[2:]
            dataset = self.datasets.get(name)
            wanted = int(number[0]) if number else dataset.ready if dataset else 0
            if dataset is None or not 0 < wanted <= dataset.ready:
                unknown["invalidDatasetSources"].append(source)
            else:
                found["datasets"][name] = dataset.versions[wanted - 1]
        for source in request.get("kernelDataSources", []):
            output = self._attached(source)
            if output is None:
                unknown["invalidKernelSources"].append(source)
            else:
                found["notebooks"][source] = output
        for source in request.get("competitionDataSources", []):
            if source in self.competitions:
                found["competitions"][source] = self.competitions[source][0]
            else:
                unknown["invalidCompetitionSources"].append(source)
        for source in request.get("modelDataSources", []):
            if source in self.models:
                found["models"][source] = self.models[source]
            else:
                unknown["invalidModelSources"].append(source)
        return found, unknown

    def _attached(self, source: str) -> Path | None:
        """What a kernel gets as the output of another; None where it is refused."""
        ended = [one for one in self.kernels.get(source, []) if one.status in ENDED]
        done = [one for one in ended if one.status == "COMPLETE"]
        if ended and (ended[-1] in done or self.failed_outputs == "attached"):
            return ended[-1].job.working
        if done and self.failed_outputs == "older":
            return done[-1].job.working
        if not ended or self.failed_outputs == "refused":
            return None
        nothing = self.root / "nothing"
        nothing.mkdir(exist_ok=True)
        return nothing

    def _save_kernel(self, request: dict[str, Any]) -> dict[str, Any]:
        gpu = request.get("enableGpu", False)
        # As the platform does, in silence: whoever asks for another slug afterwards does not find the kernel.
        slug = self.spell(re.sub("[^a-z0-9]+", "-", request["newTitle"].lower()).strip("-"))
        reference = f"{request['slug'].split('/')[0]}/{slug}"
        running = [one for versions in self.kernels.values() for one in versions if one.status in ("QUEUED", "RUNNING")]
        if gpu and self._used_seconds() >= self.quota_seconds:
            return {"error": "Maximum weekly GPU quota of 30.00 hours reached."}
        limit = self.max_gpu if gpu else self.max_cpu
        if sum(one.job.gpu == gpu for one in running) >= limit:
            return {"error": f"Maximum batch {'GPU' if gpu else 'CPU'} session count of {limit} reached."}
        found, unknown = self._sources(request)
        versions = self.kernels[reference]
        folder = self.root / "kernels" / reference / f"v{len(versions) + 1}"
        (folder / "working").mkdir(parents=True)
        job = Job(
            reference, len(versions) + 1, request["text"], gpu, request.get("enableInternet", True),
            request.get("sessionTimeoutSeconds"), working=folder / "working", log=folder / "log.txt", **found,
        )  # fmt: skip
        version = Version(job.version, request, job, lacks=sorted(itertools.chain(*unknown.values())))
        versions.append(version)
        thread = threading.Thread(target=self._run, args=(version,), daemon=True)
        self._threads.append(thread)
        thread.start()
        url = f"http://localhost/code/{reference}"
        return {"ref": f"/code/{reference}", "url": url, "versionNumber": version.number, **unknown}

    def _run(self, version: Version) -> None:
        started = time.monotonic()
        version.status = "RUNNING"
        try:
            status = self._run_kernel(version.job)
        except Exception as error:
            status, version.failure = "ERROR", f"{type(error).__name__}: {error}"
        version.seconds = time.monotonic() - started
        version.status = status

    def _version(self, request: dict[str, Any]) -> Version:
        versions = self.kernels.get(f"{request['userName']}/{request['kernelSlug']}", [])
        label = request.get("versionLabel", "")
        number = int(label.removeprefix("v")) if label else len(versions)
        if not 0 < number <= len(versions):
            raise Refusal(404, "Not found")
        return versions[number - 1]

    def _get_kernel(self, request: dict[str, Any]) -> dict[str, Any]:
        version = self._version(request)
        sources = ("datasetDataSources", "kernelDataSources", "competitionDataSources", "modelDataSources")
        found, _ = self._sources(version.request)
        known = dict(zip(sources, map(list, found.values()), strict=True))
        metadata = {"ref": version.job.slug, "currentVersionNumber": version.number, "lastRunTime": version.pushed_at}
        metadata |= known
        return {"metadata": metadata, "blob": {"source": version.request["text"], "slug": version.job.slug}}

    def _get_kernel_session_status(self, request: dict[str, Any]) -> dict[str, Any]:
        version = self._version(request)
        return {"status": version.status} | ({"failureMessage": version.failure} if version.failure else {})

    def _list_kernel_session_output(self, request: dict[str, Any]) -> dict[str, Any]:
        version = self._version(request)
        files = sorted(path for path in version.job.working.rglob("*") if path.is_file())
        if version.listings < self.late_listings:
            version.listings += 1
            files = []
        first, size = int(request.get("pageToken") or 0), int(request.get("pageSize") or 20)
        base = f"http://localhost/output/{version.job.slug}/v{version.number}"
        names = [path.relative_to(version.job.working).as_posix() for path in files[first : first + size]]
        log = version.job.log.read_text(encoding="utf-8") if version.job.log.is_file() else ""
        answer = {
            "files": [{"fileName": name, "url": f"{base}/{quote(name)}"} for name in names],
            "log": json.dumps([{"stream_name": "stdout", "time": 0.0, "data": line} for line in log.splitlines(True)]),
        }
        return answer | ({"nextPageToken": str(first + size)} if first + size < len(files) else {})

    def output_file(self, path: str) -> Path:
        """The file behind an output's address."""
        owner, slug, version, name = path.split("/", 3)
        return self.kernels[f"{owner}/{slug}"][int(version[1:]) - 1].job.working / name

    def _delete_kernel(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._version(request).job
        job.cancel.set()
        self.deleted[job.slug] = self.kernels.pop(job.slug)
        return {}

    def _get_accelerator_quota_statistics(self, request: dict[str, Any]) -> dict[str, Any]:
        quota = {"timeUsed": f"{self._used_seconds():.3f}s", "totalTimeAllowed": f"{self.quota_seconds:.0f}s"}
        return {"gpuQuota": quota, "quotaRefreshTime": self.renewed_at}

    def _used_seconds(self) -> float:
        return sum(one.seconds for versions in self.kernels.values() for one in versions if one.job.gpu)

    # competitions

    def _start_submission_upload(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._start_blob_upload({"name": request["fileName"], "contentLength": request.get("contentLength", 0)})

    def _submit(self, competition: str, content: bytes, description: str) -> dict[str, Any]:
        if competition not in self.competitions:
            raise Refusal(404, "Not found")
        number = len(self.submissions) + 1
        path = self.root / "submissions" / f"{number}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.submissions.insert(0, {"ref": number, "competition": competition, "path": path, "polls": self.score_polls,
                                    "description": description, "date": now()})  # fmt: skip
        return {"message": "Successfully submitted", "ref": number}

    def _create_submission(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._submit(request["competitionName"], self._blobs[request["blobFileTokens"]]["content"],
                            request.get("submissionDescription", ""))  # fmt: skip

    def _create_code_submission(self, request: dict[str, Any]) -> dict[str, Any]:
        version = self.kernels[f"{request['kernelOwner']}/{request['kernelSlug']}"][int(request["kernelVersion"]) - 1]
        return self._submit(request["competitionName"], (version.job.working / request["fileName"]).read_bytes(),
                            request.get("submissionDescription", ""))  # fmt: skip

    def _list_submissions(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["competitionName"] not in self.competitions:
            raise Refusal(404, "Not found")
        answers = []
        for one in [one for one in self.submissions if one["competition"] == request["competitionName"]]:
            answer = {name: one[name] for name in ("ref", "description", "date")} | {"status": "PENDING"}
            if one["polls"] > 0:
                one["polls"] -= 1
            else:
                public, private = self.competitions[one["competition"]][1](one["path"])
                answer |= {"status": "COMPLETE", "publicScore": str(public), "privateScore": str(private)}
            answers.append(answer)
        first, size = int(request.get("pageToken") or 0), int(request.get("pageSize") or 20)
        answer = {"submissions": answers[first : first + size]}
        return answer | ({"nextPageToken": str(first + size)} if first + size < len(answers) else {})


class _Handler(BaseHTTPRequestHandler):
    """One connection; `server.box` answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes, and would wait 40 ms for each other

    @property
    def box(self) -> KaggleBox:
        return self.server.box  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.box.date() if timestamp is None else timestamp, usegmt=True)

    def handle_one_request(self) -> None:
        # The same on the other side: a client behind a proxy holds a body back until the headers are acknowledged.
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
        if len(content) < length:  # the client has gone away
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
        headers = {"Connection": "close", **fault.headers}  # said, or the next call may be lost on its way
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


def now() -> str:
    """The time as the platform writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


def fast_patience() -> Patience:
    """Of a client that waits hundredths of a second."""
    return Patience(tries=6, answer_seconds=60, sleep=lambda seconds: time.sleep(min(seconds, 0.01)))
