"""The prices that apply: the published ones of every provider, and those of the setting `PERDURE_MODEL_PRICES`.

The setting adds models and overrides published prices:

    {"anthropic/claude-opus-4-1": {"input": 15, "output": 75, "cacheRead": 1.5, "cacheWrite": 18.75}}
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from orchestrator.llm.messages import Usage
from orchestrator.llm.prices import Price
from orchestrator.llm.providers import find_provider

_OWN = TypeAdapter(dict[str, Price])


class PriceList:
    """The published prices and the configured ones. Models are named `provider/model`."""

    def __init__(self, own: Mapping[str, Price] | None = None) -> None:
        self._own = dict(own or {})

    def price_of(self, model: str) -> Price | None:
        """Return the price of a model, or None if it is unknown. Scripted models are free unless a price is configured."""
        if model in self._own:
            return self._own[model]
        name, _, model_id = model.partition("/")
        provider = find_provider(name)
        return None if provider is None else provider.price_of(model_id)

    def cost(self, model: str, usage: Usage) -> int:
        """Return the cost of one reply in micro-dollars; 0 if the price is unknown."""
        price = self.price_of(model)
        return 0 if price is None else price.cost(usage)


def parse_prices(text: str) -> PriceList:
    """Parse the setting `model_prices`. Raises `ValueError` with an explanation."""
    if not text.strip():
        return PriceList()
    try:
        return PriceList(_OWN.validate_json(text))
    except ValidationError as error:
        first = error.errors()[0]
        place = "/".join(map(str, first["loc"]))
        raise ValueError(f"PERDURE_MODEL_PRICES: {place}: {first['msg']}") from error
