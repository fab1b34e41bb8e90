"""Sessions: push a kernel, ask how its session is, end it, and what is left of the quota."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from imettk.errors import PlatformError
from imettk.kaggle.client import Kaggle, NotThere, Refused, Unclear, owner_of
from imettk.kaggle.kernel import GPU, Kernel
from imettk.progress import say

ENDED = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")


_FULL = ("session count", "quota")  # "Maximum batch GPU session count of 2 reached.", "Maximum weekly GPU quota ..."


class NoRoom(PlatformError):
    """The account's limit of sessions at once or of hours a week is reached: push again later."""


@dataclass(frozen=True)
class Session:
    """How a session is.

    Attributes:
        status: QUEUED, RUNNING, CANCEL_REQUESTED, or one of `ENDED`.
        failure: what the platform says about it.
    """

    status: str
    failure: str

    @property
    def ended(self) -> bool:
        return self.status in ENDED


def push_kernel(kaggle: Kaggle, kernel: Kernel) -> int:
    """Push a kernel, which starts its session; the version's number.

    A push whose answer is lost may have started a session: the kernel that is there is looked at, and recognised by the
    `push` in its text, before it is pushed again.

    Raises:
        NoRoom: nothing was started.
        PlatformError: it was not taken, or runs without one of its sources: then it has been ended if nothing is lost
            with it.
    """
    what = f"push of {kernel.reference}"
    for failures in range(1, kaggle.patience.tries + 1):
        try:
            answer = kaggle.ask("kernels", "save_kernel", _request(kernel), what=what, repeat=False)
        except Refused as error:
            raise NoRoom(str(error)) if _is_full(str(error)) else error from None
        except Unclear as error:
            kaggle.patience.wait(failures)
            if version := recover_push(kaggle, kernel):
                say(f"{error}; it had arrived as version {version}")
                return version
            if failures == kaggle.patience.tries:
                raise
            say(f"{error}; pushing again")
            continue
        return _check(kaggle, kernel, answer)
    raise AssertionError("unreachable")


def is_there(kaggle: Kaggle, reference: str) -> bool:
    """Whether the platform has a kernel of this name."""
    return _look_up(kaggle, reference) is not None


def find_push(kaggle: Kaggle, kernel: Kernel) -> int:
    """The version of this very push, or 0 where the platform does not have it."""
    found = _look_up(kaggle, kernel.reference)
    there = found is not None and kernel.push and f"PUSH = {json.dumps(kernel.push)}" in (found.blob.source or "")
    return int(found.metadata.current_version_number or 0) if there else 0


def recover_push(kaggle: Kaggle, kernel: Kernel) -> int:
    """The version of a push whose answer was never read, checked as that would have been; 0 where it is not there.

    Raises:
        PlatformError: it runs without one of its sources; as in `push_kernel`.
    """
    version = find_push(kaggle, kernel)
    if version:
        _check_sources(kaggle, kernel, version)
    return version


def ask_session(kaggle: Kaggle, reference: str, version: int) -> Session:
    """How the session of this version is."""
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelSessionStatusRequest

    request = ApiGetKernelSessionStatusRequest()
    request.user_name, request.kernel_slug = owner_of(reference)
    request.version_label = f"v{version}"
    answer = kaggle.ask("kernels", "get_kernel_session_status", request, what=f"status of {reference}")
    return Session(answer.status.name, answer.failure_message or "")


def end_session(kaggle: Kaggle, reference: str) -> None:
    """End the session of a kernel by deleting the kernel, with whatever the session has made.

    The client's call that cancels wants the number of the session, and no other call tells it.

    Raises:
        PlatformError: the platform does not do it.
    """
    from kagglesdk.kernels.types.kernels_api_service import ApiDeleteKernelRequest

    request = ApiDeleteKernelRequest()
    request.user_name, request.kernel_slug = owner_of(reference)
    try:
        answer = kaggle.ask("kernels", "delete_kernel", request, what=f"deletion of {reference}")
    except NotThere:  # an earlier try, whose answer was lost
        return
    if answer.error_message:
        raise PlatformError(f"deletion of {reference}: Kaggle says {answer.error_message!r}")


def gpu_hours(kaggle: Kaggle) -> tuple[float, float] | None:
    """GPU hours used this week and allowed, or None where the platform does not say."""
    from kagglesdk.kernels.types.kernels_api_service import ApiGetAcceleratorQuotaStatisticsRequest

    request = ApiGetAcceleratorQuotaStatisticsRequest()
    try:
        quota = kaggle.ask("kernels", "get_accelerator_quota_statistics", request, what="GPU quota").gpu_quota
    except (NotThere, Refused):
        return None
    if quota is None or quota.total_time_allowed is None:
        return None
    used = [part.total_seconds() for part in (quota.time_used, quota.time_reserved) if part is not None]
    return sum(used) / 3600, quota.total_time_allowed.total_seconds() / 3600


def _request(kernel: Kernel) -> Any:
    from kagglesdk.kernels.types.kernels_api_service import ApiSaveKernelRequest

    request = ApiSaveKernelRequest()
    request.slug, request.new_title = kernel.reference, kernel.title
    request.text = kernel.text()
    request.language, request.kernel_type = "python", "script"
    request.dataset_data_sources = list(kernel.datasets)
    request.competition_data_sources = list(kernel.competitions)
    request.kernel_data_sources = list(kernel.kernels)
    request.model_data_sources = []
    request.is_private = True
    request.enable_gpu, request.enable_tpu, request.enable_internet = kernel.gpu, False, kernel.internet
    if kernel.gpu:
        request.machine_shape = GPU
    if kernel.limit_seconds is not None:
        request.session_timeout_seconds = kernel.limit_seconds
    return request


def _check(kaggle: Kaggle, kernel: Kernel, answer: Any) -> int:
    """The version's number, where the push is what it should be."""
    what = f"push of {kernel.reference}"
    if answer.error:
        kind = NoRoom if _is_full(answer.error) else PlatformError
        raise kind(f"{what}: Kaggle says {answer.error!r}")
    invalid = [
        *(answer.invalid_dataset_sources or []),
        *(answer.invalid_competition_sources or []),
        *(answer.invalid_kernel_sources or []),
        *(answer.invalid_model_sources or []),
    ]
    if invalid:  # the platform has started it all the same
        _stop_incomplete(kaggle, kernel, int(answer.version_number or 0), invalid)
    if not answer.version_number:
        raise PlatformError(f"{what}: Kaggle names no version; look at kaggle.com/code/{kernel.reference}")
    return int(answer.version_number)


def _check_sources(kaggle: Kaggle, kernel: Kernel, version: int) -> None:
    """As the lost answer would have been: does this version have all its sources?"""
    found = _look_up(kaggle, kernel.reference)
    if found is None:
        raise PlatformError(f"{kernel.reference} version {version} is gone")
    has = {
        *(found.metadata.dataset_data_sources or []),
        *(found.metadata.competition_data_sources or []),
        *(found.metadata.kernel_data_sources or []),
    }
    wanted = [*kernel.datasets, *kernel.competitions, *kernel.kernels]
    plain = {_plain(source) for source in has}
    missing = [source for source in wanted if _plain(source) not in plain]
    if missing:
        _stop_incomplete(kaggle, kernel, version, missing)


def _plain(source: str) -> str:
    """A source with or without a pinned version, in any case, as one name."""
    return "/".join(source.lower().split("/")[:2])


def _stop_incomplete(kaggle: Kaggle, kernel: Kernel, version: int, missing: list[str]) -> None:
    """End a session that lacks a source. Only the first version: with a kernel its earlier outputs would be deleted."""
    note = "has been deleted"
    if version != 1:
        note = f"still runs beside earlier versions: cancel it at kaggle.com/code/{kernel.reference}"
    else:
        try:
            end_session(kaggle, kernel.reference)
        except PlatformError as error:
            note = f"still runs ({error})"
    raise PlatformError(
        f"push of {kernel.reference}: Kaggle does not know {', '.join(missing)} (or it is not yours); "
        f"the kernel without it {note}"
    )


def _is_full(text: str) -> bool:
    return any(word in text.lower() for word in _FULL)


def _look_up(kaggle: Kaggle, reference: str) -> Any:
    """The kernel as the platform has it, or None."""
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelRequest

    request = ApiGetKernelRequest()
    request.user_name, request.kernel_slug = owner_of(reference)
    try:
        return kaggle.ask("kernels", "get_kernel", request, what=f"look-up of {reference}")
    except (NotThere, Refused):
        return None
