"""Which functions fit some words best: BM25 over names, descriptions and parameters. Pure, without a model.

Names are read as people read them: `createInvoice` and `create_invoice` are two words each. Scripts without spaces
are compared by pairs of characters.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from pydantic import JsonValue

from orchestrator.conversation import Tool

_WORDS = re.compile(r"[^\W_]+")
_HUMPS = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\d)(?=[^\W\d_])")
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)
_MAX_QUERY_CHARACTERS = 20_000
"""Of longer words only the beginning counts."""
_MAX_PARAMETERS = 200
_SATURATION, _LENGTH_WEIGHT = 1.2, 0.75
_NAME_WEIGHT = 3
"""A word of a function's name counts as often."""


def ranking(query: str, tools: Sequence[Tool]) -> list[tuple[float, Tool]]:
    """All the tools with their scores, the best first; by name where they fit alike. A score of 0: nothing in common."""
    documents = [_document(tool.name, _description(tool)) for tool in tools]
    weights = _weights(words(query[:_MAX_QUERY_CHARACTERS]), documents)
    average = sum(map(len, documents)) / len(documents) if documents else 1.0
    scored = [
        (_score(weights, document, len(document) / (average or 1.0)), tool)
        for document, tool in zip(documents, tools, strict=True)
    ]
    return sorted(scored, key=lambda found: (-found[0], found[1].name))


def words(text: str) -> tuple[str, ...]:
    """The words of a text or of a name, in one spelling."""
    return tuple(
        token for word in _WORDS.findall(text) for token in _tokens(_HUMPS.sub(" ", word).split())
    )


def _tokens(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        token = part.casefold()
        if _UNSPACED.search(token):
            yield from (token[at : at + 2] for at in range(max(1, len(token) - 1)))
        else:
            yield _singular(token)


def _singular(token: str) -> str:
    return token[:-1] if len(token) > 3 and token.endswith("s") and token[-2] != "s" else token  # noqa: PLR2004 - "bus" stays


def _weights(query: tuple[str, ...], documents: Sequence[tuple[str, ...]]) -> dict[str, float]:
    """How much each word of the query says: the rarer among the documents, the more."""
    wanted = set(query)
    found = Counter(word for document in documents for word in wanted.intersection(document))
    total = len(documents)
    return {
        word: math.log(1 + (total - count + 0.5) / (count + 0.5)) for word, count in found.items()
    }


def _score(weights: Mapping[str, float], document: tuple[str, ...], length: float) -> float:
    if not weights:
        return 0.0
    counts = Counter(word for word in document if word in weights)
    dampening = _SATURATION * (1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * length)
    return math.fsum(
        weights[word] * count * (_SATURATION + 1) / (count + dampening)
        for word, count in counts.items()
    )


def _description(tool: Tool) -> str:
    return " ".join([tool.description, *_parameters(tool.schema)])


@lru_cache(maxsize=8_192)
def _document(name: str, description: str) -> tuple[str, ...]:
    return words(name) * _NAME_WEIGHT + words(description)


def _parameters(schema: Mapping[str, JsonValue]) -> Iterator[str]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return
    for name, parameter in list(properties.items())[:_MAX_PARAMETERS]:
        yield name
        if isinstance(parameter, dict) and isinstance(parameter.get("description"), str):
            yield str(parameter["description"])
