"""Submissions and their scores in Kaggle in a box."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from box_state import Refusal, Version, now


class Submissions:
    """The part of `KaggleBox` that scores submissions.

    Attributes:
        score_polls: how many lists show a submission as pending.
    """

    score_polls = 1
    root: Path
    kernels: dict[str, list[Version]]
    _blobs: dict[str, dict[str, Any]]

    def open_submissions(self) -> None:
        """Begin without competitions."""
        self.competitions: dict[str, tuple[Path, Callable[[Path], tuple[float, float]]]] = {}
        self.submissions: list[dict[str, Any]] = []

    def add_competition(self, slug: str, folder: Path, score: Callable[[Path], tuple[float, float]]) -> None:
        """Add a competition with its data and the function that scores a submission: public and private."""
        self.competitions[slug] = (folder, score)

    def _start_submission_upload(self, request: dict[str, Any]) -> dict[str, Any]:
        blob = {"name": request["fileName"], "contentLength": request.get("contentLength", 0)}
        answer: dict[str, Any] = self._start_blob_upload(blob)  # type: ignore[attr-defined]
        return answer

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
        for submission in self.submissions:
            if submission["competition"] != request["competitionName"]:
                continue
            answer = {name: submission[name] for name in ("ref", "description", "date")} | {"status": "PENDING"}
            if submission["polls"] > 0:
                submission["polls"] -= 1
            else:
                public, private = self.competitions[submission["competition"]][1](submission["path"])
                answer |= {"status": "COMPLETE", "publicScore": str(public), "privateScore": str(private)}
            answers.append(answer)
        first, size = int(request.get("pageToken") or 0), int(request.get("pageSize") or 20)
        answer = {"submissions": answers[first : first + size]}
        return answer | ({"nextPageToken": str(first + size)} if first + size < len(answers) else {})
