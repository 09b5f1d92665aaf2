"""JSON responses, for any text of functions and models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from fastapi import Response
from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticSerializationError

_LIST: TypeAdapter[Sequence[BaseModel]] = TypeAdapter(Sequence[BaseModel])


def reply(
    body: BaseModel | Sequence[BaseModel],
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A response with this body, with camelCase names."""
    return Response(
        encode(body), status, media_type="application/json", headers=dict(headers or {})
    )


def encode(body: BaseModel | Sequence[BaseModel]) -> bytes:
    """JSON in UTF-8. Lone surrogates, which UTF-8 cannot encode, stay escaped."""
    try:
        if isinstance(body, BaseModel):
            return body.__pydantic_serializer__.to_json(body, by_alias=True)
        return _LIST.dump_json(body, by_alias=True, serialize_as_any=True)
    except PydanticSerializationError:
        plain = (
            body.model_dump(mode="json", by_alias=True)
            if isinstance(body, BaseModel)
            else [item.model_dump(mode="json", by_alias=True) for item in body]
        )
        return json.dumps(plain, separators=(",", ":")).encode()
