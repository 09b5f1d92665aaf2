"""JSON Schemas that users send: whether one is taken, what it says of a value, how a model is shown it.

Drafts 7 and 2020-12. A schema is judged before it is compiled (`require_acceptable`), because compiling or using a hostile
one can cost more than the machine has; nothing here ever reaches for the network.
"""

from orchestrator.schema.acceptance import parse_schema, require_acceptable
from orchestrator.schema.complexity import to_pointer
from orchestrator.schema.tool_schema import as_tool_schema
from orchestrator.schema.validator import Validator, compile_schema

__all__ = [
    "Validator",
    "as_tool_schema",
    "compile_schema",
    "parse_schema",
    "require_acceptable",
    "to_pointer",
]
