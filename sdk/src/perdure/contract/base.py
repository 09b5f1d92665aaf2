"""Base classes of bodies: requests are strict, responses are lenient."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel


def _written_out(value: object) -> object:
    """Raises ValueError for a number, whose unit would be ambiguous (seconds or milliseconds since 1970)."""
    if isinstance(value, datetime) or (isinstance(value, str) and ":" in value):
        return value
    raise ValueError("must be a date and time with a time zone, like 2027-01-31T12:00:00Z")


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
"""A point in time in a request, as RFC 3339."""


class Wire(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, protected_namespaces=()
    )


class Request(Wire):
    """A request body: unknown fields are refused by name."""

    model_config = ConfigDict(extra="forbid")


class Reply(Wire):
    """A response body: unknown fields are ignored, so that older clients work with newer servers."""

    model_config = ConfigDict(extra="ignore")
