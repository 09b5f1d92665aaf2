"""Temporal workflow and activity definitions, found by their decorators, independent of module and class names."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, cast

from temporalio import activity, workflow

from tests.compatibility.sections.source import sources


@cache
def workflows() -> dict[str, workflow._Definition]:
    """By workflow type."""
    found = {
        definition.name: definition
        for module in _with_definitions()
        for _, member in inspect.getmembers(module, inspect.isclass)
        if (definition := workflow._Definition.from_class(member)) is not None
    }
    return {name: definition for name, definition in found.items() if name is not None}


def runs(definition: Any) -> Callable[..., Any]:
    """The workflow's run method."""
    function: Callable[..., Any] = definition.run_fn
    return function


@cache
def activities() -> dict[str | None, Callable[..., Any]]:
    """By activity type. None: the dynamic activity, whose types are the names of users' functions."""
    defined = cast("Callable[[Any], Any]", activity._Definition.from_callable)  # pyright: ignore[reportUnknownMemberType]
    return {
        definition.name: function
        for module in _with_definitions()
        for _, owner in inspect.getmembers(module, inspect.isclass)
        for function in vars(owner).values()
        if callable(function) and (definition := defined(function)) is not None
    }


def _with_definitions() -> Iterator[object]:
    for package in ("orchestrator", "workers"):
        for name, text in sources(package):
            if ".defn(" in text:
                yield importlib.import_module(name)
