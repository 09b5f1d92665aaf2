"""Environment variables: set in deployments."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from orchestrator.settings import Settings
from tests.compatibility.comparison import Json
from tests.compatibility.sections.json_types import described
from tests.compatibility.sections.source import PRODUCT, nodes, text_of

_VARIABLE = re.compile(r"(?:PERDURE|ANTHROPIC)_[A-Z_]+")


def settings() -> Json:
    """The server's settings with types and defaults, and every variable name that is a literal in the source."""
    schema: dict[str, Any] = Settings.model_json_schema(by_alias=False)["properties"]
    texts = filter(None, map(text_of, nodes(*PRODUCT)))
    return {
        "settings": {
            variable: {
                **described(schema[name]),
                "default": json.dumps(field.get_default(call_default_factory=True), default=str),
                "required": field.is_required(),
            }
            for name, field in Settings.model_fields.items()
            for variable in _variables(name, field)
        },
        "named in the source": sorted({text for text in texts if _VARIABLE.fullmatch(text)}),
    }


def _variables(name: str, field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [str(alias or f"{Settings.model_config.get('env_prefix', '')}{name}".upper())]
