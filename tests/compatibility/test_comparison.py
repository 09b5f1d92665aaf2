"""The comparison detects every kind of change, and `--add` only adds."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.compatibility import __main__ as command, baseline
from tests.compatibility.baseline import SECTIONS, read_baseline
from tests.compatibility.comparison import Json, as_text, breaking_changes, with_additions

FROZEN: dict[str, Any] = {
    "activities": {"think": {"fields": {"step": {"type": "int", "default": "0"}}}},
    "queues": ["perdure", "perdure-webhooks"],
}


def changed(**values: Any) -> dict[str, Any]:
    return {**copy.deepcopy(FROZEN), **values}


def test_what_is_the_same_passes() -> None:
    assert list(breaking_changes(FROZEN, copy.deepcopy(FROZEN))) == []


def test_a_lost_entry_is_named() -> None:
    (line,) = breaking_changes(FROZEN, changed(activities={}))
    assert line.startswith("activities > think: lost")


def test_a_lost_member_of_a_list_is_named() -> None:
    assert list(breaking_changes(FROZEN, changed(queues=["perdure"]))) == [
        'queues: lost "perdure-webhooks"'
    ]


def test_a_changed_default_is_named() -> None:
    found = changed()
    found["activities"]["think"]["fields"]["step"]["default"] = "1"
    (line,) = breaking_changes(FROZEN, found)
    assert line == 'activities > think > fields > step > default: was "0", is "1"'


@pytest.mark.parametrize("other", [None, "1", True, [], {}])
def test_a_value_of_another_type_is_a_change(other: Json) -> None:
    assert list(breaking_changes({"a": 1}, {"a": other}))


def test_additions_pass_and_the_order_does_not_matter() -> None:
    found = changed(queues=["new", "perdure-webhooks", "perdure"], signals=["nudge"])
    found["activities"]["look"] = {"fields": {"run": {"type": "str", "required": True}}}
    assert list(breaking_changes(FROZEN, found)) == []


def test_an_addition_that_is_required_fails() -> None:
    """Existing data (a request of an old client, a payload in a history) does not contain it."""
    found = changed()
    found["activities"]["think"]["fields"]["why"] = {"type": "str", "required": True}
    (line,) = breaking_changes(FROZEN, found)
    assert line.startswith("activities > think > fields > why: new and required")


def test_adding_keeps_the_baseline() -> None:
    found = changed(queues=["new", "perdure"], activities={"look": {}})
    added: Any = with_additions(FROZEN, found)
    assert list(breaking_changes(FROZEN, added)) == []
    assert added["queues"] == ["perdure", "perdure-webhooks", "new"]
    assert added["activities"] == {**FROZEN["activities"], "look": {}}


def variants(value: Json) -> Iterator[Json]:
    """Copies of the value, each with one part removed or changed."""
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield {other: kept for other, kept in value.items() if other != name}
            yield from ({**value, name: less} for less in variants(below))
    elif isinstance(value, list):
        yield from (value[:at] + value[at + 1 :] for at in range(len(value)))
    else:
        yield f"not {value!r}"


LARGE = {"openapi", "sdk", "tables"}
"""Left out: they have the same structure as the others, and this takes seconds for them."""


@pytest.mark.parametrize("section", sorted(SECTIONS.keys() - LARGE))
def test_every_removed_or_changed_part_is_reported(section: str) -> None:
    frozen = read_baseline(section)
    for less in variants(frozen):
        assert list(breaking_changes(frozen, less))


def collecting(found: Json) -> Callable[[Json], Json]:
    """A section whose collector returns `found`."""
    return lambda _: found


def test_the_command_adds_and_never_takes_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(baseline, "FROZEN", tmp_path)
    found = {"whole": changed(signals=["nudge"]), "broken": changed(queues=["new"])}
    monkeypatch.setattr(command, "SECTIONS", {name: collecting(found[name]) for name in found})
    monkeypatch.setattr("sys.argv", ["compatibility", "--add"])
    for name in found:
        (tmp_path / f"{name}.json").write_text(as_text(FROZEN))
    assert command.main() == 1
    assert capsys.readouterr().out.splitlines() == [
        'broken: queues: lost "perdure"',
        'broken: queues: lost "perdure-webhooks"',
    ]
    assert json.loads((tmp_path / "broken.json").read_text()) == FROZEN
    assert json.loads((tmp_path / "whole.json").read_text()) == {**FROZEN, "signals": ["nudge"]}
