"""What the scripted analyst found, as text or in the shape of the run's result schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import TypeVar, cast

from pydantic import JsonValue
from typing_extensions import override

from orchestrator.llm.messages import ModelRequest

Schema = Mapping[str, JsonValue]
Value = TypeVar("Value")

_MAX_DEPTH = 8
_SIGNATURE = "Worked out by the scripted analyst, not by a language model."


@dataclass(frozen=True, slots=True)
class Quarter:
    """A quarter up to its latest known day, and the same stretch of the quarter before."""

    start: date
    end: date
    previous_start: date
    previous_end: date

    @classmethod
    def until(cls, latest: date) -> Quarter:
        """The quarter of `latest`; an unfinished one is compared with as many days of the one before."""
        start = date(latest.year, latest.month - (latest.month - 1) % 3, 1)
        before = date(start.year - (start.month == 1), (start.month - 4) % 12 + 1, 1)
        last_day = date.fromordinal(start.toordinal() - 1)
        same_day = date.fromordinal(before.toordinal() + (latest - start).days)
        return cls(start, latest, before, min(last_day, same_day))

    @override
    def __str__(self) -> str:
        return f"{self.start.year}-Q{(self.start.month - 1) // 3 + 1}"


@dataclass(frozen=True, slots=True)
class Change:
    """Somebody's or something's revenue in both quarters."""

    key: JsonValue
    name: str
    now: Decimal
    before: Decimal

    @property
    def growth(self) -> Decimal:
        return self.now - self.before

    @override
    def __str__(self) -> str:
        return f"{self.before:,} -> {self.now:,} ({self.growth:+,})"


@dataclass(frozen=True, slots=True)
class Finding:
    """The customer that grew most in money, and the product that did most of it."""

    quarter: Quarter
    customer: Change
    product: Change | None

    @property
    def why(self) -> str:
        who, when = self.customer, self.quarter
        verb = "grew most" if who.growth > 0 else "fell least, for none grew"
        said = (
            f"{who.name} {verb}: revenue {who} from {when.start} to {when.end}, against "
            f"{when.previous_start} to {when.previous_end}."
        )
        if self.product is not None:
            said += f" Most of the change came from {self.product.name}: {self.product}."
        return f"{said} {_SIGNATURE}"


def money(value: object) -> Decimal:
    """A number of a query as money, to the cent; nothing is zero."""
    return Decimal(str(value or 0)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def result_of(finding: Finding, request: ModelRequest) -> JsonValue:
    """The finding in the shape of the run's result: properties are known by their names, then by their types."""
    root: dict[str, JsonValue] = {}
    for tool in request.tools:
        if tool.name == request.result_tool:
            root = dict(tool.schema)
    properties = root.get("properties")
    wanted: JsonValue = properties.get("result", {}) if isinstance(properties, dict) else {}
    return _Shaper(finding, root, wanted).fill(wanted, "")


class _Shaper:
    """Fills a schema with the facts of a finding. Each fact is known by the words a property's name may hold."""

    def __init__(self, finding: Finding, *roots: JsonValue) -> None:
        who = finding.customer
        self._roots = roots
        self._grew = who.growth > 0
        self._object: JsonValue = {
            "customer": who.name,
            "revenue": float(who.now),
            "why": finding.why,
        }
        self._numbers: list[tuple[str, Decimal]] = [
            (r"previous|before|prior|last", who.before),
            (r"percent|pct|rate|ratio", _percent(who)),
            (r"growth|grew|change|increase|delta|difference", who.growth),
            (r"revenue|amount|total|turnover|sales|value", who.now),
            (r"", who.now),
        ]
        self._texts: list[tuple[str, str]] = [
            (r"why|reason|because|explanation|summary|answer|text|detail", finding.why),
            (r"product|item|article", finding.product.name if finding.product else ""),
            (r"quarter|period", str(finding.quarter)),
            (r"customer|client|account|company|buyer|name|who|winner", who.name),
            (r"", finding.why),
        ]

    def fill(self, schema: JsonValue, name: str, depth: int = 0) -> JsonValue:
        shape = self._resolved(schema)
        if depth > _MAX_DEPTH:
            return None
        if "const" in shape:
            return shape["const"]
        options = _options(shape)
        if options:
            return self._fill_option(options, name, depth)
        kind = shape.get("type", "object" if depth == 0 or "properties" in shape else "string")
        if kind == "object":
            return self._fill_object(shape, depth)
        if kind == "array":
            return [self.fill(shape.get("items", {}), name, depth + 1)]
        return self._fill_scalar(kind, shape, name)

    def _fill_object(self, shape: Schema, depth: int) -> JsonValue:
        properties = shape.get("properties")
        if not isinstance(properties, dict) or not properties:
            return self._object
        return {key: self.fill(value, key, depth + 1) for key, value in properties.items()}

    def _fill_option(self, options: list[Schema], name: str, depth: int) -> JsonValue:
        """A number that may be written as a string is a decimal, and is written to the cent."""
        shapes = [self._resolved(option) for option in options]
        if {"number", "string"} <= {str(shape.get("type")) for shape in shapes}:
            return str(_pick(self._numbers, name))
        usable = [shape for shape in shapes if shape.get("type") != "null"]
        return self.fill(dict((usable or shapes)[0]), name, depth + 1)

    def _fill_scalar(self, kind: JsonValue, shape: Schema, name: str) -> JsonValue:
        number = _pick(self._numbers, name)
        if kind == "number":
            return float(number)
        if kind == "integer":
            return int(number.to_integral_value(ROUND_HALF_UP))
        if kind in ("boolean", "null"):
            return self._grew if kind == "boolean" else None
        is_number = any(pattern and re.search(pattern, name) for pattern, _ in self._numbers)
        return str(number) if is_number and "pattern" in shape else _pick(self._texts, name)

    def _resolved(self, schema: JsonValue | Schema) -> Schema:
        for _ in range(_MAX_DEPTH):
            if not isinstance(schema, Mapping):
                return {}
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                return schema
            schema = self._looked_up(reference)
        return {}

    def _looked_up(self, reference: str) -> JsonValue:
        for root in self._roots:
            found: JsonValue = root
            for part in reference.removeprefix("#").strip("/").split("/"):
                found = found.get(part) if isinstance(found, dict) else None
            if found is not None:
                return found
        return None


def _options(shape: Schema) -> list[Schema]:
    for keyword in ("anyOf", "oneOf"):
        options = shape.get(keyword)
        if isinstance(options, list):
            return [option for option in options if isinstance(option, dict)]
    kinds = shape.get("type")
    if isinstance(kinds, list):
        return [cast(Schema, {**shape, "type": kind}) for kind in kinds]
    return []


def _pick(choices: list[tuple[str, Value]], name: str) -> Value:
    return next(value for pattern, value in choices if re.search(pattern, name.lower()))


def _percent(change: Change) -> Decimal:
    if not change.before:
        return Decimal(0)
    return (change.growth / change.before * 100).quantize(Decimal("0.1"), ROUND_HALF_UP)
