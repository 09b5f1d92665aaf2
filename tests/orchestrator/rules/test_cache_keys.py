"""Which calls are the same: by what the key path selects, and by who asks."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given, strategies as st
from pydantic import JsonValue

from orchestrator.rules.cache_keys import cache_key, check_key_path
from orchestrator.rules.key_path import select

FUNCTION = ("cluster", "sales", "query")
NOBODY: tuple[JsonValue, JsonValue] = (None, None)
JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("path", ["$", "$.customerId", "$.items[*].id", "$['a b','c']", "$.a[1:3]"])
def test_a_path_of_names_indices_slices_and_wildcards_is_accepted(path: str) -> None:
    check_key_path(path)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("customerId", "is not a JSONPath"),
        ("", "is not a JSONPath"),
        ("$.", "is not a JSONPath"),
        ("$.a[", "is not a JSONPath"),
        ("$.a | $.b", "is not a JSONPath"),
        ("$.items[?@.price > 10]", "filter"),
        ("$.items[?match(@.name, '(a+)+')]", "filter"),
        ("$..a", "descendant segment"),
        ("$[*,*][*,*]", "several selectors"),
        ("$['a','a']", "several selectors"),
        ("$[0,-1]", "several selectors"),
    ],
)
def test_another_path_is_refused_with_the_reason(path: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_key_path(path)


@given(st.text("$.[]*'\"?@()1a:,-\\ é", max_size=12).map("$".__add__))
def test_whatever_is_written_is_accepted_or_rejected_in_words(path: str) -> None:
    problem = _problem(path)
    if problem is None:
        cache_key(FUNCTION, path, {"a": [1, {"a": 1}]}, asker=NOBODY)
    else:
        assert re.search("is not a JSONPath|filter|descendant segment|several selectors", problem)


def _problem(path: str) -> str | None:
    try:
        check_key_path(path)
    except ValueError as error:
        return str(error)
    return None


def test_calls_are_the_same_by_what_the_path_selects() -> None:
    values: list[JsonValue] = [{"id": 7, "page": 1}, {"page": 2, "id": 7}, {"id": "7", "page": 1}]
    first, same, other = (cache_key(FUNCTION, "$.id", value, asker=NOBODY) for value in values)
    assert first is not None
    assert first == same != other


@pytest.mark.parametrize(
    "other",
    [
        (("another", "sales", "query"), "$.id", NOBODY),
        (("cluster", "shop", "query"), "$.id", NOBODY),
        (("cluster", "sales", "count"), "$.id", NOBODY),
        (FUNCTION, "$['id']", NOBODY),
        (FUNCTION, "$.id", ({"tenant": "b"}, None)),
        (FUNCTION, "$.id", (None, {"tenant": "b"})),
    ],
)
def test_the_key_is_of_one_function_one_path_and_one_asker(
    other: tuple[tuple[str, str, str], str, tuple[JsonValue, JsonValue]],
) -> None:
    function, path, asker = other
    value: JsonValue = {"id": 7}
    plain = cache_key(FUNCTION, "$.id", value, asker=NOBODY)
    assert cache_key(function, path, value, asker=asker) != plain


def test_a_path_that_selects_nothing_makes_no_two_calls_the_same() -> None:
    assert cache_key(FUNCTION, "$.id", {"page": 1}, asker=NOBODY) is None
    assert cache_key(FUNCTION, "$.id", {"id": None}, asker=NOBODY) is not None


@example("{", "[")
@given(JSON, JSON)
def test_the_whole_input_distinguishes_inputs(one: JsonValue, two: JsonValue) -> None:
    first, second = (cache_key(FUNCTION, "$", value, asker=NOBODY) for value in (one, two))
    assert (first == second) == (_plain(one) == _plain(two))


def _plain(value: JsonValue) -> str:
    """Python takes 1 and True for the same."""
    if isinstance(value, dict):
        return "object" + repr(sorted((name, _plain(item)) for name, item in value.items()))
    return repr([_plain(item) for item in value]) if isinstance(value, list) else repr(value)


@example("text, which is no JSON", "$")
@given(JSON, st.sampled_from(["$", "$[*]", "$[*][*]", "$['a','b']", "$[0]", "$[::2]"]))
def test_nothing_is_selected_twice(value: JsonValue, path: str) -> None:
    """What is selected is never more than the input: that bounds the time."""
    found = select(path, {"a": value} if path == "$['a','b']" else value)
    assert sum(len(json.dumps(one)) for one in found) <= len(json.dumps({"a": value}))
