"""Templates of prompts: what is a place, what is put there, and that no input can pass for one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st
from pydantic import JsonValue

from orchestrator.llm.prompt_template import append, fill, places

_NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True)
_PLAIN = st.text(alphabet=st.characters(exclude_characters="{}\\", exclude_categories=["Cs"]))


@given(st.lists(st.tuples(_PLAIN, _NAMES), max_size=6), _PLAIN, st.text())
def test_every_place_holds_the_input_as_it_is(
    parts: list[tuple[str, str]], end: str, value: str
) -> None:
    template = "".join(f"{plain}{{{{{name}}}}}" for plain, name in parts) + end
    inputs = {name: f"{value}{{{{{name}}}}}" for _, name in parts}
    assert places(template) == tuple(dict.fromkeys(name for _, name in parts))
    assert (
        fill(template, inputs) == "".join(f"{plain}{inputs[name]}" for plain, name in parts) + end
    )


@given(st.text(), st.dictionaries(_NAMES, st.text()))
def test_any_text_can_be_a_template(template: str, inputs: dict[str, str]) -> None:
    filled = fill(template, inputs)
    if "{{" not in template:
        assert filled == template


def test_an_input_is_never_read_again() -> None:
    filled = fill("{{a}} and {{b}}", {"a": "{{b}}", "b": "secret"})
    assert filled == "{{b}} and secret"


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{{ a }}", "1"),
        ("{{a}}{{a}}", "11"),
        (r"\{{a}}", "{{a}}"),
        ("{a}", "{a}"),
        ("{{ }}", "{{ }}"),
        ("{{two words}}", "{{two words}}"),
        ("{{missing}}", ""),
        ("{{ü}}", "{{ü}}"),
    ],
)
def test_what_is_a_place(template: str, filled: str) -> None:
    assert fill(template, {"a": 1}) == filled


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        (1, "1"),
        (None, "null"),
        (["é", 1.5], '["é", 1.5]'),
        ({"a": True}, '{"a": true}'),
    ],
)
def test_texts_go_in_as_they_are_other_values_as_json(value: JsonValue, text: str) -> None:
    assert fill("<{{v}}>", {"v": value}) == f"<{text}>"


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_appended_inputs_stay_inside_their_block(prompt: str, inputs: dict[str, str]) -> None:
    said = append(prompt, inputs)
    opening, closing = "\n\n<DATA>\n", "\n</DATA>"
    assert said.startswith(prompt + opening)
    assert said.endswith(closing)
    data = said[len(prompt) + len(opening) : -len(closing)]
    assert "<" not in data
    assert json.loads(data) == inputs
