"""Event types: stored in the table `events`, and matched by clients."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pydantic.alias_generators import to_camel

from perdure.contract.event_types import EVENT_DATA
from tests.compatibility.comparison import Json


def event_types() -> Json:
    """Each type of the catalogue, with the names of its data on the wire."""
    return {kind.value: {"data": _names(data)} for kind, data in EVENT_DATA.items()}


def _names(data: Any) -> list[str]:
    return sorted(to_camel(field.name) for field in fields(data))
