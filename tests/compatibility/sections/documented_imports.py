"""Imports in the documentation: used in programs and scripted policies of users."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from importlib import import_module

from tests.compatibility.comparison import Json
from tests.compatibility.sections.source import PRODUCT, REPOSITORY

_PYTHON = re.compile(r"^```python[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def documented_imports(frozen: Json) -> Json:
    """Modules and names in today's pages and in the baseline, as far as they can be imported.

    Module names are nested keys and not dotted, so that tools that rewrite module paths do not change the baseline.
    """
    found: dict[str, Json] = {}
    for path, name in sorted({*_documented(), *_in_baseline(frozen)}):
        if hasattr(_module(path), name):
            _put(found, (*path, name))
    return found


def _module(path: tuple[str, ...]) -> object:
    try:
        return import_module(".".join(path))
    except ModuleNotFoundError:
        return None


def _documented() -> Iterator[tuple[tuple[str, ...], str]]:
    for page in [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]:
        for script in _PYTHON.findall(page.read_text()):
            for node in ast.walk(ast.parse(script)):
                if isinstance(node, ast.ImportFrom) and node.module:
                    path = tuple(node.module.split("."))
                    if path[0] in PRODUCT:
                        yield from ((path, alias.name) for alias in node.names)


def _in_baseline(frozen: Json, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(frozen, Mapping):
        for name, below in frozen.items():
            if below is True:
                yield path, name
            yield from _in_baseline(below, (*path, name))


def _put(found: dict[str, Json], path: tuple[str, ...]) -> None:
    *folders, name = path
    for folder in folders:
        below = found.setdefault(folder, {})
        assert isinstance(below, dict)
        found = below
    found[name] = True
