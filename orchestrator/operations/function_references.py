"""Resolves the functions and handlers that a run names to registered ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from orchestrator.errors import InvalidRequestError
from orchestrator.llm.builtin_tools import BUILT_IN_TOOLS
from orchestrator.llm.prompts import OWN_TOOLS
from orchestrator.llm.tools import tool_name
from orchestrator.store.records import FunctionName
from perdure.contract import FunctionReference, StatusChangeTarget


def resolve_functions(
    references: Sequence[FunctionReference | str],
    known: Iterable[FunctionName],
    pointer: str,
    *,
    mocks: Collection[str] = (),
) -> list[FunctionReference]:
    """Return the functions by service and name: registered, built-in, or mocked by a test run.

    Raises `InvalidRequestError` for the first unknown one.
    """
    by_name = _by_name(known)
    return [
        _resolve_without_worker(reference, by_name, mocks)
        or _resolve(reference, by_name, f"{pointer}/{index}")
        for index, reference in enumerate(references)
    ]


def check_mocks(names: Iterable[str], known: Iterable[FunctionName]) -> None:
    """Raise `InvalidRequestError` for the first name that is not a valid full function name."""
    by_name = _by_name(known)
    for name in names:
        reserved = name in OWN_TOOLS and name not in BUILT_IN_TOOLS
        if reserved or (name not in by_name and _split(name) is None):
            raise InvalidRequestError(
                f"{name!r} cannot be mocked. Mocks are given by full name, service_function.",
                pointer=f"/test/mocks/{name.replace('~', '~0').replace('/', '~1')}",
            )


def _by_name(known: Iterable[FunctionName]) -> dict[str, FunctionName]:
    by_name = {tool_name(record.service, record.name): record for record in known}
    return by_name | {f"{record.service}_{record.name}": record for record in by_name.values()}


def _split(name: str) -> FunctionReference | None:
    """Split an unregistered full name; its first part is the service."""
    service, _, function = name.partition("_")
    try:
        return FunctionReference(service=service, function=function)
    except ValueError:
        return None


def _resolve_without_worker(
    reference: FunctionReference | str, known: Mapping[str, FunctionName], mocks: Collection[str]
) -> FunctionReference | None:
    """Return a function that needs no function worker: built-in, or mocked and not registered."""
    name = reference if isinstance(reference, str) else f"{reference.service}_{reference.function}"
    if name in known or not (name in BUILT_IN_TOOLS or name in mocks):
        return None
    return _split(name) if isinstance(reference, str) else reference


def _resolve(
    reference: FunctionReference | str, known: dict[str, FunctionName], pointer: str
) -> FunctionReference:
    name = (
        reference
        if isinstance(reference, str)
        else tool_name(reference.service, reference.function)
    )
    record = known.get(name)
    if record is None:
        available = ", ".join(sorted(n for n, r in known.items() if not r.private)) or "none"
        raise InvalidRequestError(
            f"No function {name!r} is registered. Start its function worker first. Registered: {available}.",
            pointer=pointer,
            code="unknown_function",
        )
    if record.private:
        raise InvalidRequestError(
            f"The function {name!r} is private; the model cannot call it.",
            pointer=pointer,
            code="private_function",
        )
    return FunctionReference(service=record.service, function=record.name)


def resolve_handler(
    target: StatusChangeTarget | None, known: Iterable[FunctionName]
) -> StatusChangeTarget | None:
    """Return the target after checking that its function is registered. Raises `InvalidRequestError`."""
    if target is None or target.function is None:
        return target
    reference = target.function
    if not any(r.service == reference.service and r.name == reference.function for r in known):
        raise InvalidRequestError(
            f"No handler {reference.service}.{reference.function} is registered. Start its function worker first.",
            pointer="/onStatusChange/function",
            code="unknown_function",
        )
    return target
