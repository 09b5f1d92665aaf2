"""The outcome of a call, as the request body that is posted."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from perdure.contract import MAX_RESULT_BYTES, ApprovalRequest, PostResult, ResultType
from perdure.functions.blobs import BlobData
from perdure.http.json_codec import encode

_MAX_MESSAGE = 8_000
_STACK_LINES = 20


@dataclass(frozen=True, slots=True)
class Rejection:
    """The reason why there is no result; the model reads it."""

    name: str
    message: str
    stack: str | None = None

    @classmethod
    def of(cls, error: BaseException) -> Rejection:
        """Describe what a function raised, with the last lines of its traceback."""
        try:
            message = str(error)
        except Exception:  # noqa: BLE001 - an exception's own text may raise anything
            message = "(an error without a readable text)"
        lines = "".join(traceback.format_exception(error)).splitlines()
        stack = "\n".join(lines[-_STACK_LINES:])
        return cls(type(error).__name__, _truncate(message), _truncate(stack))

    def body(self, attempt: int, milliseconds: int) -> bytes:
        """The `PostResult` as JSON."""
        value: dict[str, JsonValue] = {"name": self.name, "message": self.message}
        if self.stack is not None:
            value["stack"] = self.stack
        return encode({"result": value, **_envelope(ResultType.REJECTION, attempt, milliseconds)})


@dataclass(frozen=True, slots=True)
class Resolution:
    """A result, as JSON already: it was measured that way; and the blobs that are kept before it is handed in."""

    json: bytes
    blobs: tuple[BlobData, ...] = ()

    def body(self, attempt: int, milliseconds: int) -> bytes:
        """The `PostResult` as JSON, put together without encoding a large result again."""
        envelope = encode(_envelope(ResultType.RESOLUTION, attempt, milliseconds))
        return envelope[:-1] + b',"result":' + self.json + b"}"


@dataclass(frozen=True, slots=True)
class Interruption:
    """A request for approval; the function is called again if it is approved."""

    request: ApprovalRequest

    def body(self, attempt: int, milliseconds: int) -> bytes:
        """The `PostResult` as JSON."""
        request = self.request.model_dump(mode="json", by_alias=True, exclude_none=True)
        return encode({"result": request, **_envelope(ResultType.INTERRUPT, attempt, milliseconds)})


Outcome = Resolution | Rejection | Interruption


def to_outcome(returned: object, limit: int = MAX_RESULT_BYTES) -> Outcome:
    """Convert a function's return value to JSON; reject it with a reason if that fails.

    pydantic knows models, dataclasses, decimals, times and the like. NaN and the infinities are not JSON.
    An `approval_request` is not a result; each `blob` is extracted and replaced by a reference.
    """
    if isinstance(returned, ApprovalRequest):
        return Interruption(returned)
    blobs: list[BlobData] = []
    try:
        encoded = encode(to_jsonable_python(returned, fallback=_Extraction(blobs)))
    except Exception as error:  # noqa: BLE001 - a value's own serializer may raise anything
        return Rejection("ResultNotSerializable", _truncate(f"The result is not JSON: {error}"))
    if len(encoded) > limit:
        return too_large(len(encoded), limit)
    return Resolution(encoded, tuple(blobs))


class _Extraction:
    """Asked for what pydantic does not know: blobs, or nothing that JSON has."""

    def __init__(self, found: list[BlobData]) -> None:
        self._found = found

    def __call__(self, value: object) -> JsonValue:
        if not isinstance(value, BlobData):
            raise TypeError(f"Unable to serialize unknown type: {type(value)}")
        if value not in self._found:
            self._found.append(value)
        return value.shown


def too_large(size: int, limit: int = MAX_RESULT_BYTES) -> Rejection:
    """Return a rejection that replaces an oversized result."""
    return Rejection(
        "ResultTooLarge",
        f"The result has {size:,} bytes as JSON; at most {limit:,} are accepted. Return less data.",
    )


def _envelope(kind: ResultType, attempt: int, milliseconds: int) -> dict[str, object]:
    posted = PostResult(
        result_type=kind, attempt=attempt, meta={"functionExecutionTime": milliseconds}
    )
    return posted.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _truncate(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + " … (cut)"
