"""The two kinds of body: what a client sends is strict, what the server answers is lenient."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel


def _written_out(value: object) -> object:
    """Raises ValueError for a bare number, which would be taken for seconds or milliseconds since 1970, by its size."""
    if isinstance(value, datetime) or (isinstance(value, str) and ":" in value):
        return value
    raise ValueError("must be a date and time with a time zone, like 2027-01-31T12:00:00Z")


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
"""A point in time as a client sends it: RFC 3339."""


class Wire(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, protected_namespaces=()
    )


class Request(Wire):
    """A body a client sends: unknown fields are refused by name."""

    model_config = ConfigDict(extra="forbid")


class Reply(Wire):
    """A body the server answers: unknown fields are ignored, so that old clients outlive new servers."""

    model_config = ConfigDict(extra="ignore")
