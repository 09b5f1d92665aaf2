"""The cost of using a schema, computed without using it.

Thirty `$ref`s in a row, each naming the next one twice, are a kilobyte of text and a billion evaluations. So references
are followed here in a graph: every schema is a node, every keyword that applies another schema is an edge, and each node
is summed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast
from urllib.parse import unquote

from orchestrator.errors import InvalidRequestError, TooLargeError
from orchestrator.schema.drafts import Draft, Place, Sub, subschemas

MAX_EXPANSION = 20_000
"""Subschemas, when every reference is replaced by what it names."""
MAX_CHAIN = 200
"""Subschemas and references below each other, definitions followed."""
MAX_PATTERNS = 100

_UNSUPPORTED = ("$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary")


@dataclass(frozen=True, slots=True)
class SchemaCost:
    """The cost of using a schema. `branching` is the number of subschemas that may evaluate one member of a value."""

    expansion: int
    branching: int
    recursive: bool


@dataclass(frozen=True, slots=True)
class _Node:
    """A schema and where it stands."""

    path: tuple[str, ...]
    schema: object

    @property
    def key(self) -> int:
        return id(self.schema)

    @property
    def keywords(self) -> dict[str, object]:
        schema = self.schema
        return cast("dict[str, object]", schema) if isinstance(schema, dict) else {}


def measure_cost(root: object, draft: Draft, *, pointer: str = "") -> SchemaCost:
    """Follow every reference and add up the cost. `root` must satisfy its metaschema.

    Raises InvalidRequestError for references that leave the schema, lead nowhere or are circular, and
    TooLargeError beyond `MAX_EXPANSION`, `MAX_CHAIN` or `MAX_PATTERNS`.
    """
    return _CostAnalyzer(root, draft, pointer).measure()


class _CostAnalyzer:
    def __init__(self, root: object, draft: Draft, pointer: str) -> None:
        self._draft = draft
        self._pointer = pointer
        self._root = _Node((), root)
        self._anchors: dict[str, _Node] = {}
        self._edges: dict[int, list[tuple[Place, _Node]]] = {}
        self._recursive = False
        self._patterns = 0

    def measure(self) -> SchemaCost:
        nodes = self._discover()
        cycle_sizes: dict[int, int] = {}
        for node in nodes:
            self._sum(node, cycle_sizes, self._same, self._reject_cycle)
        weights: dict[int, int] = {}
        expansion = max(self._sum(node, weights, self._all, self._mark_recursive) for node in nodes)
        return SchemaCost(expansion, self._branching(nodes), self._recursive)

    def _discover(self) -> list[_Node]:
        """All schemas contained in the root or named by a reference; records their edges."""
        self._collect_anchors(self._root)
        nodes: dict[int, _Node] = {}
        pending = [self._root]
        while pending:
            node = pending.pop()
            if node.key in nodes:
                continue
            nodes[node.key] = node
            self._inspect(node)
            edges = list(self._find_edges(node))
            self._edges[node.key] = edges
            pending.extend(target for _, target in edges)
        return list(nodes.values())

    def _collect_anchors(self, root: _Node) -> None:
        pending = [root]
        while pending:
            node = pending.pop()
            identifier = str(node.keywords.get("$id", ""))
            name = node.keywords.get("$anchor", identifier[1:] if identifier[:1] == "#" else None)
            if isinstance(name, str):
                self._anchors[name] = node
            pending.extend(self._at(node, sub) for sub in subschemas(node.keywords, self._draft))

    def _inspect(self, node: _Node) -> None:
        for keyword in _UNSUPPORTED:
            if keyword in node.keywords:
                raise self._invalid(node, f"`{keyword}` is not supported.")
        identifier = str(node.keywords.get("$id", ""))
        if node.path and identifier and not identifier.startswith("#"):
            raise self._invalid(node, "`$id` is allowed at the root of a schema only.")
        patterns = node.keywords.get("patternProperties")
        self._patterns += "pattern" in node.keywords
        self._patterns += (
            len(cast("dict[str, object]", patterns)) if isinstance(patterns, dict) else 0
        )
        if self._patterns > MAX_PATTERNS:
            raise TooLargeError(
                f"A schema may have at most {MAX_PATTERNS} patterns.", pointer=self._pointer
            )

    def _find_edges(self, node: _Node) -> Iterator[tuple[Place, _Node]]:
        if "$ref" in node.keywords:
            yield Place.SAME, self._resolve(node, str(node.keywords["$ref"]))
        for sub in subschemas(node.keywords, self._draft):
            yield sub.place, self._at(node, sub)

    def _at(self, node: _Node, sub: Sub) -> _Node:
        return _Node((*node.path, *sub.path), sub.schema)

    def _resolve(self, node: _Node, reference: str) -> _Node:
        if not reference.startswith("#"):
            raise self._invalid(
                node,
                f"`$ref` {reference[:200]!r} leaves the schema; only references that begin with `#` are followed.",
            )
        fragment = unquote(reference[1:])
        if fragment and not fragment.startswith("/"):
            target = self._anchors.get(fragment)
        else:
            tokens = [t.replace("~1", "/").replace("~0", "~") for t in fragment.split("/")[1:]]
            target = self._follow(tokens)
        if target is None:
            raise self._invalid(node, f"`$ref` {reference[:200]!r} names nothing in the schema.")
        return target

    def _follow(self, tokens: list[str]) -> _Node | None:
        value: object = self._root.schema
        for token in tokens:
            if isinstance(value, dict):
                value = cast("dict[str, object]", value).get(token)
            elif isinstance(value, list) and token.isdecimal() and len(token) < len("10000"):
                items = cast("list[object]", value)
                value = items[int(token)] if int(token) < len(items) else None
            else:
                return None
        if isinstance(value, dict | bool):
            return _Node(tuple(tokens), cast("object", value))
        return None

    # -- sums over the graph --

    def _same(self, node: _Node) -> list[_Node]:
        return [target for place, target in self._edges[node.key] if place is Place.SAME]

    def _all(self, node: _Node) -> list[_Node]:
        return [target for place, target in self._edges[node.key] if place is not Place.NOWHERE]

    def _reject_cycle(self, node: _Node) -> None:
        raise self._invalid(node, "A reference leads back to itself without going into the value.")

    def _mark_recursive(self, _: _Node) -> None:
        self._recursive = True

    def _sum(
        self,
        node: _Node,
        known: dict[int, int],
        edges: Callable[[_Node], list[_Node]],
        on_cycle: Callable[[_Node], None],
        depth: int = 0,
    ) -> int:
        """Size of the tree below a node. 0 marks a node whose sum is in progress, so reaching it again is a cycle."""
        if depth > MAX_CHAIN:
            raise TooLargeError(
                f"A schema may nest at most {MAX_CHAIN} levels, its references followed.",
                pointer=self._pointer,
            )
        if node.key in known:
            if known[node.key] == 0:
                on_cycle(node)
            return known[node.key] or 1
        known[node.key] = 0
        total = 1
        for target in edges(node):
            total += self._sum(target, known, edges, on_cycle, depth + 1)
            if total > MAX_EXPANSION:
                raise TooLargeError(
                    f"A schema may grow to at most {MAX_EXPANSION:,} subschemas when its references are followed.",
                    pointer=self._pointer,
                )
        known[node.key] = total
        return total

    def _branching(self, nodes: list[_Node]) -> int:
        members: dict[int, int] = {}
        items: dict[int, int] = {}
        for node in nodes:
            self._count_checks(node, members, _member_checks)
            self._count_checks(node, items, _item_checks)
        return max(1, *members.values(), *items.values())

    def _count_checks(
        self, node: _Node, known: dict[int, int], count_checks: Callable[[dict[str, object]], int]
    ) -> int:
        """How often one member (or item) is evaluated from here, alternatives of the same value included."""
        if node.key not in known:
            below = sum(
                self._count_checks(target, known, count_checks) for target in self._same(node)
            )
            known[node.key] = count_checks(node.keywords) + below
        return known[node.key]

    def _invalid(self, node: _Node, detail: str) -> InvalidRequestError:
        return InvalidRequestError(
            detail, pointer=self._pointer + to_pointer(node.path), code="invalid_schema"
        )


def to_pointer(path: tuple[str | int, ...]) -> str:
    """Tokens as a JSON Pointer (RFC 6901)."""
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in path)


def _member_checks(keywords: dict[str, object]) -> int:
    patterns = keywords.get("patternProperties")
    count = len(cast("dict[str, object]", patterns)) if isinstance(patterns, dict) else 0
    count += "properties" in keywords or "additionalProperties" in keywords
    return count + ("unevaluatedProperties" in keywords)


def _item_checks(keywords: dict[str, object]) -> int:
    count = int("items" in keywords or "prefixItems" in keywords)
    return count + ("contains" in keywords) + ("unevaluatedItems" in keywords)
