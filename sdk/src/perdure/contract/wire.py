"""The two kinds of body: what a client sends is strict, what the server answers is lenient."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


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
