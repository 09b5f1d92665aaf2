"""JSON Schemas from users: which are accepted, how a value is validated, how a model is shown one.

Drafts 7 and 2020-12. A schema is checked before it is compiled (`require_acceptable`), because compiling or using a
hostile one can exhaust the machine. Nothing here accesses the network.
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
