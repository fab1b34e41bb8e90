"""Kernels and their sessions in Kaggle in a box: each push really runs, in a thread of its own."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from box_state import ENDED, Dataset, Job, Refusal, Version


class Kernels:
    """The part of `KaggleBox` that runs kernels.

    Attributes:
        max_gpu, max_cpu: how many sessions may run at once.
        quota_seconds, renewed_at: GPU time of the week, and the end of the week.
        failed_outputs: what happens to outputs of sessions that did not end well when they are attached: "refused",
            "omitted", "older" or "attached".
        late_listings: how many calls list no files after the end of a session.
        spell: gives the slug that a title becomes.
        deleted: the versions of deleted kernels.
    """

    max_gpu, max_cpu = 2, 5
    quota_seconds, renewed_at = 108_000.0, "2027-01-02T00:00:00Z"
    failed_outputs = "refused"
    late_listings = 0
    root: Path
    datasets: dict[str, Dataset]
    competitions: dict[str, tuple[Path, Callable[[Path], tuple[float, float]]]]

    def open_kernels(self, run_kernel: Callable[[Job], str]) -> None:
        """Begin without kernels."""
        self.spell: Callable[[str], str] = lambda slug: slug
        self.models: dict[str, Path] = {}  # by owner/model/framework/variation/version
        self.kernels: dict[str, list[Version]] = defaultdict(list)
        self.deleted: dict[str, list[Version]] = {}
        self._run_kernel, self._threads = run_kernel, list[threading.Thread]()

    def wait(self, seconds: float = 600.0) -> None:
        """Wait until no session runs, at most so long for each."""
        for thread in list(self._threads):
            thread.join(seconds)

    def wait_for_an_end(self) -> None:
        """Wait until one of the running sessions has ended, if there are any."""
        running = [thread for thread in self._threads if thread.is_alive()]
        while running and all(thread.is_alive() for thread in running):
            running[0].join(0.05)

    def _sources(self, request: dict[str, Any]) -> tuple[dict[str, dict[str, Path]], dict[str, list[str]]]:
        """Return the folders of attached sources, and the sources that do not exist."""
        folders: dict[str, dict[str, Path]] = {"datasets": {}, "notebooks": {}, "competitions": {}, "models": {}}
        unknown: dict[str, list[str]] = defaultdict(list)
        for source in request.get("datasetDataSources", []):
            name, number = "/".join(source.split("/")[:2]), source.split("/")[2:]
            dataset = self.datasets.get(name)
            wanted = int(number[0]) if number else dataset.ready if dataset else 0
            if dataset is None or not 0 < wanted <= dataset.ready:
                unknown["invalidDatasetSources"].append(source)
            else:
                folders["datasets"][name] = dataset.versions[wanted - 1]
        for source in request.get("kernelDataSources", []):
            output = self._attached(source)
            if output is None:
                unknown["invalidKernelSources"].append(source)
            else:
                folders["notebooks"][source] = output
        for source in request.get("competitionDataSources", []):
            if source in self.competitions:
                folders["competitions"][source] = self.competitions[source][0]
            else:
                unknown["invalidCompetitionSources"].append(source)
        for source in request.get("modelDataSources", []):
            if source in self.models:
                folders["models"][source] = self.models[source]
            else:
                unknown["invalidModelSources"].append(source)
        return folders, unknown

    def _attached(self, source: str) -> Path | None:
        """Return the folder that a kernel gets as the output of another, or None if it is refused."""
        ended = [version for version in self.kernels.get(source, []) if version.status in ENDED]
        done = [version for version in ended if version.status == "COMPLETE"]
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
        if request.get("kernelType") == "notebook":  # the server takes no list of lines, which the format allows
            assert all(isinstance(cell["source"], str) for cell in json.loads(request["text"])["cells"])
        # As the platform does, silently: the kernel cannot be found under the slug that was asked for.
        slug = self.spell(re.sub("[^a-z0-9]+", "-", request["newTitle"].lower()).strip("-"))
        reference = f"{request['slug'].split('/')[0]}/{slug}"
        open_jobs = [
            version.job
            for versions in self.kernels.values()
            for version in versions
            if version.status in ("QUEUED", "RUNNING")
        ]
        if gpu and self._used_seconds() >= self.quota_seconds:
            return {"error": "Maximum weekly GPU quota of 30.00 hours reached."}
        limit = self.max_gpu if gpu else self.max_cpu
        if sum(job.gpu == gpu for job in open_jobs) >= limit:
            return {"error": f"Maximum batch {'GPU' if gpu else 'CPU'} session count of {limit} reached."}
        folders, unknown = self._sources(request)
        versions = self.kernels[reference]
        folder = self.root / "kernels" / reference / f"v{len(versions) + 1}"
        (folder / "working").mkdir(parents=True)
        job = Job(
            reference, len(versions) + 1, request["text"], gpu, request.get("enableInternet", True),
            request.get("sessionTimeoutSeconds"), working=folder / "working", log=folder / "log.txt", **folders,
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
        folders, _ = self._sources(version.request)
        known = dict(zip(sources, map(list, folders.values()), strict=True))
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
        """Return the file behind an output's address."""
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
        return sum(version.seconds for versions in self.kernels.values() for version in versions if version.job.gpu)
