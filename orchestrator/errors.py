"""Errors of requests, as a tree:

    OrchestratorError
    ├── InvalidRequestError      the request is invalid; names the field
    │   └── TooLargeError        … a limit of size
    ├── NotFoundError            unknown, or of another cluster: indistinguishable
    ├── ConflictError            a valid request that the current state does not allow
    │   └── SupersededError      a call's result that is late, stale, or from the wrong machine
    ├── UnknownServiceError      a machine polls for a service it must register first
    └── UnavailableError         a dependency is unavailable; try again

The API turns each into one HTTP status (`api/http/errors.py`). `code` is stable and meant for programs.
"""

from __future__ import annotations


class OrchestratorError(Exception):
    """Base of all errors that are reported to callers."""

    code = "error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidRequestError(OrchestratorError):
    """The request is invalid. `pointer` is the JSON Pointer of the field."""

    code = "invalid_request"

    def __init__(self, detail: str, *, pointer: str = "", code: str | None = None) -> None:
        super().__init__(detail)
        self.pointer = pointer
        self.code = code or type(self).code


class TooLargeError(InvalidRequestError):
    code = "too_large"


class NotFoundError(OrchestratorError):
    code = "not_found"


class ConflictError(OrchestratorError):
    code = "conflict"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.code = code or type(self).code


class SupersededError(ConflictError):
    code = "superseded"


class UnknownServiceError(OrchestratorError):
    code = "unknown_service"


class UnavailableError(OrchestratorError):
    code = "unavailable"
