"""Encodes payloads as JSON without fields that have their default value.

The decoder fills in the defaults. A changed default would also apply to existing histories.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from temporalio.converter import (
    AdvancedJSONEncoder,
    CompositePayloadConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
)
from typing_extensions import override


class CompactJSONEncoder(AdvancedJSONEncoder):
    """JSON of dataclasses and their contents."""

    @override
    def default(self, o: Any) -> Any:
        if not is_dataclass(o) or isinstance(o, type):
            return super().default(o)
        values = {field.name: (getattr(o, field.name), _default(field)) for field in fields(o)}
        return {name: value for name, (value, default) in values.items() if value != default}


class CompactPayloadConverter(CompositePayloadConverter):
    """Temporal's own converter with this JSON encoding; it decodes the output of both."""

    def __init__(self) -> None:
        compact = JSONPlainPayloadConverter(encoder=CompactJSONEncoder)
        usual = DefaultPayloadConverter.default_encoding_payload_converters
        super().__init__(*(compact if one.encoding == compact.encoding else one for one in usual))


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default
