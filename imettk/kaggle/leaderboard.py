"""Submissions: a file, or a kernel's version in a code competition, and the scores that come of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imettk.errors import PlatformError
from imettk.kaggle.client import Kaggle, Unclear, owner_of
from imettk.kaggle.datasets import send_blob
from imettk.progress import say

POLL_SECONDS = 15.0


@dataclass(frozen=True)
class Score:
    """What became of a submission.

    Attributes:
        status: PENDING, COMPLETE or ERROR.
        public, private: scores; None where there is none (yet).
        error: what the platform says is wrong with it.
    """

    ref: int
    status: str
    public: float | None
    private: float | None
    error: str = ""


def submit_file(kaggle: Kaggle, competition: str, path: Path, message: str) -> int:
    """Submit a file; the submission's number.

    A submission is one of a few a day: where its answer is lost, the list of submissions is looked at before it is
    made again.

    Raises:
        PlatformError: it was not taken.
    """
    from kagglesdk.competitions.types.competition_api_service import (
        ApiCreateSubmissionRequest,
        ApiStartSubmissionUploadRequest,
    )

    start = ApiStartSubmissionUploadRequest()
    start.competition_name, start.file_name = competition, path.name
    start.content_length, start.last_modified_epoch_seconds = path.stat().st_size, int(path.stat().st_mtime)
    what = f"upload of {path.name}"
    started = kaggle.ask("competitions", "start_submission_upload", start, what=what)
    send_blob(kaggle, path, started.create_url, what=what)
    request = ApiCreateSubmissionRequest()
    request.competition_name, request.blob_file_tokens = competition, started.token
    request.submission_description = message
    return _submit(kaggle, "create_submission", request, competition)


def submit_kernel(kaggle: Kaggle, competition: str, reference: str, version: int, file_name: str, message: str) -> int:
    """Submit a kernel's version to a code competition; the submission's number. Errors as in `submit_file`."""
    from kagglesdk.competitions.types.competition_api_service import ApiCreateCodeSubmissionRequest

    request = ApiCreateCodeSubmissionRequest()
    request.competition_name = competition
    request.kernel_owner, request.kernel_slug = owner_of(reference)
    request.kernel_version, request.file_name = version, file_name
    request.submission_description = message
    return _submit(kaggle, "create_code_submission", request, competition)


def wait_score(kaggle: Kaggle, competition: str, ref: int, *, limit_seconds: float) -> Score:
    """The score of a submission, once there is one.

    Raises:
        PlatformError: the platform does not list it, or has not scored it within the limit.
    """
    end = time.monotonic() + limit_seconds
    while True:
        score = next((one for one in list_scores(kaggle, competition) if one.ref == ref), None)
        if score is not None and score.status != "PENDING":
            return score
        if time.monotonic() > end:
            what = "is not listed" if score is None else "has no score yet"
            raise PlatformError(f"submission {ref} to {competition} {what}: `imettk kaggle submit --score {ref}` later")
        kaggle.patience.sleep(POLL_SECONDS)


def list_scores(kaggle: Kaggle, competition: str) -> list[Score]:
    """This user's submissions, the newest first."""
    from kagglesdk.competitions.types.competition_api_service import ApiListSubmissionsRequest

    request = ApiListSubmissionsRequest()
    request.competition_name = competition
    answer = kaggle.ask("competitions", "list_submissions", request, what=f"submissions to {competition}")
    return [
        Score(
            int(one.ref),
            one.status.name,
            _number(one.public_score),
            _number(one.private_score),
            one.error_description or "",
        )
        for one in answer.submissions or []
    ]


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _submit(kaggle: Kaggle, method: str, request: Any, competition: str) -> int:
    what = f"submission to {competition}"
    before = {one.ref for one in list_scores(kaggle, competition)}
    for failures in range(1, kaggle.patience.tries + 1):
        try:
            answer = kaggle.ask("competitions", method, request, what=what, repeat=False)
        except Unclear as error:
            kaggle.patience.wait(failures)
            new = [one.ref for one in list_scores(kaggle, competition) if one.ref not in before]
            if new:
                return new[0]
            if failures == kaggle.patience.tries:
                raise
            say(f"{error}; submitting again")
            continue
        if not answer.ref:
            raise PlatformError(f"{what}: Kaggle says {answer.message!r}")
        return int(answer.ref)
    raise AssertionError("unreachable")
