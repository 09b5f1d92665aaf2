"""Limits of what crosses HTTP. They stand beside nothing else, so that the OpenAPI document, the error and the code
cannot disagree."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

MAX_PROMPT = 500_000
"""Characters of an initial prompt, a system prompt or a message."""
MAX_NAME = 256
MAX_METADATA_PAIRS = 64
MAX_METADATA_KEY = 128
MAX_METADATA_VALUE = 1_024
MAX_ATTACHED_FUNCTIONS = 128
MAX_FUNCTIONS_PER_SERVICE = 256
MAX_DESCRIPTION = 4_096
MAX_REASON = 1_024
MAX_TAGS = 32
MAX_URL = 2_048
MAX_APPROVAL_SECONDS = 90 * 86_400
"""Days that a call may wait for a person."""
MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Bytes of any request body except a call's result."""
MAX_RESULT_BYTES = 16 * 1024 * 1024
"""Bytes of a call's result as JSON; a larger one is refused, and the model gets an error that names the limit."""
MAX_CONTEXT_BYTES = 256 * 1024
MAX_WAIT_SECONDS = 30
MAX_CALL_WAIT_SECONDS = 20
"""Seconds that a request may wait for a call's result."""
MAX_INLINE_RESULT = 1_000_000
"""Characters of JSON of a call's result that stand in the call itself; a longer one is read at its own address."""
MAX_BLOB_BYTES = 4 * 1024 * 1024
"""Bytes of one blob, decoded."""
MAX_RUN_BLOB_BYTES = 64 * 1024 * 1024
"""Bytes of all blobs of one run."""
MAX_TOKEN = 1_024
"""Characters of a text that results are searched for."""
INLINE_RESULT_CHARACTERS = 10_000
"""A longer call result is summarized for the model, or cut with a marker; the original is kept."""
HEARTBEAT_SECONDS = 4.0
"""A function worker tells this often that a call still runs, and learns whether it was cancelled."""

RunId = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z\-_.]{4,128}$")]
"""A run's id: given by the caller, or made by the server (26 characters, sorted by time)."""
MessageId = RunId
ServiceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,50}$")]
FunctionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=MAX_METADATA_KEY)]
MetadataValue = Annotated[str, StringConstraints(max_length=MAX_METADATA_VALUE, strict=True)]
Prompt = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PROMPT, strict=True)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=64, strict=True)]
RunConfigId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9\-_]{6,128}$")]
