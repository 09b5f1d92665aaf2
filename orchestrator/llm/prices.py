"""Prices of models in US dollars per million tokens, as published by their providers.

Pure. The list dates from October 2026 and can become outdated; discounts, batch, regional and one-hour cache rates
are not included. `orchestrator.llm.price_list` adds the configured prices.

One million tokens at one dollar are one million micro-dollars, so a price is also micro-dollars per token.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from orchestrator.llm.messages import Usage

MICROS = 1_000_000
"""Micro-dollars in a dollar."""
MAX_PRICE = 10_000

Dollars = Annotated[Decimal, Field(ge=0, le=MAX_PRICE, allow_inf_nan=False)]


class Rates(BaseModel):
    """Dollars per million tokens of the four kinds."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )

    input: Dollars
    output: Dollars
    cache_read: Dollars
    cache_write: Dollars

    def micros(self, usage: Usage) -> int:
        """Return the cost of one reply, to the nearest micro-dollar."""
        exact = (
            self.input * usage.input_tokens
            + self.output * usage.output_tokens
            + self.cache_read * usage.cache_read_tokens
            + self.cache_write * usage.cache_write_tokens
        )
        return int(exact.to_integral_value(ROUND_HALF_UP))


class LongPrompt(Rates):
    """Rates for the whole reply if the prompt has more than `over` tokens."""

    over: Annotated[int, Field(ge=1)]


class Price(Rates):
    """The price of one model."""

    long_prompt: LongPrompt | None = None

    def cost(self, usage: Usage) -> int:
        """Return the cost of one reply in micro-dollars."""
        prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        if self.long_prompt is not None and prompt > self.long_prompt.over:
            return self.long_prompt.micros(usage)
        return self.micros(usage)


def _price(given: str, taken: str, cache_read: str) -> Price:
    """A cache write for five minutes costs 25 % more than uncached input."""
    dollars = Decimal(given)
    return Price(
        input=dollars,
        output=Decimal(taken),
        cache_read=Decimal(cache_read),
        cache_write=dollars * Decimal("1.25"),
    )


_FABLE, _FABLE_5_1 = _price("10", "50", "1"), _price("10", "50", "0.25")
_OPUS, _OPUS_5_5 = _price("5", "25", "0.5"), _price("4", "20", "0.2")
_SONNET_4, _SONNET_5 = _price("3", "15", "0.3"), _price("2", "10", "0.2")
_HAIKU_5_5 = _price("0.1", "0.5", "0.01").model_copy(
    update={
        "long_prompt": LongPrompt(
            over=100_000,
            **_price("0.5", "2.5", "0.05").model_dump(exclude={"long_prompt"}),
        )
    }
)
FREE = _price("0", "0", "0")

CLAUDE_PRICES: Mapping[str, Price] = MappingProxyType(
    {
        "claude-fable-5-2": _FABLE_5_1,
        "claude-mythos-5-2": _FABLE_5_1,
        "claude-fable-5-1": _FABLE_5_1,
        "claude-mythos-5-1": _FABLE_5_1,
        "claude-fable-5": _FABLE,
        "claude-mythos-5": _FABLE,
        "claude-opus-5-5": _OPUS_5_5,
        "claude-opus-5": _OPUS,
        "claude-opus-4-8": _OPUS,
        "claude-opus-4-7": _OPUS,
        "claude-opus-4-6": _OPUS,
        "claude-opus-4-5": _OPUS,
        "claude-sonnet-5-5": _price("2", "10", "0.1"),
        "claude-sonnet-5": _SONNET_5,
        "claude-sonnet-4-6": _SONNET_4,
        "claude-sonnet-4-5": _SONNET_4,
        "claude-haiku-5-5": _HAIKU_5_5,
        "claude-haiku-4-5": _price("1", "5", "0.1"),
    }
)
"""By Anthropic's model id."""
