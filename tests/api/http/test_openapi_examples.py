"""Every operation of the OpenAPI document shows a request, an answer and every error, as the API gives them today."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import jsonschema_rs
import pytest

from api.app import assemble
from api.http.openapi_examples import EXAMPLES
from tests.api.http.examples_story import story, write_examples

AGAIN = "record the examples anew: python -m tests.api.http.record_examples"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return assemble().openapi()


def contents(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every body of a request or an answer in JSON, and whose it is."""
    for item in document["paths"].values():
        for operation in item.values():
            bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for place, body in bodies.items():
                for kind, media in body.get("content", {}).items():
                    if kind in {"application/json", "application/problem+json"}:
                        yield f"{operation['operationId']} {place}", media


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    bare = [place for place, media in contents(document) if not media.get("examples")]
    assert bare == [], AGAIN


def test_every_example_is_what_its_schema_says(document: dict[str, Any]) -> None:
    wrong: list[str] = []
    for place, media in contents(document):
        whole = {**media["schema"], "components": document["components"]}
        validator = jsonschema_rs.validator_for(whole)
        wrong += [
            f"{place}: {error.message}"
            for example in media.get("examples", {}).values()
            for error in validator.iter_errors(example["value"])
        ]
    assert wrong == [], AGAIN


def test_a_problem_is_the_one_of_its_status(document: dict[str, Any]) -> None:
    problems = {
        (place.rsplit(" ", 1)[1], example["value"]["status"], example["value"]["code"])
        for place, media in contents(document)
        for example in media.get("examples", {}).values()
        if "code" in example["value"]
    }
    assert len(problems) >= 12
    assert all(str(said) == status for status, said, _ in problems)


async def test_the_story_is_still_answered_in_this_form(tmp_path: Path) -> None:
    recorded = json.loads(EXAMPLES.read_text())
    async with story(tmp_path) as one:
        written = await write_examples(one)
    assert {name: _form(said) for name, said in written.items()} == {
        name: _form(said) for name, said in recorded.items()
    }, AGAIN


def _form(value: Any) -> Any:
    """What stays the same on every run: the names of fields and the kinds of values."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {name: _form(member) for name, member in members.items()}
    if isinstance(value, list):
        return [_form(member) for member in cast("list[object]", value)]
    return type(value).__name__
