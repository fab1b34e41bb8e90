"""Submissions: a file, or a kernel's version in a code competition, and the scores that come of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imettk.errors import PlatformError, UserError
from imettk.kaggle.blobs import send_blob
from imettk.kaggle.client import Kaggle, NotThere, Unclear, owner_of
from imettk.kaggle.waiting import goodbye, wait_until
from imettk.progress import say

LOOKS = 6  # at the list, before a submission whose answer was lost is left to the user
LISTED_LOOKS = 4  # until a number that is not listed is taken for a wrong one
NEW_LOOKS = 40  # the same of a submission that was made a moment ago: the list may be late
CLOCK_SECONDS = 120.0  # by which two clocks of the platform may differ
_PAGE = 100


@dataclass(frozen=True)
class Score:
    """A submission as the platform lists it.

    Attributes:
        status: PENDING, COMPLETE or ERROR.
        public, private: scores; None where there is none (yet).
        error: what the platform says is wrong with it.
        made_at: seconds since the epoch; None where the platform does not say.
    """

    ref: int
    status: str
    public: float | None
    private: float | None
    error: str = ""
    description: str = ""
    made_at: float | None = None


def submit_file(kaggle: Kaggle, competition: str, path: Path, message: str) -> int:
    """Submit a file; the submission's number.

    A submission is one of a few a day: where its answer is lost, the list of submissions says what became of it, and it
    is never made twice.

    Raises:
        PlatformError: it was not taken, or nobody can say whether it was.
    """
    from kagglesdk.competitions.types.competition_api_service import (
        ApiCreateSubmissionRequest,
        ApiStartSubmissionUploadRequest,
    )

    start = ApiStartSubmissionUploadRequest()
    start.competition_name, start.file_name = competition, path.name
    start.content_length, start.last_modified_epoch_seconds = path.stat().st_size, int(path.stat().st_mtime)
    what = f"upload of {path.name}"
    with _rules(competition):
        started = kaggle.ask("competitions", "start_submission_upload", start, what=what, there=True)
    send_blob(kaggle, path, started.create_url, what=what)
    request = ApiCreateSubmissionRequest()
    request.competition_name, request.blob_file_tokens = competition, started.token
    return _submit(kaggle, "create_submission", request, competition, message)


def submit_kernel(kaggle: Kaggle, competition: str, reference: str, version: int, file_name: str, message: str) -> int:
    """Submit a kernel's version to a code competition; the submission's number. Errors as in `submit_file`."""
    from kagglesdk.competitions.types.competition_api_service import ApiCreateCodeSubmissionRequest

    request = ApiCreateCodeSubmissionRequest()
    request.competition_name = competition
    request.kernel_owner, request.kernel_slug = owner_of(reference)
    request.kernel_version, request.file_name = version, file_name
    return _submit(kaggle, "create_code_submission", request, competition, message)


def wait_score(kaggle: Kaggle, competition: str, ref: int, *, limit_seconds: float, new: bool = False) -> Score:
    """The score of a submission, once there is one.

    Args:
        new: it was made a moment ago, so the platform may need some time to list it.

    Raises:
        PlatformError: the platform does not list it, or has not scored it within the limit.
    """
    hint = f"a submission stands whatever happens here: `imettk kaggle submit --score {ref} {competition}` waits for it"
    looks = 0

    def look() -> tuple[tuple[Score | None, list[Score]] | None, str]:
        nonlocal looks
        scores = list_scores(kaggle, competition)
        score = next((score for score in scores if score.ref == ref), None)
        looks += score is None
        if score is None:
            is_wrong = looks >= (NEW_LOOKS if new else LISTED_LOOKS)
            return ((None, scores) if is_wrong else None), "not listed"
        return ((score, scores) if score.status != "PENDING" else None), score.status

    what = f"submission {ref} to {competition}"
    found = wait_until(kaggle, what, look, limit_seconds=limit_seconds, hint=hint)
    if found is None and not looks:
        raise PlatformError(f"{what} has no score yet; {hint}")
    score, scores = found or (None, list_scores(kaggle, competition))
    if score is None and new:
        raise PlatformError(f"{what} is not listed yet; {hint}")
    if score is None:
        there = ", ".join(str(score.ref) for score in scores[:10]) or "none"
        raise PlatformError(f"{what} is not listed (listed: {there}); `imettk kaggle submit --list {competition}`")
    return score


def list_scores(kaggle: Kaggle, competition: str) -> list[Score]:
    """This user's submissions, the newest first."""
    from kagglesdk.competitions.types.competition_api_service import ApiListSubmissionsRequest

    request = ApiListSubmissionsRequest()
    request.competition_name, request.page_size = competition, _PAGE
    scores: list[Score] = []
    what = f"submissions to {competition}"
    while True:
        with _rules(competition):
            answer = kaggle.ask("competitions", "list_submissions", request, what=what, there=True)
        try:
            scores += [_score(submission) for submission in answer.submissions or []]
        except (AttributeError, TypeError, ValueError) as error:  # the official client does not look at types
            raise Unclear(f"{what}: Kaggle's answer cannot be read ({type(error).__name__})") from None
        if not answer.next_page_token or answer.next_page_token == request.page_token:
            return scores
        request.page_token = answer.next_page_token


def describe_score(score: Score) -> str:
    """A submission in one line."""
    made = "" if score.made_at is None else f"{datetime.fromtimestamp(score.made_at, UTC):%d %b %H:%M} UTC  "
    values = f"public {shown(score.public)}, private {shown(score.private)}"
    words = f"  {score.description!r}" if score.description else ""
    return f"{score.ref}  {made}{score.status}  {values}{words}{f'  {score.error}' if score.error else ''}"


def shown(score: float | None) -> str:
    """A score with five digits, or a dash."""
    return "-" if score is None else f"{score:.5f}"


def _score(submission: Any) -> Score:
    made = submission.date  # UTC, without saying so
    return Score(
        int(submission.ref),
        submission.status.name,
        _number(submission.public_score),
        _number(submission.private_score),
        submission.error_description or "",
        submission.description or "",
        None if made is None else made.replace(tzinfo=UTC).timestamp(),
    )


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


@contextmanager
def _rules(competition: str) -> Iterator[None]:
    """Add to a refusal the commonest reason, which the platform does not name."""
    try:
        yield
    except NotThere as error:
        raise NotThere(
            f"{error}: is {competition} its slug? Its rules may have to be accepted at kaggle.com/c/{competition}/rules"
        ) from None


@dataclass(frozen=True)
class _Attempt:
    """A submission that is made once, and how it is known again.

    Attributes:
        description: the user's message and the mark.
        mark: in the description; somebody may submit with the same message at the same moment.
        before: numbers that were listed before; None where the list could not be had.
        since: the platform's time before it; None where it is not known.
    """

    description: str
    mark: str
    before: frozenset[int] | None
    since: float | None

    def find(self, scores: list[Score]) -> int | None:
        """Its number in the list, or None.

        Where the platform leaves descriptions out it is the one that is new since, if there is just one.
        """
        marked = [score.ref for score in scores if self.mark in score.description]
        new = marked or [score.ref for score in scores if not score.description and self._is_new(score)]
        return new[0] if len(new) == 1 else None

    def _is_new(self, score: Score) -> bool:
        if score.made_at is not None and self.since is not None:
            if score.made_at < self.since - CLOCK_SECONDS:
                return False
            if self.before is None:
                return True
        return self.before is not None and score.ref not in self.before


def _submit(kaggle: Kaggle, method: str, request: Any, competition: str, message: str) -> int:
    what = f"submission to {competition}"
    before = None
    try:
        before = frozenset(score.ref for score in list_scores(kaggle, competition))
    except Unclear as error:
        if isinstance(error, UserError):
            raise
        say(f"{error}; submitting all the same")
    mark = f"#{secrets.token_hex(4)}"
    attempt = _Attempt(f"{message} {mark}", mark, before, kaggle.now())
    request.submission_description = attempt.description
    left = f"it may have been accepted, and is not made again: `imettk kaggle submit --list {competition}` looks"
    with goodbye(f"{what} ({attempt.description!r}): {left}"):
        try:
            with _rules(competition):
                answer = kaggle.ask("competitions", method, request, what=what, repeat=False)
            if answer.ref and isinstance(answer.ref, int):
                return answer.ref
            fault = f"{what}: Kaggle says {answer.message!r} and names no number"
        except Unclear as error:
            if isinstance(error, UserError):  # turned away at the door
                raise
            fault = str(error)
        say(f"{fault}; looking whether it was accepted")
        for look in range(1, LOOKS + 1):
            kaggle.patience.wait(look)
            if (number := _find(kaggle, competition, attempt)) is not None:
                return number
    raise PlatformError(f"{fault}; {attempt.description!r} is not listed, but {left}")


def _find(kaggle: Kaggle, competition: str, attempt: _Attempt) -> int | None:
    """The number of a submission whose answer was lost, if the platform lists it (already)."""
    try:
        return attempt.find(list_scores(kaggle, competition))
    except PlatformError as error:
        say(f"{error}; looking again")
        return None
