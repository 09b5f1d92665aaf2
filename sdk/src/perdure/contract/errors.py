"""The identity of a key, health, and errors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from perdure.contract.base import Reply


class Identity(Reply):
    """The identity of a key, and its scopes in its own cluster."""

    cluster_id: str
    key_name: str
    scopes: list[str] = Field(default_factory=list, description="Sorted; see `Scope`.")


class Health(Reply):
    status: Literal["ok", "degraded"]
    missing: list[str] = Field(
        default_factory=list, description="Parts that cannot be reached at the moment."
    )


class FieldProblem(Reply):
    pointer: str = Field(description="JSON Pointer (RFC 6901) to the field.")
    detail: str


class Problem(Reply):
    """An error (RFC 9457, `application/problem+json`). `code` is stable, `detail` is for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldProblem] = Field(default_factory=list[FieldProblem])
