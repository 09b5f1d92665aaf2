"""The `code`s of API errors: matched by programs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tests.compatibility.comparison import Json
from tests.compatibility.sections.source import SERVER, nodes, text_of

_CODE = re.compile(r"[a-z]+(?:_[a-z]+)*")


def error_codes() -> Json:
    """Every error code that is a literal in the server's source."""
    return {"codes": sorted({code for node in nodes(*SERVER) for code in _codes(node)})}


def _codes(node: ast.AST) -> Iterator[str]:
    for candidate in _candidates(node):
        text = text_of(candidate)
        if text is not None and _CODE.fullmatch(text):
            yield text


def _candidates(node: ast.AST) -> Iterator[ast.expr | None]:
    match node:
        case ast.ClassDef():  # class SomeError: code = "…"
            for line in node.body:
                if isinstance(line, ast.Assign) and _is_called(line.targets[0], "code"):
                    yield line.value
        case ast.Call():  # SomeError(…, code="…"), SomeError(HTTPStatus.…, "…")
            yield from (keyword.value for keyword in node.keywords if keyword.arg == "code")
            yield from _after_status(node.args)
        case ast.Tuple():  # (HTTPStatus.…, "…", detail)
            yield from _after_status(node.elts)
        case ast.Return(value=ast.Tuple(elts=[first, ast.JoinedStr()])):  # "…", f"detail"
            yield first
        case _:
            pass


def _after_status(values: Sequence[ast.expr]) -> Iterator[ast.expr]:
    for status, code in pairwise(values):
        if isinstance(status, ast.Attribute) and _is_called(status.value, "HTTPStatus"):
            yield code


def _is_called(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
