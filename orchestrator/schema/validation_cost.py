"""The cost of validating a value and of listing its violations, computed before any validation.

Validation is fast, but a megabyte of numbers times a thousand subschemas is not; and the validator builds an object for
each violation before it returns the first one. Without these limits, a client that sends a schema and a value could
occupy a process for minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, cast

from orchestrator.schema.complexity import SchemaCost

MAX_CHECKS: Final = 50_000_000
"""Subschema evaluations over all parts of a value. About a third of a second."""
MAX_LISTED_CHECKS: Final = 10_000
"""Evaluations; of a value that needs more, only the first violation is reported. About a third of a second, if all fail."""
MAX_ALTERNATIVE_CHECKS: Final = 30_000
"""Listing violations evaluates a value again for every alternative on the way to it."""
_UNEVALUATED: Final = 50
"""Evaluations that `unevaluatedItems` and similar keywords cost, compared with one of another keyword."""
_QUOTED_BYTES: Final = 4_000
"""Each violation of an `enum` carries all its values: this many count as one evaluation of another keyword."""
_SCALAR: Final = frozenset(
    [
        "type",
        "enum",
        "const",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "title",
        "description",
        "default",
        "examples",
    ]
)
"""A subschema with only these keywords has one violation or a few, however large the value is."""


@dataclass(frozen=True, slots=True)
class ValidationCost:
    """Of one schema."""

    branching: int
    max_subschemas: int
    weight: int
    quoting_weight: int
    wide_alternatives: bool
    """Whether an alternative descends into the value: then one violation contains all violations of the alternative."""

    @classmethod
    def from_schema(cls, schema: object, cost: SchemaCost) -> ValidationCost:
        keywords = list(_keywords(schema))
        enums = [len(repr(value)) for name, value in keywords if name in {"enum", "const"}]
        return cls(
            branching=cost.branching,
            max_subschemas=2**62 if cost.recursive else cost.expansion,
            weight=_UNEVALUATED if any(name.startswith("uneval") for name, _ in keywords) else 1,
            quoting_weight=1 + max(enums, default=0) // _QUOTED_BYTES,
            wide_alternatives=any(_is_wide(name, value) for name, value in keywords),
        )

    def exceeds_limit(self, value: object) -> bool:
        """Whether the value must not be validated at all."""
        each = self.branching * self.weight
        return each > 1 and _parts(value, MAX_CHECKS // each) * each > MAX_CHECKS

    def exceeds_listing_limit(self, value: object) -> bool:
        """Whether only the first violation may be requested."""
        each = self.branching * self.quoting_weight
        return _parts(value, MAX_LISTED_CHECKS // each) * each > MAX_LISTED_CHECKS

    def exceeds_nesting_limit(self, value: object) -> bool:
        """Whether nested alternatives are evaluated too often, beyond once for each part of the value."""
        checks, times, level = 0, 1, [value]
        while level and self.branching > 1 and checks <= MAX_ALTERNATIVE_CHECKS:
            checks += (times - 1) * len(level)
            times = min(times * self.branching, self.max_subschemas)
            level = [child for parent in level for child in _members(parent)]
        return checks > MAX_ALTERNATIVE_CHECKS


def _parts(value: object, limit: int) -> int:
    """The number of values in the value, itself included; counting stops shortly after `limit`."""
    pending, count = [value], 1
    while pending and count <= limit:
        members = _members(pending.pop())
        count += len(members)
        pending.extend(one for one in islice(members, limit + 1) if _members(one))
    return count


def _members(value: object) -> list[object]:
    if isinstance(value, list):
        return cast("list[object]", value)
    return list(_named(value).values())


def _named(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _keywords(schema: object) -> Iterator[tuple[str, object]]:
    """Every member of every object of the schema."""
    pending = [schema]
    while pending:
        part = pending.pop()
        yield from _named(part).items()
        pending.extend(_members(part))


def _is_wide(name: str, value: object) -> bool:
    if name not in {"anyOf", "oneOf"} or not isinstance(value, list):
        return False
    return any(not _SCALAR.issuperset(_named(one)) for one in cast("list[object]", value))
