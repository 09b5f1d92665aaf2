"""Compare a frozen baseline with what the code has today: additions pass, changes and losses are reported.

Both are JSON. Objects are compared by key, lists as sets, everything else by equality. A new entry of an object passes
unless it contains `"required": true`: existing data and existing callers do not provide it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, TypeGuard

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

_LONGEST_VALUE = 120


def breaking_changes(frozen: Json, found: Json, where: str = "") -> Iterator[str]:
    """One line for each frozen entry that is changed or lost, and for each new entry that is required."""
    if isinstance(frozen, Mapping) and isinstance(found, Mapping):
        yield from _changes_in_object(frozen, found, where)
    elif _is_list(frozen) and _is_list(found):
        yield from (f"{where}: lost {_short(one)}" for one in frozen if one not in found)
    elif frozen != found or type(frozen) is not type(found):
        yield f"{where}: was {_short(frozen)}, is {_short(found)}"


def _changes_in_object(
    frozen: Mapping[str, Json], found: Mapping[str, Json], where: str
) -> Iterator[str]:
    for name, value in frozen.items():
        place = f"{where} > {name}" if where else name
        if name in found:
            yield from breaking_changes(value, found[name], place)
        else:
            yield f"{place}: lost; it was {_short(value)}"
    for name in found.keys() - frozen.keys():
        if _is_required(found[name]):
            yield f"{where} > {name}: new and required; existing data does not contain it, so it needs a default"


def _is_required(value: Json) -> bool:
    return isinstance(value, Mapping) and value.get("required") is True


def with_additions(frozen: Json, found: Json) -> Json:
    """The baseline plus what is new. Nothing in the baseline is changed or removed."""
    if isinstance(frozen, Mapping) and isinstance(found, Mapping):
        return {
            name: with_additions(frozen[name], found.get(name)) if name in frozen else found[name]
            for name in {**frozen, **found}
        }
    if _is_list(frozen) and _is_list(found):
        return [*frozen, *(one for one in found if one not in frozen)]
    return frozen


def as_text(value: Json) -> str:
    """The content of a baseline file: sorted, one line per value that fits on one line, so that diffs are readable."""
    return _text(value, "") + "\n"


def _text(value: Json, indent: str) -> str:
    line = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if len(indent) + len(line) <= _LONGEST_VALUE:
        return line
    deeper = indent + "  "
    if isinstance(value, Mapping):
        rows = [f"{json.dumps(name)}: {_text(value[name], deeper)}" for name in sorted(value)]
        return "{\n" + ",\n".join(deeper + row for row in rows) + f"\n{indent}}}"
    if _is_list(value):
        rows = sorted(_text(one, deeper) for one in value)
        return "[\n" + ",\n".join(deeper + row for row in rows) + f"\n{indent}]"
    return line


def _is_list(value: Json) -> TypeGuard[Sequence[Json]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _short(value: Json) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
