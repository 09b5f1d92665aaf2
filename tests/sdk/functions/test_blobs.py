"""Blobs as functions make them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from perdure import BlobData, blob
from perdure.contract import MAX_BLOB_BYTES, BlobType
from perdure.worker.outcome import Rejection, Resolution, to_outcome


class Report(BaseModel):
    title: str
    chart: BlobData


@dataclass
class Page:
    parts: tuple[BlobData, ...]


@pytest.mark.parametrize(
    ("kind", "data", "content"),
    [
        ("image/png", b"\x89", b"\x89"),
        (BlobType.PDF, bytearray(b"%PDF"), b"%PDF"),
        ("text/plain", "ä", "ä".encode()),
        ("text/plain", b"\xff", b"\xff"),
        ("application/json", {"a": [1, None]}, b'{"a":[1,null]}'),
        ("application/json", "text", b'"text"'),
        ("application/json", b"[1]", b"[1]"),
    ],
)
def test_a_blob_is_bytes_text_or_json(kind: str, data: object, content: bytes) -> None:
    made = blob("one", kind, data)
    request = made.request()
    assert (made.content, request.size) == (content, len(content))
    assert base64.b64decode(request.data) == content
    assert request.type is BlobType(kind)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("", "image/png", b""), ValueError, "1 to 256 characters"),
        (("x" * 257, "image/png", b""), ValueError, "1 to 256 characters"),
        (("x", "image/gif", b""), ValueError, "image/gif"),
        (("x", "image/png", "text"), TypeError, "made of bytes, not of str"),
        (("x", "text/plain", 1), TypeError, "made of bytes, not of int"),
        (("x", "image/png", bytes(MAX_BLOB_BYTES + 1)), ValueError, "at most 4194304"),
    ],
)
def test_what_cannot_be_a_blob_is_refused(arguments: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        blob(*arguments)


def test_a_blob_is_found_wherever_it_stands() -> None:
    one, two = blob("one", "text/plain", "1"), blob("two", "text/plain", "22")
    report = Report(title="t", chart=one)
    outcome = to_outcome({"report": report, "page": Page((two, one)), "n": 1})
    assert isinstance(outcome, Resolution)
    assert outcome.blobs == (one, two)
    shown = json.loads(outcome.json)
    assert shown["report"] == {
        "title": "t",
        "chart": {"blob": "one", "type": "text/plain", "size": 1},
    }
    assert [part["size"] for part in shown["page"]["parts"]] == [2, 1]


def test_the_content_is_never_in_what_the_model_reads() -> None:
    secret = blob("one", "text/plain", "the content")
    outcome = to_outcome(secret)
    assert isinstance(outcome, Resolution)
    assert b"the content" not in outcome.json
    assert "the content" not in repr(secret)


def test_what_is_no_json_and_no_blob_is_still_refused() -> None:
    outcome = to_outcome({"a": object()})
    assert isinstance(outcome, Rejection)
    assert "Unable to serialize unknown type" in outcome.message
