"""What counts as a request for an approval, and what the model is told of its end. Pure."""

from __future__ import annotations

from pydantic import JsonValue, ValidationError

from perdure.contract import ApprovalRequest

_UNITS = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000))

_MAX_ARGUMENTS = 2_000
"""Characters of edited arguments that the model is shown."""


def read_request(result: JsonValue) -> ApprovalRequest | str:
    """The request in what a function returned as an interrupt; or what is wrong with it, in words."""
    kind = result.get("type") if isinstance(result, dict) else None
    if kind != "approval":
        return (
            f"The function returned an interrupt of type {str(kind)[:100]!r}; only 'approval' is known."
            " It did not return a result."
        )
    try:
        return ApprovalRequest.model_validate(result)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in problem["loc"])
        return f"The function's request for an approval is wrong: {field}: {problem['msg']}."


def denied_message(reason: str | None) -> str:
    """A denied call's result."""
    return "This call was denied by a person" + (f": {reason}" if reason else ".")


def expired_message(milliseconds: int) -> str:
    """The result of a call on which nobody decided for so long."""
    return f"The approval request expired after {format_duration(milliseconds)}; the call was not made."


def edited_message(arguments: str, content: str) -> str:
    """The result of a call that a person approved with other arguments (JSON text) than the model's."""
    if len(arguments) > _MAX_ARGUMENTS:
        arguments = f"{arguments[:_MAX_ARGUMENTS]} … (cut)"
    return f"A person changed the arguments of this call to {arguments} and approved it. Its result:\n{content}"


def format_duration(milliseconds: int) -> str:
    """In words, with the two largest units that it has."""
    words: list[str] = []
    for name, size in _UNITS:
        count, milliseconds = divmod(milliseconds, size)
        if count:
            words.append(f"{count} {name}" + ("s" if count > 1 else ""))
    return " ".join(words[:2]) or "less than a second"
