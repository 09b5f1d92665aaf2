"""The product's source files, for literals that cannot be collected at run time."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

SERVER = ("orchestrator", "workers", "api")
PRODUCT = (*SERVER, "perdure")
REPOSITORY = Path(__file__).parents[3]


def sources(package: str) -> Iterator[tuple[str, str]]:
    """Dotted name and text of every module of the package, without the migration scripts."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    for file in sorted(folder.rglob("*.py")):
        parts = file.relative_to(folder).with_suffix("").parts
        if "versions" not in parts:
            yield ".".join([package, *parts]).removesuffix(".__init__"), file.read_text()


@cache
def _nodes_of(package: str) -> tuple[ast.AST, ...]:
    return tuple(node for _, text in sources(package) for node in ast.walk(ast.parse(text)))


def nodes(*packages: str) -> Iterator[ast.AST]:
    """Every syntax node of these packages."""
    for package in packages:
        yield from _nodes_of(package)


def text_of(node: ast.AST | None) -> str | None:
    """The value of a string literal; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None
