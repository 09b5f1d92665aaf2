"""The errors of the SDK, as a tree; catching a class catches everything below it.

PerdureError
├── ConfigurationError           no address or key was found, or a name is unknown
├── ConnectionFailedError        the API could not be reached, or did not answer
├── ApiError                     the API refused the request: .status .code .detail .errors .retry_after
│   ├── AuthenticationError      401, 403
│   ├── NotFoundError            404; what belongs to another cluster looks the same
│   ├── StillWorkingError        408; structured output that takes longer than a request
│   ├── ConflictError            409
│   ├── GoneError                410
│   ├── TooLargeError            413
│   ├── InvalidRequestError      400, 422; also requests that the SDK refuses to send
│   ├── RateLimitedError         429
│   └── ServerError              500 and above
├── RunFailedError               the run failed: .run
├── RunCancelledError            the run was cancelled: .run
├── PollTimeoutError             the run is not finished yet: .run (a TimeoutError too)
├── ResultError                  there is no result, or it is not of the requested type: .run
├── CallFailedError              the function raised, or the call was denied, cancelled or timed out: .call
├── CallTimeoutError             the call has no result yet: .call (a TimeoutError too)
├── CallResultError              the call's result is not of the requested type: .call
└── StructuredOutputError        the model returned no value of the schema: .reason
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import ValidationError

if TYPE_CHECKING:
    # The command line raises errors without importing the request and response bodies.
    from perdure.contract import Call, FieldProblem, Run


class PerdureError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(PerdureError):
    """A required setting is missing; the message says where to set it."""


class ConnectionFailedError(PerdureError):
    """The API could not be reached, or did not answer in time, in all attempts."""


class ApiError(PerdureError):
    """An error response (RFC 9457).

    `code` is stable, `detail` is for people, `errors` point into the request, `retry_after` is in seconds.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: Sequence[FieldProblem] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{detail} [{status} {code}]{_fields(detail, errors)}")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after = retry_after


def _fields(detail: str, errors: Sequence[FieldProblem]) -> str:
    """Format the fields, one per line; the field that the detail is about is named only."""
    if [error.detail for error in errors] == [detail]:
        return f" at {errors[0].pointer}" if errors[0].pointer else ""
    return "".join(f"\n  {error.pointer}: {error.detail}" for error in errors)


class AuthenticationError(ApiError):
    """The key is missing, wrong or revoked, or may not do this."""


class NotFoundError(ApiError):
    """The resource does not exist in this cluster."""


class StillWorkingError(ApiError):
    """Structured output is not available yet. The run named in `detail` continues, and `get_run` finds it."""


class ConflictError(ApiError):
    """The resource is in a state that does not allow this."""


class GoneError(ApiError):
    """The server no longer knows this registration; a function worker registers again."""


class TooLargeError(ApiError):
    """The body is over the limit; `detail` names it."""


class InvalidRequestError(ApiError):
    """The request is invalid; `errors` name the fields and the rules."""

    @classmethod
    def unsendable(cls, error: ValidationError) -> InvalidRequestError:
        """The server's error, raised by the client without sending the request."""
        from perdure.contract import FieldProblem  # noqa: PLC0415 - see above

        errors = [
            FieldProblem(
                pointer="".join(f"/{part}" for part in problem["loc"]), detail=problem["msg"]
            )
            for problem in error.errors(include_url=False, include_input=False)
        ]
        return cls(422, "invalid_request", "The request was not sent: it is invalid.", errors)


class RateLimitedError(ApiError):
    """Too many requests; `retry_after` is the number of seconds to wait."""


class ServerError(ApiError):
    """The server failed; the same request may succeed later."""


class _RunError(PerdureError):
    """An error about one run, with the run's last snapshot."""

    says: ClassVar[str]

    def __init__(self, run: Run, reason: str | None = None) -> None:
        super().__init__(f"Run {run.id} {self.says}" + (f": {reason}" if reason else "."))
        self.run = run


class RunFailedError(_RunError):
    """The run ended without a result; `run.failure_reason` says why."""

    says = "failed"


class RunCancelledError(_RunError):
    """The run was cancelled."""

    says = "was cancelled"


class PollTimeoutError(_RunError, TimeoutError):
    """The run had not finished within the timeout of `poll`. It continues; poll again."""

    says = "has not finished yet"


class ResultError(_RunError):
    """The run is done, but has no result, or one that is not of the requested type."""

    says = "has no usable result"


class _CallError(PerdureError):
    """An error about one call, with the call's last snapshot."""

    says: ClassVar[str]

    def __init__(self, call: Call, reason: str | None = None) -> None:
        what = f"Call {call.id} of {call.service}.{call.function} {self.says}"
        super().__init__(what + (f": {reason}" if reason else "."))
        self.call = call
        self.reason = reason


class CallFailedError(_CallError):
    """The call ended without a result: the function raised, or it was denied, cancelled or timed out.

    `reason` is the text that a model reads; `call.result` has the original.
    """

    says = "failed"


class CallTimeoutError(_CallError, TimeoutError):
    """The call had no result within the timeout of `poll`. It continues; poll again."""

    says = "has no result yet"


class CallResultError(_CallError):
    """The function returned a value that is not of the requested type."""

    says = "has no usable result"


class StructuredOutputError(PerdureError):
    """There is no value: `reason` says what the model returned instead, or why it failed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"There is no value: {reason}")
        self.reason = reason


_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: AuthenticationError,
    404: NotFoundError,
    408: StillWorkingError,
    409: ConflictError,
    410: GoneError,
    413: TooLargeError,
    422: InvalidRequestError,
    429: RateLimitedError,
}
_FIRST_SERVER_ERROR = 500
_MAX_EXCERPT = 300


def api_error(status: int, body: bytes, retry_after: float | None = None) -> ApiError:
    """Build the exception for an error response, even if its body is not a problem document."""
    from perdure.contract import Problem  # noqa: PLC0415 - see above

    kind = _BY_STATUS.get(status, ServerError if status >= _FIRST_SERVER_ERROR else ApiError)
    try:
        problem = Problem.model_validate_json(body)
    except ValidationError:
        excerpt = body.decode(errors="replace").strip()[:_MAX_EXCERPT]
        return kind(status, f"http_{status}", excerpt or "No explanation.", (), retry_after)
    return kind(status, problem.code, problem.detail, problem.errors, retry_after)
