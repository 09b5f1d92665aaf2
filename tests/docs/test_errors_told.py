"""The page of the HTTP API tells every status that an operation may answer with."""

from __future__ import annotations

import re
from typing import Any

import pytest

from api.app import assemble
from tests.docs.doc_blocks import REPOSITORY


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return assemble().openapi()


def test_the_page_and_the_document_know_the_same_errors(document: dict[str, Any]) -> None:
    known = {
        status
        for item in document["paths"].values()
        for operation in item.values()
        for status in operation["responses"]
        if status >= "400"
    }
    page = (REPOSITORY / "docs/reference/http-api.md").read_text()
    rows = re.findall(r"^\| (\d{3}(?:, \d{3})*) \|", page, re.MULTILINE)
    assert {status for row in rows for status in row.split(", ")} == known
