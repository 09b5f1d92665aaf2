"""What people think of a run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from perdure.contract.base import Request

MAX_COMMENT = 4_096
"""Characters."""


class SetFeedback(Request):
    """A comment, a score, both or neither: what is null or left out is taken back."""

    comment: Annotated[str, StringConstraints(max_length=MAX_COMMENT, strict=True)] | None = None
    score: Annotated[float, Field(ge=0, le=1, strict=True)] | None = Field(
        default=None, description="0 (bad) to 1 (good)."
    )
