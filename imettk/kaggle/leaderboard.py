"""Submissions of a file, or of a kernel's version in a code competition, and their scores."""

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

LOOKS = 6  # looks at the list for a submission whose answer was lost, before it is left to the user
LISTED_LOOKS = 4  # looks after which a number that is not listed counts as wrong
NEW_LOOKS = 40  # the same for a submission made a moment ago: the list may be late
CLOCK_SECONDS = 120.0  # by how much two clocks of the platform may differ
_PAGE = 100


@dataclass(frozen=True)
class Score:
    """A submission as the platform lists it.

    Attributes:
        status: PENDING, COMPLETE or ERROR.
        ref: the submission's number.
        public, private: the scores; None if there is none (yet).
        error: what is wrong with it, according to the platform.
        made_at: seconds since the epoch; None if the platform does not say.
    """

    ref: int
    status: str
    public: float | None
    private: float | None
    error: str = ""
    description: str = ""
    made_at: float | None = None


def submit_file(kaggle: Kaggle, competition: str, path: Path, message: str) -> int:
    """Submit a file, and return the submission's number.

    Only a few submissions a day are allowed: after a lost answer imettk looks the submission up in the list, and never
    makes it twice.

    Raises:
        PlatformError: it was refused, or it is not clear whether it was accepted.
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
    """Submit a kernel's version to a code competition, and return its number; errors as in `submit_file`."""
    from kagglesdk.competitions.types.competition_api_service import ApiCreateCodeSubmissionRequest

    request = ApiCreateCodeSubmissionRequest()
    request.competition_name = competition
    request.kernel_owner, request.kernel_slug = owner_of(reference)
    request.kernel_version, request.file_name = version, file_name
    return _submit(kaggle, "create_code_submission", request, competition, message)


def wait_score(kaggle: Kaggle, competition: str, ref: int, *, limit_seconds: float, new: bool = False) -> Score:
    """Wait for the score of a submission and return it.

    Args:
        new: whether it was made a moment ago, so that the platform may take some time to list it.

    Raises:
        PlatformError: the platform does not list it, or has not scored it within the limit.
    """
    hint = (
        f"the submission stands whatever happens here: `imettk kaggle submit --score {ref} {competition}` waits for it"
    )
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
    """Return this user's submissions to a competition, newest first."""
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
        except (AttributeError, TypeError, ValueError) as error:  # the official client does not check types
            raise Unclear(f"{what}: Kaggle's answer cannot be read ({type(error).__name__})") from None
        if not answer.next_page_token or answer.next_page_token == request.page_token:
            return scores
        request.page_token = answer.next_page_token


def describe_score(score: Score) -> str:
    """Describe a submission in one line."""
    made = "" if score.made_at is None else f"{datetime.fromtimestamp(score.made_at, UTC):%d %b %H:%M} UTC  "
    values = f"public {shown(score.public)}, private {shown(score.private)}"
    words = f"  {score.description!r}" if score.description else ""
    return f"{score.ref}  {made}{score.status}  {values}{words}{f'  {score.error}' if score.error else ''}"


def shown(score: float | None) -> str:
    """Format a score with five decimals, or as a dash if there is none."""
    return "-" if score is None else f"{score:.5f}"


def _score(submission: Any) -> Score:
    """Convert the platform's description of a submission."""
    made = submission.date  # UTC, although it names no zone
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
    """Parse a score; return None for anything else."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


@contextmanager
def _rules(competition: str) -> Iterator[None]:
    """Add to a refusal its commonest reason, which the platform does not mention."""
    try:
        yield
    except NotThere as error:
        raise NotThere(
            f"{error}: is {competition} the right slug? You may have to accept the rules first, at "
            f"kaggle.com/c/{competition}/rules"
        ) from None


@dataclass(frozen=True)
class _Attempt:
    """A submission that must not be made twice, and how to find it in the list.

    Attributes:
        description: the user's message and the mark.
        mark: a random word in the description, since the same message may be used elsewhere at the same moment.
        before: the numbers that were listed before; None if the list could not be read.
        since: the platform's time before it was made; None if not known.
    """

    description: str
    mark: str
    before: frozenset[int] | None
    since: float | None

    def find(self, scores: list[Score]) -> int | None:
        """Return its number in the list, or None.

        If the platform leaves descriptions out, it is the submission that is new since, provided there is only one.
        """
        marked = [score.ref for score in scores if self.mark in score.description]
        new = marked or [score.ref for score in scores if not score.description and self._is_new(score)]
        return new[0] if len(new) == 1 else None

    def _is_new(self, score: Score) -> bool:
        """Return whether a listed submission was made after this attempt began."""
        if score.made_at is not None and self.since is not None:
            if score.made_at < self.since - CLOCK_SECONDS:
                return False
            if self.before is None:
                return True
        return self.before is not None and score.ref not in self.before


def _submit(kaggle: Kaggle, method: str, request: Any, competition: str, message: str) -> int:
    """Make a submission once, find it in the list if its answer was lost, and return its number."""
    what = f"submission to {competition}"
    before = None
    try:
        before = frozenset(score.ref for score in list_scores(kaggle, competition))
    except Unclear as error:
        if isinstance(error, UserError):
            raise
        say(f"{error}; submitting anyway")
    mark = f"#{secrets.token_hex(4)}"
    attempt = _Attempt(f"{message} {mark}", mark, before, kaggle.now())
    request.submission_description = attempt.description
    left = f"it may have been accepted, and is not made again: check with `imettk kaggle submit --list {competition}`"
    with goodbye(f"{what} ({attempt.description!r}): {left}"):
        try:
            with _rules(competition):
                answer = kaggle.ask("competitions", method, request, what=what, repeat=False)
            if answer.ref and isinstance(answer.ref, int):
                return answer.ref
            fault = f"{what}: Kaggle answers {answer.message!r} without a number"
        except Unclear as error:
            if isinstance(error, UserError):  # the sign-in was refused: nothing was submitted
                raise
            fault = str(error)
        say(f"{fault}; checking whether it was accepted")
        for look in range(1, LOOKS + 1):
            kaggle.patience.wait(look)
            if (number := _find(kaggle, competition, attempt)) is not None:
                return number
    raise PlatformError(f"{fault}; {attempt.description!r} is not listed, but {left}")


def _find(kaggle: Kaggle, competition: str, attempt: _Attempt) -> int | None:
    """Return the number of a submission whose answer was lost, if the platform lists it (already)."""
    try:
        return attempt.find(list_scores(kaggle, competition))
    except PlatformError as error:
        say(f"{error}; looking again")
        return None
