"""What replies cost, exactly, by the published prices and by those that were set."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from orchestrator.llm.messages import Usage
from orchestrator.llm.model_names import resolve_model
from orchestrator.llm.price_list import PriceList, parse_prices
from orchestrator.llm.prices import CLAUDE_PRICES, Rates
from orchestrator.llm.providers import ANTHROPIC

_TOKENS = st.integers(0, 10**9)
_DOLLARS = st.decimals(0, 10_000, places=4)


@given(st.tuples(_TOKENS, _TOKENS, _TOKENS, _TOKENS), st.tuples(*[_DOLLARS] * 4))
def test_a_reply_costs_the_exact_sum_to_the_nearest_millionth_of_a_dollar(
    tokens: tuple[int, int, int, int], dollars: tuple[Decimal, Decimal, Decimal, Decimal]
) -> None:
    rates = Rates(
        input=dollars[0], output=dollars[1], cache_read=dollars[2], cache_write=dollars[3]
    )
    exact = sum(
        (Fraction(price) * count for price, count in zip(dollars, tokens, strict=True)), Fraction(0)
    )
    assert abs(rates.micros(Usage(*tokens)) - exact) <= Fraction(1, 2)


def test_every_known_model_has_a_published_price() -> None:
    names = [*ANTHROPIC.models, *ANTHROPIC.older_names]
    assert all(PriceList().price_of(str(resolve_model(name))) is not None for name in names)
    assert set(CLAUDE_PRICES) == set(ANTHROPIC.models)


def test_a_million_tokens_of_each_kind_cost_what_the_provider_says() -> None:
    million = 1_000_000
    one_of_each = Usage(million, million, million, million)
    cost = PriceList().cost("anthropic/claude-opus-5-5", one_of_each)
    assert cost == (4 + 20) * million + 200_000 + 5 * million


def test_a_long_prompt_of_the_small_model_costs_more_from_the_first_token_on() -> None:
    prices, model = PriceList(), "anthropic/claude-haiku-5-5"
    assert prices.cost(model, Usage(input_tokens=100_000)) == 10_000
    assert prices.cost(model, Usage(input_tokens=100_001)) == 50_001  # 50,000.5
    long = Usage(input_tokens=1, output_tokens=1_000, cache_read_tokens=100_000)
    assert prices.cost(model, long) == 5_000 + 2_500 + 1  # 7,500.5


def test_scripted_models_are_free_and_others_unknown() -> None:
    prices = PriceList()
    assert prices.cost("scripted/inline", Usage(1_000, 1_000, 0, 0)) == 0
    assert prices.price_of("scripted/inline") is not None
    assert prices.price_of("anthropic/claude-not-yet-known") is None
    assert prices.cost("anthropic/claude-not-yet-known", Usage(1_000, 0, 0, 0)) == 0


def test_a_price_that_is_set_wins() -> None:
    prices = parse_prices(
        '{"scripted/inline": {"input": 2, "output": 10.5, "cacheRead": 0, "cacheWrite": 0},'
        ' "anthropic/claude-next": {"input": 1, "output": 1, "cacheRead": 1, "cacheWrite": 1}}'
    )
    assert prices.cost("scripted/inline", Usage(10, 10, 10, 10)) == 125
    assert prices.cost("anthropic/claude-next", Usage(1, 1, 1, 1)) == 4
    assert prices.price_of("anthropic/claude-opus-5-5") == CLAUDE_PRICES["claude-opus-5-5"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "JSON"),
        ('{"a/b": {"input": 1}}', "output"),
        ('{"a/b": {"input": -1, "output": 1, "cacheRead": 1, "cacheWrite": 1}}', "a/b/input"),
        ('{"a/b": {"input": 1, "output": 1, "cacheRead": 1, "cacheWrite": 1, "x": 1}}', "a/b/x"),
    ],
)
def test_a_price_list_that_cannot_be_read_says_where(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        parse_prices(text)
    assert "PERDURE_MODEL_PRICES" in str(caught.value)
