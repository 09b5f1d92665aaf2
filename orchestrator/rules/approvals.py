"""Parses requests for approval and renders their outcome for the model. Pure."""

from __future__ import annotations

from pydantic import JsonValue, ValidationError

from perdure.contract import ApprovalRequest

_UNITS = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000))

_MAX_ARGUMENTS = 2_000
"""Characters of edited arguments shown to the model."""


def read_request(result: JsonValue) -> ApprovalRequest | str:
    """Parse an interrupt returned by a function: the request for approval, or an error text."""
    kind = result.get("type") if isinstance(result, dict) else None
    if kind != "approval":
        return (
            f"The function returned an interrupt of type {str(kind)[:100]!r}; only 'approval' is supported."
            " It did not return a result."
        )
    try:
        return ApprovalRequest.model_validate(result)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in problem["loc"])
        return f"The function's approval request is invalid: {field}: {problem['msg']}."


def denied_message(reason: str | None) -> str:
    """The result of a denied call."""
    return "This call was denied by a person" + (f": {reason}" if reason else ".")


def expired_message(milliseconds: int) -> str:
    """The result of a call whose approval request expired."""
    return (
        f"The approval request expired after {format_duration(milliseconds)}; the call did not run."
    )


def edited_message(arguments: str, content: str) -> str:
    """The result of a call that a person approved with edited arguments (JSON text)."""
    if len(arguments) > _MAX_ARGUMENTS:
        arguments = f"{arguments[:_MAX_ARGUMENTS]} … (cut)"
    return f"A person changed the arguments of this call to {arguments} and approved it. Its result:\n{content}"


def format_duration(milliseconds: int) -> str:
    """Format a duration with its two largest units."""
    words: list[str] = []
    for name, size in _UNITS:
        count, milliseconds = divmod(milliseconds, size)
        if count:
            words.append(f"{count} {name}" + ("s" if count > 1 else ""))
    return " ".join(words[:2]) or "less than a second"
