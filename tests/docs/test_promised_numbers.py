"""The numbers that the pages promise are those the code keeps. Other tests use the code's own names for them."""

from __future__ import annotations

import pytest

from api.auth.api_key_cache import KEY_CACHE_SECONDS
from api.auth.custom_auth import ACCEPTED_TTL_SECONDS, REFUSED_TTL_SECONDS, UNAVAILABLE_TTL_SECONDS
from orchestrator.llm.prompts import MAX_FOUND
from orchestrator.llm.tool_selection import MAX_TOOLS
from orchestrator.llm.tools import DEFAULT_DEADLINE_MS, DEFAULT_TIMEOUT_MS
from orchestrator.store.calls.interruptions import DEFAULT_APPROVAL_SECONDS, MAX_INTERRUPTIONS
from orchestrator.store.conversation.messages import MAX_QUEUED
from orchestrator.store.recovery.stalled_runs import LOST_AFTER_MS
from perdure.contract import (
    INLINE_RESULT_CHARACTERS,
    MAX_APPROVAL_SECONDS,
    MAX_BLOB_BYTES,
    MAX_CONTEXT_BYTES,
    MAX_METADATA_PAIRS,
    MAX_PROMPT,
    MAX_RUN_BLOB_BYTES,
    MAX_TAGS,
)
from tests.docs.doc_blocks import REPOSITORY

_DAY = 86_400
_KIB, _MIB = 1_024, 1_048_576


@pytest.mark.parametrize(
    ("page", "words", "kept", "promised"),
    [
        ("http-api", "unless a `config` has one | 500,000 characters |", MAX_PROMPT, 500_000),
        ("http-api", "never for the model | 256 KiB |", MAX_CONTEXT_BYTES, 256 * _KIB),
        ("http-api", "works for at most 2 more seconds", KEY_CACHE_SECONDS, 2),
        ("run-options", "| 32, of 64 characters |", MAX_TAGS, 32),
        ("run-options", "| 64, keys of 128, values of", MAX_METADATA_PAIRS, 64),
        ("what-the-model-sees", "over 10,000 characters", INLINE_RESULT_CHARACTERS, 10_000),
        ("what-the-model-sees", "Up to 64 functions", MAX_TOOLS, 64),
        ("what-the-model-sees", "schemas of up to 10\nfunctions", MAX_FOUND, 10),
        ("conversations", "At most 1,000 are queued", MAX_QUEUED, 1_000),
        ("approvals", "(default 7 days,", DEFAULT_APPROVAL_SECONDS, 7 * _DAY),
        ("approvals", "at most 90)", MAX_APPROVAL_SECONDS, 90 * _DAY),
        ("approvals", "up to 10 times in all", MAX_INTERRUPTIONS, 10),
        ("functions", "at most 30 days | 24 h |", DEFAULT_DEADLINE_MS, _DAY * 1_000),
        ("durability", "or of about 15 s |", LOST_AFTER_MS, 15_000),
        ("inferable", "`timeoutSeconds` (300 by default)", DEFAULT_TIMEOUT_MS, 300_000),
        ("calls", "at most 4 MiB each", MAX_BLOB_BYTES, 4 * _MIB),
        ("calls", "64 MiB and 1,000 per run", MAX_RUN_BLOB_BYTES, 64 * _MIB),
        ("clusters-and-keys", "for 300 seconds per cluster and token", ACCEPTED_TTL_SECONDS, 300),
        ("clusters-and-keys", "a refusal for 60", REFUSED_TTL_SECONDS, 60),
        ("clusters-and-keys", "silence for 5,", UNAVAILABLE_TTL_SECONDS, 5),
    ],
)
def test_a_promised_number_holds(page: str, words: str, kept: float, promised: float) -> None:
    assert kept == promised
    (path,) = (REPOSITORY / "docs").rglob(f"{page}.md")
    assert words in path.read_text(), "the page says something else"
