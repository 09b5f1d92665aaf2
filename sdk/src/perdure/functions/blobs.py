"""Blobs: content that functions show to people and not to the model."""

from __future__ import annotations

import base64
from typing import Any

from pydantic import JsonValue
from pydantic_core import CoreSchema, core_schema, to_jsonable_python
from typing_extensions import override

from perdure.contract import MAX_BLOB_BYTES, MAX_NAME, BlobType, CreateBlob
from perdure.http.json_codec import encode


class BlobData:
    """A blob made by `blob`, which is uploaded after the function has returned it."""

    def __init__(self, name: str, type: BlobType, content: bytes) -> None:  # noqa: A002 - the wire's word
        self.name = name
        self.type = type
        self.content = content

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.type.value} {len(self.content)} bytes>"

    @property
    def shown(self) -> dict[str, JsonValue]:
        """The description that replaces the content for the model."""
        return {"blob": self.name, "type": self.type.value, "size": len(self.content)}

    def request(self) -> CreateBlob:
        """The body of the upload."""
        data = base64.b64encode(self.content).decode("ascii")
        return CreateBlob(name=self.name, type=self.type, data=data, size=len(self.content))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> CoreSchema:
        return core_schema.is_instance_schema(cls)  # so that it can be a field of models


def blob(name: str, type: BlobType | str, data: object) -> BlobData:  # noqa: A002 - the wire's word
    """Make a blob: return it from a function, by itself or anywhere in the returned value.

    It is uploaded with the call, and the model reads its name, type and size in its place. `type` is
    `application/json`, `image/png`, `image/jpeg`, `text/plain` or `application/pdf`; `data` is bytes, or a string for
    text, or any value for JSON. At most 4 MiB each, 64 MiB and 1,000 blobs per run. Raises ValueError for a value over
    its limit, TypeError for data that does not fit the type.
    """
    if not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"A blob's name has 1 to {MAX_NAME} characters.")
    kind = BlobType(type)
    content = _content(kind, data)
    if len(content) > MAX_BLOB_BYTES:
        raise ValueError(
            f"Blob {name!r} has {len(content)} bytes; at most {MAX_BLOB_BYTES} are kept."
        )
    return BlobData(name, kind, content)


def _content(kind: BlobType, data: object) -> bytes:
    if isinstance(data, bytes | bytearray):
        return bytes(data)
    if kind is BlobType.JSON:
        return encode(to_jsonable_python(data))
    if kind is BlobType.TEXT and isinstance(data, str):
        return data.encode()
    what = data.__class__.__name__
    raise TypeError(f"A blob of type {kind.value} is made of bytes, not of {what}.")
