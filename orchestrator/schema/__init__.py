"""JSON Schemas that users send: whether one is taken, what it says of a value, how a model is shown it.

Drafts 7 and 2020-12. A schema is judged before it is compiled (`check_schema`), because compiling or using a hostile
one can cost more than the machine has; nothing here ever reaches for the network.
"""

from orchestrator.schema.acceptance import check_schema, parse_schema
from orchestrator.schema.complexity import to_pointer
from orchestrator.schema.tool_schema import embed
from orchestrator.schema.validator import Check, compile_schema

__all__ = ["Check", "check_schema", "compile_schema", "embed", "parse_schema", "to_pointer"]
