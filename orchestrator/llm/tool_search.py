"""Ranks functions by a query: BM25 over names, descriptions and parameters. Pure, without a model.

Names are split into words: `createInvoice` and `create_invoice` are two words each. Scripts without spaces
are compared by pairs of characters.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from pydantic import JsonValue

from orchestrator.llm.messages import Tool

_WORDS = re.compile(r"[^\W_]+")
_HUMPS = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\d)(?=[^\W\d_])")
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)
_MAX_QUERY_CHARACTERS = 20_000
"""Characters of a word that count."""
_MAX_DOCUMENT_CHARACTERS = 2_000
"""Characters of a description with its parameters that are searched."""
_MAX_PARAMETERS = 100
_SATURATION, _LENGTH_WEIGHT = 1.2, 0.75
_NAME_WEIGHT = 3
"""Weight of a word of a function's name."""


def rank_tools(query: str, tools: Sequence[Tool]) -> list[tuple[float, Tool]]:
    """All tools with their scores, best first, then by name. A score of 0 means no common word."""
    documents = [_document(tool.name, _description(tool)) for tool in tools]
    weights = _weights(split_words(query[:_MAX_QUERY_CHARACTERS]), documents)
    average = sum(document.total() for document in documents) / max(1, len(documents)) or 1.0
    scored = [
        (_score(weights, document, document.total() / average), tool)
        for document, tool in zip(documents, tools, strict=True)
    ]
    return sorted(scored, key=lambda found: (-found[0], found[1].name))


def split_words(text: str) -> tuple[str, ...]:
    """The normalized words of a text or a name."""
    return tuple(token for word in _WORDS.findall(text) for token in _tokens(word))


@lru_cache(maxsize=65_536)
def _tokens(word: str) -> tuple[str, ...]:
    return tuple(_tokens_in(word))


def _tokens_in(word: str) -> Iterator[str]:
    for part in _HUMPS.sub(" ", word).split():
        token = part.casefold()
        if _UNSPACED.search(token):
            yield from (token[at : at + 2] for at in range(max(1, len(token) - 1)))
        else:
            yield _singular(token)


def _singular(token: str) -> str:
    return token[:-1] if len(token) > 3 and token.endswith("s") and token[-2] != "s" else token  # noqa: PLR2004 - "bus" stays


def _weights(query: tuple[str, ...], documents: Sequence[Counter[str]]) -> dict[str, float]:
    """The weight of each word of the query: higher for words that are rarer among the documents."""
    wanted = sorted(set(query))
    found = Counter(word for document in documents for word in wanted if word in document)
    total = len(documents)
    return {
        word: math.log(1 + (total - count + 0.5) / (count + 0.5)) for word, count in found.items()
    }


def _score(weights: Mapping[str, float], document: Counter[str], length: float) -> float:
    dampening = _SATURATION * (1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * length)
    return math.fsum(
        weight * document[word] * (_SATURATION + 1) / (document[word] + dampening)
        for word, weight in weights.items()
        if word in document
    )


def _description(tool: Tool) -> str:
    return " ".join([tool.description, *_parameters(tool.schema)])[:_MAX_DOCUMENT_CHARACTERS]


@lru_cache(maxsize=8_192)
def _document(name: str, description: str) -> Counter[str]:
    return Counter(split_words(name) * _NAME_WEIGHT + split_words(description))


def _parameters(schema: Mapping[str, JsonValue]) -> Iterator[str]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return
    for name, parameter in list(properties.items())[:_MAX_PARAMETERS]:
        yield name
        if isinstance(parameter, dict) and isinstance(parameter.get("description"), str):
            yield str(parameter["description"])
