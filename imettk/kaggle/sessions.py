"""Sessions on the platform: push a kernel, ask for its session's state, end it, and read the week's GPU hours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import Any

from imettk.errors import PlatformError
from imettk.kaggle.client import Kaggle, NotThere, Refused, Unclear, owner_of
from imettk.kaggle.kernel import Kernel, push_in
from imettk.progress import say

COMPLETE = "COMPLETE"
ENDED = (COMPLETE, "ERROR", "CANCEL_ACKNOWLEDGED")

# The platform has no code for a full account, only texts: "Maximum batch GPU session count of 2 reached.", "Maximum
# weekly GPU quota of 30.00 hours reached."
_FULL = ("session count", "quota")


class NoRoom(PlatformError):
    """The account's limit of concurrent sessions or weekly hours is reached: push again later."""


class LacksSources(PlatformError):
    """The platform started a kernel without some of its sources; it has been deleted if nothing is lost with it.

    Attributes:
        sources: the missing sources, as they were asked for.
        running: the kernel, if it could not be ended; otherwise None.
    """

    def __init__(self, message: str, sources: list[str], running: Pushed | None) -> None:
        super().__init__(message)
        self.sources, self.running = sources, running


@dataclass(frozen=True)
class Pushed:
    """A kernel that has arrived on the platform.

    Attributes:
        reference: owner/slug as the platform spells it, by which it must be asked for.
        version: the kernel's version.
    """

    reference: str
    version: int


@dataclass(frozen=True)
class Session:
    """The state of a session.

    Attributes:
        status: QUEUED, RUNNING, CANCEL_REQUESTED, or one of `ENDED`.
        failure: the platform's message about a failure.
    """

    status: str
    failure: str

    @property
    def ended(self) -> bool:
        """True once the session is over, in whatever way."""
        return self.status in ENDED


def push_kernel(kaggle: Kaggle, kernel: Kernel) -> Pushed:
    """Push a kernel, which starts its session; after a lost answer, look whether it arrived before pushing again.

    Raises:
        NoRoom: nothing was started.
        LacksSources: it was started without one of its sources.
        PlatformError: it was refused.
    """
    for failures in range(1, kaggle.patience.tries + 1):
        try:
            return push_once(kaggle, kernel)
        except Unclear as error:
            kaggle.patience.wait(failures)
            # A lost answer may have been a yes. Pushing again at once would start a second session of the same fold.
            if pushed := recover_push(kaggle, kernel):
                say(f"{error}; it had arrived as version {pushed.version}")
                return pushed
            if failures == kaggle.patience.tries:
                raise
            say(f"{error}; pushing again")
    raise AssertionError("unreachable")


def push_once(kaggle: Kaggle, kernel: Kernel) -> Pushed:
    """Push a kernel as `push_kernel` does, for a caller that checks later whether an unclear push has arrived.

    Raises:
        NoRoom, LacksSources, PlatformError: as in `push_kernel`.
        Unclear: it may have arrived, or may still arrive.
    """
    try:
        answer = kaggle.ask(
            "kernels", "save_kernel", _request(kernel), what=f"push of {kernel.reference}", repeat=False
        )
    except (NotThere, Refused) as error:
        raise NoRoom(str(error)) if _is_full(str(error)) else error from None
    return _check(kaggle, kernel, answer)


def is_there(kaggle: Kaggle, reference: str) -> bool:
    """Return whether the platform has a kernel of this name."""
    return _look_up(kaggle, reference) is not None


def find_push(kaggle: Kaggle, kernel: Kernel) -> Pushed | None:
    """Return this very push as the platform has it, or None if it has not arrived."""
    answer = _find(kaggle, kernel)
    return None if answer is None else _pushed(kernel, answer)


def recover_push(kaggle: Kaggle, kernel: Kernel) -> Pushed | None:
    """Return a push whose answer was never read, with its sources checked; None if it has not arrived.

    Raises:
        LacksSources: as in `push_kernel`.
    """
    answer = _find(kaggle, kernel)
    if answer is None:
        return None
    pushed = _pushed(kernel, answer)
    _check_sources(kaggle, kernel, pushed, answer.metadata)
    return pushed


def ask_session(kaggle: Kaggle, reference: str, version: int) -> Session:
    """Return the state of the session of a kernel's version."""
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelSessionStatusRequest

    request = ApiGetKernelSessionStatusRequest()
    request.user_name, request.kernel_slug = owner_of(reference)
    request.version_label = f"v{version}"
    answer = kaggle.ask("kernels", "get_kernel_session_status", request, what=f"status of {reference}", there=True)
    return Session(answer.status.name, answer.failure_message or "")


def end_session(kaggle: Kaggle, reference: str) -> None:
    """End the session of a kernel by deleting the kernel, together with the session's output.

    The client has a call that only cancels a session, but it needs a session number that no other call returns.

    Raises:
        PlatformError: the platform refuses.
    """
    from kagglesdk.kernels.types.kernels_api_service import ApiDeleteKernelRequest

    request = ApiDeleteKernelRequest()
    request.user_name, request.kernel_slug = owner_of(reference)
    try:
        answer = kaggle.ask("kernels", "delete_kernel", request, what=f"deletion of {reference}")
    except NotThere:  # deleted by an earlier try whose answer was lost
        return
    if answer.error_message:
        raise PlatformError(f"deletion of {reference}: Kaggle says {answer.error_message!r}")


@dataclass(frozen=True)
class Quota:
    """The week's GPU hours.

    Attributes:
        used: the hours used, including those that running sessions have reserved.
        allowed: the hours of a week.
        renewed_at: when the week ends, in seconds since the epoch; None if the platform does not say.
    """

    used: float
    allowed: float
    renewed_at: float | None

    @property
    def left(self) -> float:
        """The hours that are left."""
        return max(0.0, self.allowed - self.used)


def gpu_quota(kaggle: Kaggle) -> Quota | None:
    """Read the week's GPU hours in one try, or return None: nothing depends on the answer alone."""
    try:
        return read_quota(kaggle, tries=1)
    except PlatformError:
        return None


def read_quota(kaggle: Kaggle, *, tries: int | None = None) -> Quota | None:
    """Read the week's GPU hours, or return None if the platform does not say; errors and `tries` as in `Kaggle.ask`."""
    from kagglesdk.kernels.types.kernels_api_service import ApiGetAcceleratorQuotaStatisticsRequest

    request = ApiGetAcceleratorQuotaStatisticsRequest()
    try:
        answer = kaggle.ask("kernels", "get_accelerator_quota_statistics", request, what="GPU quota", tries=tries)
    except (NotThere, Refused):
        return None
    quota, renewed = answer.gpu_quota, answer.quota_refresh_time
    if quota is None or quota.total_time_allowed is None:
        return None
    used = [part.total_seconds() for part in (quota.time_used, quota.time_reserved) if part is not None]
    renewed_at = None if renewed is None else renewed.replace(tzinfo=UTC).timestamp()  # UTC, although it names no zone
    return Quota(sum(used) / 3600, quota.total_time_allowed.total_seconds() / 3600, renewed_at)


def _request(kernel: Kernel) -> Any:
    """Return the client's request that pushes a kernel."""
    from kagglesdk.kernels.types.kernels_api_service import ApiSaveKernelRequest

    request = ApiSaveKernelRequest()
    request.slug, request.new_title = kernel.reference, kernel.title
    request.text = kernel.text()
    request.language, request.kernel_type = "python", kernel.kind
    request.dataset_data_sources = list(kernel.datasets)
    request.competition_data_sources = list(kernel.competitions)
    request.kernel_data_sources = list(kernel.kernels)
    request.model_data_sources = list(kernel.models)
    request.is_private = True
    request.enable_gpu, request.enable_tpu, request.enable_internet = kernel.gpu, False, kernel.internet
    if kernel.gpu:
        request.machine_shape = kernel.machine
    if kernel.limit_seconds is not None:
        request.session_timeout_seconds = kernel.limit_seconds
    return request


def _check(kaggle: Kaggle, kernel: Kernel, answer: Any) -> Pushed:
    """Check the answer to a push, and return where the kernel is."""
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
    # The platform may have respelled the slug, without a word: every later call has to use its spelling.
    reference = _reference_of(answer.ref, kernel.reference)
    if invalid:  # the platform starts a kernel without its invalid sources, and only lists them
        _stop_incomplete(kaggle, kernel, Pushed(reference, int(answer.version_number or 0)), invalid)
    if not answer.version_number:  # not a refusal: the session may be running, and a second push would double it
        raise Unclear(f"{what}: Kaggle names no version; look at kaggle.com/code/{reference}")
    if reference != kernel.reference:
        say(f"Kaggle calls {kernel.reference} {reference}")
    return Pushed(reference, int(answer.version_number))


def _reference_of(answered: str | None, asked: str) -> str:
    """Return the `owner/slug` in an answer such as `/code/owner/slug`; the one that was asked for if it names none."""
    parts = (answered or "").strip("/").split("/")[-2:]
    return "/".join(parts) if len(parts) == 2 and all(parts) else asked


def _check_sources(kaggle: Kaggle, kernel: Kernel, pushed: Pushed, about: Any) -> None:
    """Check the sources of a kernel whose push was never answered, as that answer would have done."""
    has = {
        *(about.dataset_data_sources or []),
        *(about.competition_data_sources or []),
        *(about.kernel_data_sources or []),
        *(about.model_data_sources or []),
    }
    if not has:  # every kernel has a pack, so an answer without sources does not say what is attached
        return
    wanted = [*kernel.datasets, *kernel.competitions, *kernel.kernels, *kernel.models]
    plain = {_plain(source) for source in has}
    missing = [source for source in wanted if _plain(source) not in plain]
    if missing:
        _stop_incomplete(kaggle, kernel, pushed, missing)


def _plain(source: str) -> str:
    """Return the name of a source without a pinned version, in lower case."""
    parts = source.lower().split("/")
    return "/".join(parts[:4] if len(parts) > 3 else parts[:2])


def _stop_incomplete(kaggle: Kaggle, kernel: Kernel, pushed: Pushed, missing: list[str]) -> None:
    """End a session that lacks a source, and raise `LacksSources`."""
    note, running = "has been deleted", None
    if pushed.version != 1:  # deleting the kernel would also delete the outputs of its earlier versions
        running = pushed
        note = f"still runs beside earlier versions: cancel it at kaggle.com/code/{pushed.reference}"
    else:
        try:
            end_session(kaggle, pushed.reference)
        except PlatformError as error:
            note, running = f"still runs ({error})", pushed
    rules = [f"kaggle.com/c/{source}/rules" for source in missing if source in kernel.competitions]
    hint = f"; if that is its name, accept its rules first: {', '.join(rules)}" if rules else ""
    raise LacksSources(
        f"push of {kernel.reference}: Kaggle does not know {', '.join(missing)} (or it is not yours){hint}; "
        f"the kernel without it {note}",
        missing,
        running,
    )


def _is_full(text: str) -> bool:
    """Return whether a refusal means that there is no room for another session."""
    return any(word in text.lower() for word in _FULL)


def _find(kaggle: Kaggle, kernel: Kernel) -> Any:
    """Return the kernel as the platform has it, if it was written by this very push; otherwise None."""
    answer = _look_up(kaggle, kernel.reference)
    is_own = answer is not None and kernel.push and push_in(answer.blob.source or "") == kernel.push
    return answer if is_own else None


def _pushed(kernel: Kernel, answer: Any) -> Pushed:
    """Return where a kernel is, from the answer to a look-up."""
    return Pushed(kernel.reference, int(answer.metadata.current_version_number or 0))


def _look_up(kaggle: Kaggle, reference: str) -> Any:
    """Return the kernel as the platform has it, or None if several tries in a row do not find it."""
    try:
        return read_kernel(kaggle, reference)
    except NotThere:
        return None


def read_kernel(kaggle: Kaggle, reference: str, *, there: bool = True) -> Any:
    """Return text and metadata of a kernel's current version; `there` as in `Kaggle.ask`."""
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelRequest

    request = ApiGetKernelRequest()
    request.user_name, request.kernel_slug = owner_of(reference)
    return kaggle.ask("kernels", "get_kernel", request, what=f"look-up of {reference}", there=there)
